"""What came in, as Prometheus' metrics: made when they are asked for, of the figures of `Intake`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gemel.observe.durations import Durations, quantile_us
from gemel.observe.intake import Intake

__all__ = ["IntakeCollector", "OfTenant", "Outside", "OutsideCollector", "RouteLag", "SourceState"]

TENANT = "tenant"
SHARES = (0.5, 0.95)
FROM_SOURCE = "Seconds from the source time of a value that became the state to its being visible."
FROM_RECEIPT = "Seconds from the receipt of an event to its being visible or in quarantine."


class SourceState(NamedTuple):
    """How one source goes that is wanted: its tenant's number, name, kind and state."""

    tenant: int
    source: str
    kind: str
    state: str


class RouteLag(NamedTuple):
    """How far one event route is behind the change feed: by changes, and by the age (s) of the first of them."""

    tenant: int
    route: str
    state: str
    changes: int
    lag_s: float


class Outside:
    """What is looked up now and then, and not counted: names of tenants, sources and routes as they stand."""

    def __init__(self) -> None:
        self.tenants: Mapping[int, str] = {}
        self.sources: tuple[SourceState, ...] = ()
        self.routes: tuple[RouteLag, ...] = ()
        self.queues: dict[str, Callable[[], float]] = {}


class IntakeCollector(Collector):
    """Gives counters and histograms by tenant and source, and what is fresh by tenant."""

    def __init__(self, intake: Intake, outside: Outside) -> None:
        self._intake = intake
        self._outside = outside

    def collect(self) -> Iterable[Metric]:
        """Yield the families; of a tenant that has no name yet, nothing."""
        yield from self._by_source()
        yield from self._by_tenant()
        stages = HistogramMetricFamily(
            "gemel_stage_seconds", "Seconds that a stage of ingest took.", labels=["stage"]
        )
        for stage, durations in self._intake.stages.items():
            stages.add_metric([stage], durations.buckets(), durations.sum_us / 1e6)
        yield stages

    def _by_source(self) -> Iterator[Metric]:
        names = [TENANT, "source"]
        events = CounterMetricFamily("gemel_events", "Events taken or quarantined.", labels=names)
        samples = CounterMetricFamily(
            "gemel_samples", "Values of events, by outcome.", labels=[*names, "outcome"]
        )
        rejects = CounterMetricFamily(
            "gemel_quarantined_events", "Events that went to quarantine, by code.", labels=[*names, "code"]
        )
        behind = GaugeMetricFamily(
            "gemel_source_behind_messages", "Messages that wait in the log of a source.", labels=names
        )
        source = HistogramMetricFamily("gemel_fresh_from_source_seconds", FROM_SOURCE, labels=names)
        receipt = HistogramMetricFamily("gemel_fresh_from_receipt_seconds", FROM_RECEIPT, labels=names)
        for (tenant, name), figures in list(self._intake.sources.items()):
            if tenant not in self._outside.tenants:
                continue
            key = [self._outside.tenants[tenant], name]
            events.add_metric(key, figures.events)
            for outcome, count in figures.outcomes.items():
                if outcome != "quarantined":
                    samples.add_metric([*key, outcome], count)
            for code, count in figures.codes.items():
                rejects.add_metric([*key, code], count)
            if figures.behind is not None:
                behind.add_metric(key, figures.behind)
            _add(source, key, figures.from_source)
            _add(receipt, key, figures.from_receipt)
        yield from (events, samples, rejects, behind, source, receipt)

    def _by_tenant(self) -> Iterator[Metric]:
        fresh = GaugeMetricFamily(
            "gemel_fresh_seconds",
            "How fresh values became visible within the last minute, since their source time or their receipt.",
            labels=[TENANT, "since", "quantile"],
        )
        now_s = self._intake.clock_s()
        for tenant, figures in list(self._intake.tenants.items()):
            if tenant not in self._outside.tenants:
                continue
            for since, recent in (("source", figures.from_source), ("receipt", figures.from_receipt)):
                for share, found_us in zip(SHARES, quantile_us(recent.bins(now_s), SHARES), strict=True):
                    if found_us is not None:
                        key = [self._outside.tenants[tenant], since, f"{share:g}"]
                        fresh.add_metric(key, found_us / 1e6)
        yield fresh


class OutsideCollector(Collector):
    """Gives how sources and routes stand, and how deep queues are."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        names = self._outside.tenants
        states = GaugeMetricFamily(
            "gemel_source_state",
            "1 for the state of each source.",
            labels=[TENANT, "source", "kind", "state"],
        )
        for source in self._outside.sources:
            if source.tenant in names:
                states.add_metric([names[source.tenant], source.source, source.kind, source.state], 1)
        changes = GaugeMetricFamily(
            "gemel_route_behind_changes",
            "Changes that an event route has still to deal with.",
            labels=[TENANT, "route"],
        )
        lags = GaugeMetricFamily(
            "gemel_route_lag_seconds", "Age of the oldest of these changes.", labels=[TENANT, "route"]
        )
        for route in self._outside.routes:
            if route.tenant in names:
                changes.add_metric([names[route.tenant], route.route], route.changes)
                lags.add_metric([names[route.tenant], route.route], route.lag_s)
        queues = GaugeMetricFamily("gemel_queue_depth", "What waits, by queue.", labels=["queue"])
        for name, depth in self._outside.queues.items():
            queues.add_metric([name], depth())
        yield from (states, changes, lags, queues)


class OfTenant(CollectorRegistry):
    """A registry's metrics without those of any other tenant."""

    def __init__(self, registry: CollectorRegistry, tenant: str) -> None:
        super().__init__()
        self._whole = registry
        self._tenant = tenant

    def collect(self) -> Iterator[Metric]:
        """Yield the families with the samples that name no tenant, or this one."""
        for family in self._whole.collect():
            family.samples = [
                each for each in family.samples if each.labels.get(TENANT, self._tenant) == self._tenant
            ]
            yield family


def _add(family: HistogramMetricFamily, key: list[str], durations: Durations) -> None:
    if any(durations.counts):
        family.add_metric(key, durations.buckets(), durations.sum_us / 1e6)

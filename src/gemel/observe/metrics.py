"""Counters and histograms for Prometheus, one set for each running platform.

They are fed by request and by batch, never by event. What names a tenant is shown to that tenant and to the
operator of the machine alone (ADR 26).
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gemel.observe.exposition import IntakeCollector, OfTenant, Outside, OutsideCollector
from gemel.observe.intake import Intake

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What this process counts and times."""

    def __init__(self, intake: Intake) -> None:
        self.registry = CollectorRegistry()
        self.outside = Outside()
        self.registry.register(IntakeCollector(intake, self.outside))
        self.registry.register(OutsideCollector(self.outside))
        self.requests = Counter(
            "gemel_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "gemel_request_seconds",
            "Seconds from a request's head to its answer's head.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight_bytes = Gauge(
            "gemel_in_flight_bytes", "Bytes of request bodies held.", registry=self.registry
        )

        self.notifications = Counter(
            "gemel_route_notifications",
            "Notifications sent on event routes.",
            ("outcome",),
            registry=self.registry,
        )
        self.delivery_seconds = Histogram(
            "gemel_route_delivery_seconds",
            "Seconds that a receiver took for a batch of notifications.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.routes = Gauge("gemel_routes", "Event routes by state.", ("state",), registry=self.registry)
        self.route_lag_seconds = Gauge(
            "gemel_route_lag_seconds_max",
            "Age of the oldest change that a route has still to deal with.",
            registry=self.registry,
        )

        self._add_sources()
        self.rollups = Counter("gemel_rollups", "Roll-ups of samples written.", registry=self.registry)
        self.rollup_lag_seconds = Gauge(
            "gemel_rollup_lag_seconds_max",
            "Age of the source time up to which roll-ups reach, of whoever is furthest behind.",
            registry=self.registry,
        )
        self.rollup_stale = Gauge(
            "gemel_rollup_stale_days", "Days marked: their samples are read.", registry=self.registry
        )

    def _add_sources(self) -> None:
        self.source_events = Counter(
            "gemel_source_outcomes",
            "What sources brought, by their kind: events, values by outcome, failures.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self.source_drift = Counter(
            "gemel_source_drift",
            "What of sources is not as their contracts say, by kind, finding and policy.",
            ("kind", "finding", "policy"),
            registry=self.registry,
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request under its route's template."""
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(method, route).observe(seconds)

    def count_source(self, kind: str, outcomes: Mapping[str, int]) -> None:
        """Count what a source of a kind brought: how many of each outcome."""
        for outcome, number in outcomes.items():
            self.source_events.labels(kind, outcome).inc(number)

    def count_drift(self, kind: str, finding: str, policy: str, number: int) -> None:
        """Count what of a source of a kind is not as its contract says."""
        self.source_drift.labels(kind, finding, policy).inc(number)

    def count_delivery(self, notifications: int, seconds: float, *, delivered: bool) -> None:
        """Count a batch of notifications that a receiver acknowledged or did not, and how long it took."""
        self.notifications.labels("delivered" if delivered else "failed").inc(notifications)
        self.delivery_seconds.observe(seconds)

    def show_routes(self, states: Mapping[str, int], lag_s: float) -> None:
        """Show how many event routes there are in each state, and the greatest lag of those that run."""
        for state, number in states.items():
            self.routes.labels(state).set(number)
        self.route_lag_seconds.set(lag_s)

    def show_rollups(self, lag_s: float, stale: int) -> None:
        """Show how far roll-ups are behind, and of how many days they are stale."""
        self.rollup_lag_seconds.set(lag_s)
        self.rollup_stale.set(stale)

    def page(self, tenant: str | None = None) -> bytes:
        """Return all of it in Prometheus' text format; for a tenant by name, without what names another."""
        return generate_latest(self.registry if tenant is None else OfTenant(self.registry, tenant))

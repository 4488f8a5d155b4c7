"""What comes in, by tenant and source: counts, how fresh it is when it becomes visible, and how long stages take.

Fed by commit, and by request within it; never by event. What is kept of names that others choose is bounded: of
a tenant the first SOURCES_MAX sources by name, of all SOURCES_IN_ALL_MAX; the rest are one, OTHER.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.observe.durations import BOUNDS_US, Durations, Recent, bins_of
from gemel.observe.laps import Laps
from gemel.observe.spans import SpanExport
from gemel.observe.tally import Tallies
from gemel.observe.trace import Trace

__all__ = ["OTHER", "UNNAMED", "Intake", "SourceFigures", "Taken", "TenantFigures"]

SOURCES_MAX: Final = 64
SOURCES_IN_ALL_MAX: Final = 256
NAME_CHARS_MAX: Final = 120
STAGE_KEYS: Final = 256
"""Greater than any bin's number: with the stage's place it is one key."""
OTHER: Final = "other"
UNNAMED: Final = "several"
"""The source of a request whose events name more than one."""


class Taken(NamedTuple):
    """What one request brought in a commit.

    `outcomes` are values by outcome, and `quarantined` events; `codes` says why. `fresh_us` has the source times of
    the values that became the state, and `laps` the request's own stages. `trace` is what the commit went on with,
    `links` the traces that events named beside it.
    """

    source: str
    events: int
    outcomes: Mapping[str, int]
    codes: Mapping[str, int]
    received_us: int
    fresh_us: npt.NDArray[np.int64]
    laps: Laps
    trace: Trace
    links: Sequence[str] = ()

    @property
    def told(self) -> dict[str, str | int]:
        """What a span says of it."""
        counts = {f"gemel.{outcome}": count for outcome, count in self.outcomes.items() if count}
        return {"gemel.source": self.source, "gemel.events": self.events, **counts}


class SourceFigures:
    """What one source brought since the start."""

    __slots__ = ("behind", "codes", "events", "from_receipt", "from_source", "last_us", "outcomes", "recent")

    def __init__(self) -> None:
        self.events = 0
        self.outcomes: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.from_source = Durations()
        self.from_receipt = Durations()
        self.recent = Recent()
        self.last_us = 0
        self.behind: int | None = None
        """How many messages wait in the log that it is read from, where that is known."""


class TenantFigures:
    """How a tenant's values came in within the last minute; why events were quarantined since the start."""

    __slots__ = ("codes", "from_receipt", "from_source", "stages")

    def __init__(self) -> None:
        self.from_source = Recent()
        self.from_receipt = Recent()
        self.stages = Recent()
        self.codes: Counter[str] = Counter()


class Intake:
    """What this process took in. For one event loop."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.clock_s = clock_s
        self.tallies = Tallies(clock_s)
        self.tenants: dict[int, TenantFigures] = {}
        self.sources: dict[tuple[int, str], SourceFigures] = {}
        self._stages: dict[str, tuple[int, Durations]] = {}
        self.export: SpanExport | None = None
        """Where spans go, if anywhere."""
        self._named: Counter[int] = Counter()

    def source(self, tenant: int, name: str) -> SourceFigures:
        """Return the figures of a source, or of OTHER where there are too many."""
        key = (tenant, name)
        figures = self.sources.get(key)
        if figures is not None:
            return figures
        if self._named[tenant] >= SOURCES_MAX or len(self.sources) >= SOURCES_IN_ALL_MAX:
            key = (tenant if len(self.sources) < 2 * SOURCES_IN_ALL_MAX else 0, OTHER)
        else:
            self._named[tenant] += 1
        return self.sources.setdefault(key, SourceFigures())

    @property
    def stages(self) -> dict[str, Durations]:
        """How long the stages of all tenants' commits took since the start, by stage."""
        return {stage: durations for stage, (_, durations) in self._stages.items()}

    def recent_stages(self, figures: TenantFigures) -> dict[str, dict[int, int]]:
        """Return the bins of how long the stages of a tenant took within the last minute, by stage."""
        bins = figures.stages.bins(self.clock_s())
        found: dict[str, dict[int, int]] = {}
        names = list(self._stages)
        for key, count in bins.items():
            place, number = divmod(key, STAGE_KEYS)
            found.setdefault(names[place], {})[number] = count
        return found

    def record(self, tenant: int, committed_us: int, taken: Sequence[Taken], laps: Laps) -> None:
        """Count a commit: what each request brought, and the stages that all went through together."""
        now_s = self.clock_s()
        figures = self.tenants.get(tenant)
        if figures is None:
            figures = self.tenants[tenant] = TenantFigures()
        for each in taken:
            self._count(tenant, figures, each, committed_us, now_s)
        self._time(figures, [laps, *(each.laps for each in taken)], now_s)
        if self.export is not None:
            for each in taken:
                self.export.commit(each, [*each.laps.stages(), *laps.stages()])

    def _count(
        self, tenant: int, figures: TenantFigures, taken: Taken, committed_us: int, now_s: float
    ) -> None:
        source = self.source(tenant, taken.source[:NAME_CHARS_MAX])
        source.events += taken.events
        source.last_us = committed_us
        for outcome, count in taken.outcomes.items():
            if count:
                source.outcomes[outcome] += count
        if taken.codes:
            source.codes.update(taken.codes)
            figures.codes.update(taken.codes)
        waited_us = max(0, committed_us - taken.received_us)
        bins: Mapping[int, int] = {bisect_left(BOUNDS_US, waited_us): taken.events}
        source.from_receipt.add(bins, waited_us * taken.events)
        figures.from_receipt.add(bins, now_s)
        if len(taken.fresh_us):
            lags_us = committed_us - taken.fresh_us
            bins = bins_of(lags_us)
            source.from_source.add(bins, max(0, int(lags_us.sum())))
            source.recent.add(bins, now_s)
            figures.from_source.add(bins, now_s)
        self.tallies.add(tenant, {"events": taken.events, **taken.outcomes})

    def _time(self, figures: TenantFigures, works: Sequence[Laps], now_s: float) -> None:
        found: dict[int, int] = {}
        for laps in works:
            begun_s = laps.begun_s
            for stage, end_s in laps.marks:
                took_us = int((end_s - begun_s) * 1e6)
                begun_s = end_s
                place, durations = self._stages.get(stage) or self._stage(stage)
                number = bisect_left(BOUNDS_US, took_us)
                durations.counts[number] += 1
                durations.sum_us += took_us
                key = place * STAGE_KEYS + number
                found[key] = found.get(key, 0) + 1
        figures.stages.add(found, now_s)

    def _stage(self, stage: str) -> tuple[int, Durations]:
        return self._stages.setdefault(stage, (len(self._stages), Durations()))

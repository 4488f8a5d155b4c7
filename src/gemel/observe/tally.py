"""What a process has taken for each tenant since it started, and at what rate just now."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

__all__ = ["Tallies", "Tally"]

WINDOW_S = 5.0
SLICE_S = 0.25


class Tally:
    """Totals of one tenant, and how many events came in the last seconds."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self._slices: deque[list[float]] = deque()

    def add(self, counts: Mapping[str, int], now_s: float) -> None:
        """Add a batch's counts."""
        self.totals.update(counts)
        events = counts.get("events", 0)
        if self._slices and now_s - self._slices[-1][0] < SLICE_S:
            self._slices[-1][1] += events
        else:
            self._slices.append([now_s, events])
        self._drop(now_s)

    def rate(self, now_s: float) -> float:
        """Return events per second over the last WINDOW_S."""
        self._drop(now_s)
        return sum(events for _, events in self._slices) / WINDOW_S

    def _drop(self, now_s: float) -> None:
        while self._slices and now_s - self._slices[0][0] >= WINDOW_S:
            self._slices.popleft()


class Tallies:
    """The tallies of all tenants of a process."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._held: dict[int, Tally] = {}

    def add(self, tenant: int, counts: Mapping[str, int]) -> None:
        """Add a batch's counts to a tenant's."""
        self._held.setdefault(tenant, Tally()).add(counts, self._clock_s())

    def of(self, tenant: int) -> tuple[dict[str, int], float]:
        """Return a tenant's totals by name, and its events per second."""
        tally = self._held.get(tenant)
        return ({}, 0.0) if tally is None else (dict(tally.totals), tally.rate(self._clock_s()))

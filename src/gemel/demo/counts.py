"""What became of the events sent so far: written by the sender, read by the view."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from gemel.demo.feeds import Outgoing
from gemel.demo.lags import Lags
from gemel.demo.view import Totals
from gemel.ingest.requests import IngestResult

__all__ = ["Counts"]

RATE_WINDOW_S = 3.0
REJECTED_KEPT = 5


class Counts:
    """Sums over all answers, the rate of the last seconds, lags, and which series have values."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.events = 0
        self.reached_us: int | None = None  # the latest source time that was acknowledged
        self._codes: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._lags = Lags()
        self._rejected: deque[int] = deque(maxlen=REJECTED_KEPT)
        self._series: dict[str, dict[str, None]] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._ended_s: float | None = None
        self._lock = threading.Lock()

    def add(self, result: IngestResult, batch: Sequence[Outgoing], lags_ms: Sequence[float]) -> None:
        """Count one answered request: its result, its events, and each event's lag on acknowledgement."""
        refused = {rejected.index for rejected in result.rejected}
        with self._lock:
            self.events += result.events
            self.reached_us = max(event.due_us for event in batch)
            self._recent.append((self._clock_s(), result.events))
            self._codes.update(rejected.code for rejected in result.rejected)
            self._rejected.extend(r.quarantine for r in result.rejected if r.quarantine is not None)
            for name in Totals.__slots__:
                self._sums[name] += getattr(result, name)
            for index, (event, lag_ms) in enumerate(zip(batch, lags_ms, strict=True)):
                if index not in refused:
                    self._series.setdefault(event.twin, {}).update(dict.fromkeys(event.paths))
                    if event.timely:
                        self._lags.add(lag_ms)

    @property
    def totals(self) -> Totals:
        """The counts of values, and of quarantined events."""
        with self._lock:
            return Totals(**self._sums)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, up to the end."""
        return (self._clock_s() if self._ended_s is None else self._ended_s) - self._started_s

    def finish(self) -> None:
        """Mark the end."""
        self._ended_s = self._clock_s()

    def events_per_s(self) -> float:
        """Return the rate of acknowledged events over the last seconds."""
        with self._lock:
            now_s = self._clock_s()
            while self._recent and self._recent[0][0] <= now_s - RATE_WINDOW_S:
                self._recent.popleft()
            window_s = min(RATE_WINDOW_S, now_s - self._started_s)
            return sum(events for _, events in self._recent) / window_s if window_s > 0 else 0.0

    def lag_ms(self, share: float) -> float | None:
        """Return a quantile of the lags of events that were sent as soon as they were due."""
        with self._lock:
            return self._lags.quantile(share)

    def codes(self) -> dict[str, int]:
        """Return how often each code was the reason for quarantine."""
        with self._lock:
            return dict(sorted(self._codes.items()))

    def rejected(self) -> list[int]:
        """Return the quarantine numbers of the last rejected events, oldest first."""
        with self._lock:
            return list(self._rejected)

    def series(self) -> dict[str, list[str]]:
        """Return the paths of each twin that have values of this run, in the order of their arrival."""
        with self._lock:
            return {twin: list(paths) for twin, paths in self._series.items()}

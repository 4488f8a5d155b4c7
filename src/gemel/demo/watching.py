"""The watcher: what the platform says of the twins while the demo runs, read over HTTP like anybody would."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gemel.base.errors import (
    EnvironmentFaultError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from gemel.connectors.sender import Server
from gemel.demo.counts import Counts
from gemel.demo.reading import Held, Values
from gemel.demo.view import TREND_MAX, Reason, Row

__all__ = ["Watcher"]

LOOK_S = 0.5


@dataclass(slots=True)
class Watcher:
    """Reads values and quarantine; `rows` and `reasons` are the newest, replaced as a whole."""

    server: Server
    values: Values
    twins: Sequence[str]
    age_ms: Callable[[int], float]
    counts: Counts
    stopped: threading.Event
    rows: tuple[Row, ...] = ()
    reasons: tuple[Reason, ...] = ()
    _held: dict[str, dict[str, Held]] = field(default_factory=dict)
    _trends: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    _known: dict[int, Reason] = field(default_factory=dict)

    def run(self) -> None:
        """Look every half second until `stopped` is set."""
        while not self.stopped.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Read everything once; a platform that is busy or away is asked again next time.

        Raises GemelError for what it refuses.
        """
        try:
            self._look()
        except (OverloadedError, UnavailableError):
            return
        except EnvironmentFaultError as error:
            if error.code != "ServerUnreachable":
                raise

    def _look(self) -> None:
        series = self.counts.series()
        rows: list[Row] = []
        for twin in self.twins:
            if twin in series:
                rows += self._rows_of(twin, series[twin])
        self.rows = tuple(rows)
        self.reasons = self._reasons()

    def _rows_of(self, twin: str, paths: Sequence[str]) -> list[Row]:
        held = self._held.setdefault(twin, {})
        held.update(self.values.read(self.server, twin))
        return [self._row(twin, path, held[path]) for path in paths if path in held]

    def _row(self, twin: str, path: str, held: Held) -> Row:
        trend = self._trends.setdefault((twin, path), deque(maxlen=TREND_MAX))
        if isinstance(held.value, float | int) and not isinstance(held.value, bool):
            trend.append(float(held.value))
        return Row(twin, path, held.value, held.unit, self.age_ms(held.source_us), tuple(trend))

    def _reasons(self) -> tuple[Reason, ...]:
        numbers = self.counts.rejected()
        for number in numbers:
            if number not in self._known:
                self._known[number] = self._reason(number)
        self._known = {number: self._known[number] for number in numbers}
        return tuple(self._known.values())

    def _reason(self, number: int) -> Reason:
        try:
            found = self.server.send("GET", f"/v1/quarantine/{number}").json()
        except NotFoundError:
            # Somebody has replayed or discarded it already.
            return Reason("", "", f"event {number} has left the quarantine")
        return Reason(found["subject"] or "", found["code"], found["message"])

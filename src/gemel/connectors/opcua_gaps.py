"""How far each node of an OPC UA server is known, and which stretches its history must close.

Values come twice over: from a subscription, which begins now and may lose some when a queue overflows, and from
history, which is read for what lies between. A node's position never passes a stretch that is still open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Gap", "Track"]

AGAIN_S: Final = 0.5
TRIES_MAX: Final = 10
WRITE_S: Final = 1.0


@dataclass(slots=True)
class Gap:
    """A stretch to be read from history: what is at `known_us` is stored, what is at `until_us` came otherwise.

    `point` is where the server says that it goes on, `chunk` doubles while one moment has more values than are
    read at once; `last` is the value before, for those that come without one. It is not read before `due_s`.
    """

    known_us: int
    until_us: int
    point: bytes | None = None
    chunk: int = 1
    tries: int = 0
    due_s: float = 0.0
    last: Any = None


class Track:
    """One node: what is stored of it, what came, and the gap that is open, if one is.

    `stored_us` is its position, or None at its first start; `since_us` from when history is wanted then. `closes`
    says whether history can be read.
    """

    def __init__(self, stored_us: int | None, since_us: int | None, *, closes: bool) -> None:
        self._known_us = stored_us if stored_us is not None or since_us is None else since_us - 1
        self._closes = closes
        self._came = False
        self._live_us = stored_us
        self._written_s = float("-inf")
        self._written_us = stored_us
        self.gap: Gap | None = None
        self.last: Any = None

    def came(self, time_us: int, *, overflow: bool, vague: bool = False) -> bool:
        """Note a change that the subscription brought; False where values are missing that nothing can bring.

        The last that came is how far the node is known, though its time be before that of others: the source's clock
        may have been set back. One whose time is `vague`, far ahead or none of its own, says nothing of that.
        """
        before_us = self._live_us if self._came else self._known_us
        doubtful = overflow or not self._came
        self._came = True
        if not vague:
            self._live_us = time_us
        if not doubtful or before_us is None or time_us <= before_us:
            return not overflow or before_us is not None
        if not self._closes:
            return False
        if self.gap is None:
            self.gap = Gap(before_us, time_us, last=self.last)
        else:
            self.gap.until_us = max(self.gap.until_us, time_us)
            self.gap.tries = 0
        return True

    def read(self, times_us: Sequence[int], asked: int, point: bytes | None, now_s: float) -> bool:
        """Note what history gave, in order; False where it ends too early, again and again, and is given up."""
        gap = self.gap
        assert gap is not None
        last_us = times_us[-1] if times_us else gap.known_us
        full = point is not None or len(times_us) >= asked
        gap.chunk = 2 * gap.chunk if full and point is None and last_us <= gap.known_us else 1
        gap.known_us = max(gap.known_us, last_us)
        gap.point = point
        if last_us >= gap.until_us:
            self.gap = None
        elif not full:
            # History may be written a little later than values are sent.
            return self.failed(now_s)
        return True

    def failed(self, now_s: float) -> bool:
        """Note that history could not be read, or not as far as it must; False where it is given up."""
        gap = self.gap
        assert gap is not None
        gap.tries += 1
        gap.due_s = now_s + AGAIN_S
        gap.point = None
        if gap.tries >= TRIES_MAX:
            self.gap = None
            return False
        return True

    def position(self, now_s: float) -> int | None:
        """Return how far the node is known, if that is to be written with the next batch."""
        known_us = self.gap.known_us if self.gap is not None else self._live_us
        if known_us is None or known_us == self._written_us:
            return None
        if self._written_us is not None and now_s - self._written_s < WRITE_S:
            return None
        self._written_s, self._written_us = now_s, known_us
        return known_us

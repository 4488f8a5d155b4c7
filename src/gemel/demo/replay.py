"""Pacing: when an item is due, and which items go out together. The clock and the sleep are arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from gemel.base.clock import Clock

__all__ = ["Pace", "Pacer"]

Item = TypeVar("Item")
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How time runs: source seconds per second, and how items are gathered.

    Items due within `gather_us` of the first one of a batch go out with it, at most `batch_max` of them.
    """

    speed: float = 1.0
    gather_us: int = 50_000
    batch_max: int = 500


class Pacer:
    """Hands out items when their source time has come; it starts with the first item and runs at `speed`."""

    def __init__(self, pace: Pace, clock: Clock, sleep: Callable[[float], object]) -> None:
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._origin_us: int | None = None
        self._started_us = 0

    def source_now_us(self) -> int | None:
        """Return the source time (µs since the epoch) that "now" stands for; None before the first item."""
        if self._origin_us is None:
            return None
        return self._origin_us + round((self._clock() - self._started_us) * self._pace.speed)

    def batches(self, items: Iterable[tuple[int, Item]]) -> Iterator[list[Item]]:
        """Yield (source time in µs, item) pairs in batches, in their order, each when its last item is due.

        An item older than one before it goes out with it. When the receiver is slower than the pace, nothing
        is dropped: batches grow to `batch_max` and follow without sleep, and `source_now_us` runs ahead.
        """
        batch: list[Item] = []
        close_us = due_us = 0.0
        for source_us, item in items:
            due = self._due_us(source_us)
            if batch and (len(batch) >= self._pace.batch_max or due > max(close_us, self._clock())):
                self._wait_until(due_us)
                yield batch
                batch = []
            if not batch:
                close_us = max(due, due_us) + self._pace.gather_us
            due_us = max(due_us, due)
            batch.append(item)
        if batch:
            self._wait_until(due_us)
            yield batch

    def _due_us(self, source_us: int) -> float:
        if self._origin_us is None:
            self._started_us = self._clock()
            self._origin_us = source_us
        return self._started_us + (source_us - self._origin_us) / self._pace.speed

    def _wait_until(self, due_us: float) -> None:
        wait_us = due_us - self._clock()
        if wait_us > 0:
            self._sleep(wait_us / SECOND_US)

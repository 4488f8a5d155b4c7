"""Durations counted by size: exact counts in fixed bins, from which histograms and quantiles are made.

Bins are a few a decade, so that a quantile is known to within a fifth of itself, whatever came in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BOUNDS_US", "WINDOW_S", "Durations", "Recent", "bins_of", "quantile_us"]

PARTS: Final = 4
DECADES: Final = range(1, 12)
"""From 10 µs to about eleven days."""


def _bounds_us() -> list[int]:
    steps = ((1, 2), (2, 5), (5, 10))
    return [
        round(10**decade * low * (high / low) ** (part / PARTS))
        for decade in DECADES
        for low, high in steps
        for part in range(PARTS)
    ]


BOUNDS_US: Final = _bounds_us()
"""The greatest duration of each bin but the last, which has no end."""
SHOWN: Final = range(2 * 3 * PARTS, len(BOUNDS_US), PARTS)
"""Which bounds a histogram shows: 1, 2 and 5 of each decade from 1 ms on."""
LOOKED_AT_MAX: Final = 5_000
WINDOW_S: Final = 60.0
SLICE_S: Final = 5.0

_bounds = np.array(BOUNDS_US, np.int64)


def bins_of(durations_us: npt.NDArray[np.int64]) -> dict[int, int]:
    """Return how many of int64[n] durations are in each bin, by the bin's number; what is below 0 is in the first.

    Of more than LOOKED_AT_MAX every so manieth is looked at, and stands for those up to the next.
    """
    count = len(durations_us)
    if count <= 4:
        found: dict[int, int] = {}
        for each in durations_us.tolist():
            number = bisect_left(BOUNDS_US, each)
            found[number] = found.get(number, 0) + 1
        return found
    if count > LOOKED_AT_MAX:
        step = -(-count // LOOKED_AT_MAX)
        weights = np.full(-(-count // step), step)
        weights[-1] = count - step * (len(weights) - 1)
        counts = np.bincount(np.searchsorted(_bounds, durations_us[::step]), weights).astype(np.int64)
    else:
        counts = np.bincount(np.searchsorted(_bounds, durations_us))
    filled = np.flatnonzero(counts)
    return dict(zip(filled.tolist(), counts[filled].tolist(), strict=True))


class Durations:
    """All durations of one kind since the start."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0

    def add(self, bins: Mapping[int, int], sum_us: int) -> None:
        """Add some durations by their bins, and their sum."""
        for number, count in bins.items():
            self.counts[number] += count
        self.sum_us += sum_us

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative buckets of a Prometheus histogram, in seconds."""
        below = np.cumsum(self.counts).tolist()
        shown = [(f"{BOUNDS_US[number] / 1e6:g}", float(below[number])) for number in SHOWN]
        return [*shown, ("+Inf", float(below[-1]))]


class Recent:
    """The bins of what came within the last minute."""

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: deque[tuple[float, Counter[int]]] = deque()

    def add(self, bins: Mapping[int, int], now_s: float) -> None:
        """Add some durations by their bins."""
        slices = self._slices
        if not slices or now_s - slices[-1][0] >= SLICE_S:
            slices.append((now_s, Counter()))
            while slices[0][0] < now_s - WINDOW_S:
                slices.popleft()
        held = slices[-1][1]
        for number, count in bins.items():
            held[number] += count

    def bins(self, now_s: float) -> Counter[int]:
        """Return what came within the last minute."""
        found: Counter[int] = Counter()
        for begun_s, held in self._slices:
            if begun_s >= now_s - WINDOW_S:
                found.update(held)
        return found


def quantile_us(bins: Mapping[int, int], shares: Sequence[float]) -> list[float | None]:
    """Return the durations (µs) below which these shares are, ascending within 0 to 1; None where there are none."""
    total = sum(bins.values())
    if not total:
        return [None for _ in shares]
    found: list[float | None] = []
    ordered = sorted(bins.items())
    for share in shares:
        wanted, below, place = share * total, 0, 0
        while place < len(ordered) - 1 and below + ordered[place][1] < wanted:
            below += ordered[place][1]
            place += 1
        number, count = ordered[place]
        low = BOUNDS_US[number - 1] if number else 0
        high = BOUNDS_US[min(number, len(BOUNDS_US) - 1)]
        found.append(low + (high - low) * max(0.0, min(1.0, (wanted - below) / count)))
    return found

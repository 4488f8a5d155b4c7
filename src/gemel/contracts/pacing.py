"""How often and how late samples come, of each thing and of all together, by their own times.

A batch is looked at as a whole: by thing, and in the order in which it came. Things of which something in it is not as
promised are walked through sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np

from gemel.contracts.columns import Ints
from gemel.contracts.document import Flow, Pace

__all__ = ["FlowMeter", "Pacer", "Things"]

THINGS_MAX: Final = 100_000
NEVER_US: Final = -(1 << 62)
WINDOWS_MAX: Final = 1000
Told = Callable[[str, int, str, float], None]
"""Tells that a sample is not as promised: the kind, its place, its thing, and the seconds behind the one before."""


class Things(NamedTuple):
    """What each sample of a batch is of: one of `values`, by its code, or the values themselves where codes is None."""

    values: Sequence[str]
    codes: Ints | None = None

    def distinct(self) -> set[str]:
        """Return the different things."""
        if self.codes is None:
            return set(self.values)
        return {self.values[code] for code in np.unique(self.codes).tolist()}

    def of(self, places: list[int]) -> Things:
        """Return what the samples at some places are of."""
        if self.codes is None:
            return Things([self.values[place] for place in places])
        return Things(self.values, self.codes[places])


class Pacer:
    """Remembers of each thing its newest sample; the first THINGS_MAX things are told apart."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.judges = pace.least_s > 0 or pace.most_s < math.inf or pace.late_s < math.inf
        self._codes: dict[str, int] = {}
        self._newest_us: Ints = np.full(64, NEVER_US)

    def take(self, times_us: Ints, things: Things, skips: bool, told: Told) -> None:
        """Look at the samples of a batch in their order.

        With `skips` samples between them were not shown, and a pause says nothing.
        """
        codes = self._coded(things.values)
        if things.codes is not None:
            codes = codes[things.codes]
        order = np.argsort(codes, kind="stable")
        order = order[np.searchsorted(codes[order], 0) :]
        code, time_us = codes[order], times_us[order]
        if not len(code):
            return
        first = np.ones(len(code), np.bool_)
        first[1:] = code[1:] != code[:-1]
        before_us = np.empty_like(time_us)
        before_us[1:] = time_us[:-1]
        before_us[first] = self._newest_us[code[first]]
        new = before_us == NEVER_US
        after_us = np.where(new, 1, time_us - before_us)
        least_us, most_us = self._bounds_us(skips)
        fits = new | ((after_us >= least_us) & (after_us <= most_us))
        last = np.ones(len(code), np.bool_)
        last[:-1] = first[1:]
        if fits.all():
            self._newest_us[code[last]] = time_us[last]
            return
        odd = np.zeros(len(self._newest_us), np.bool_)
        odd[code[~fits]] = True
        good = last & ~odd[code]
        self._newest_us[code[good]] = time_us[good]
        names = list(self._codes)
        for place in np.sort(order[odd[code]]).tolist():
            self._walk(place, int(codes[place]), int(times_us[place]), names, (skips, told))

    def _bounds_us(self, skips: bool) -> tuple[float, float]:
        pace = self._pace
        return max(pace.least_s * 1e6, 1), math.inf if skips else pace.most_s * 1e6

    def _walk(self, place: int, code: int, time_us: int, names: list[str], how: tuple[bool, Told]) -> None:
        """Say what is wrong with the time of one sample, if anything."""
        skips, told = how
        newest_us = int(self._newest_us[code])
        if newest_us == NEVER_US:
            self._newest_us[code] = time_us
            return
        after_s, pace = (time_us - newest_us) / 1e6, self._pace
        if after_s > 0:
            self._newest_us[code] = time_us
            if not pace.least_s <= after_s <= (math.inf if skips else pace.most_s):
                told("rate", place, names[code], after_s)
        elif -after_s > pace.late_s:
            told("late", place, names[code], after_s)

    def _coded(self, things: Sequence[str]) -> Ints:
        """Return a number for each thing; -1 beyond THINGS_MAX of them."""
        codes, count = self._codes, len(things)
        found = np.fromiter(map(codes.get, things, repeat(-1)), np.int64, count)
        if found.min() < 0 and len(codes) < THINGS_MAX:
            for place in np.flatnonzero(found < 0).tolist():
                if len(codes) < THINGS_MAX:
                    codes.setdefault(things[place], len(codes))
            found = np.fromiter(map(codes.get, things, repeat(-1)), np.int64, count)
        if len(codes) > len(self._newest_us):
            more = np.full(max(len(codes), 2 * len(self._newest_us)) - len(self._newest_us), NEVER_US)
            self._newest_us = np.concatenate((self._newest_us, more))
        return found


class FlowMeter:
    """Counts the samples of all things together in windows of their own time.

    A window is judged once a sample comes from beyond the next one; what is later is not counted. The first, which
    may have begun before, is not judged.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._width_us = round(flow.over_s * 1e6)
        self._counts: dict[int, int] = {}
        self._next: int | None = None

    def take(self, times_us: Ints, told: Callable[[float, int], None]) -> None:
        """Count the samples of a batch; tell of windows that are not as promised: samples a second, and begin (µs)."""
        windows, counts = np.unique(times_us // self._width_us, return_counts=True)
        if self._next is None:
            self._next = int(windows[0]) + 1
        for window, count in zip(windows.tolist(), counts.tolist(), strict=True):
            if window >= self._next:
                self._counts[window] = self._counts.get(window, 0) + count
        newest = int(windows[-1])
        # After a pause of this length each window of it says the same.
        if self._next < newest - WINDOWS_MAX:
            self._next = newest - WINDOWS_MAX
            self._counts = {window: count for window, count in self._counts.items() if window >= self._next}
        while self._next < newest - 1:
            rate = self._counts.pop(self._next, 0) / self._flow.over_s
            if not self._flow.least_per_s <= rate <= self._flow.most_per_s:
                told(rate, self._next * self._width_us)
            self._next += 1

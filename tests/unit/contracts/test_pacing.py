"""How often, how late and how much: by batch as by the plain rule, sample by sample."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gemel.contracts.document import Flow, Pace
from gemel.contracts.pacing import FlowMeter, Pacer, Things

SAMPLES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=30)
SIZES = st.lists(st.integers(1, 9), min_size=1)
LIMITS = st.one_of(st.just(math.inf), st.integers(0, 20).map(float))
Found = list[tuple[str, int, str, float]]


def plain(samples: list[tuple[str, int]], pace: Pace, skips: bool) -> Found:
    """Return what is wrong by the rule: each against the newest before it of the same thing."""
    newest: dict[str, int] = {}
    found: Found = []
    for place, (thing, at_s) in enumerate(samples):
        if thing in newest:
            after_s = float(at_s - newest[thing])
            if after_s > 0 and not pace.least_s <= after_s <= (math.inf if skips else pace.most_s):
                found.append(("rate", place, thing, after_s))
            if after_s <= 0 and -after_s > pace.late_s:
                found.append(("late", place, thing, after_s))
        newest[thing] = max(at_s, newest.get(thing, at_s))
    return found


@given(SAMPLES, SIZES, st.integers(0, 3).map(float), LIMITS, LIMITS, st.booleans(), st.booleans())
def test_a_batch_says_what_its_samples_say(
    samples: list[tuple[str, int]],
    sizes: list[int],
    least_s: float,
    most_s: float,
    late_s: float,
    skips: bool,
    coded: bool,
) -> None:
    pace = Pace(least_s, most_s, late_s)
    pacer, found, at = Pacer(pace), Found(), 0
    for size in sizes * len(samples):
        part = samples[at : at + size]
        if not part:
            break
        names = [thing for thing, _ in part]
        things = Things(names)
        if coded:
            things = Things(list("abc"), np.array(["abc".index(name) for name in names], np.int64))
        times_us = np.array([at_s * 1_000_000 for _, at_s in part], np.int64)
        pacer.take(
            times_us, things, skips, lambda kind, place, *more, at=at: found.append((kind, at + place, *more))
        )
        at += size
    assert found == plain(samples, pace, skips)


@given(SAMPLES, SIZES, st.integers(0, 3), st.integers(0, 6), st.sampled_from([1.0, 2.0, 5.0]))
def test_a_flow_is_of_whole_windows_however_it_is_cut_into_batches(
    samples: list[tuple[str, int]], sizes: list[int], least: int, more: int, over_s: float
) -> None:
    times_s = sorted(at_s for _, at_s in samples)
    meter = FlowMeter(Flow(least / over_s, (least + more) / over_s, over_s))
    found: list[tuple[int, int]] = []
    at = 0
    for size in sizes * len(samples):
        part = times_s[at : at + size]
        if not part:
            break
        meter.take(
            np.array(part, np.int64) * 1_000_000,
            lambda per_s, from_us: found.append((round(per_s * over_s), from_us // 1_000_000)),
        )
        at += size
    expected = []
    if times_s:
        first, last = (int(each // over_s) for each in (times_s[0], times_s[-1]))
        for window in range(first + 1, last - 1):
            count = sum(int(each // over_s) == window for each in times_s)
            if not least <= count <= least + more:
                expected.append((count, round(window * over_s)))
    assert found == expected


def test_a_long_pause_is_told_of_within_bounds() -> None:
    meter, found = FlowMeter(Flow(1.0, over_s=1.0)), []
    for at_s in (0, 10**9):
        meter.take(np.array([at_s * 1_000_000], np.int64), lambda *each: found.append(each))
    assert 0 < len(found) <= 1000

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from gemel.observe.durations import BOUNDS_US, SLICE_S, WINDOW_S, Durations, Recent, bins_of, quantile_us


def test_bounds_ascend_and_are_a_fifth_apart_at_most() -> None:
    for low, high in itertools.pairwise(BOUNDS_US):
        assert low < high <= low * 1.5


@pytest.mark.parametrize("count", [3, 3000])
def test_bins_are_as_prometheus_means_them(count: int) -> None:
    drawn = random.Random(count)
    durations = [drawn.choice([*BOUNDS_US, -5, 0, 10**15, drawn.randrange(10**9)]) for _ in range(count)]
    kept = Durations()
    kept.add(bins_of(np.array(durations, np.int64)), sum(durations))
    for le, below in kept.buckets():
        most = float("inf") if le == "+Inf" else round(float(le) * 1e6)
        assert below == sum(each <= most for each in durations)


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_near_the_true_ones(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    durations = (10 ** drawn.uniform(3, 8, 5000)).astype(np.int64)
    found = quantile_us(bins_of(durations), (0.5, 0.95))
    for share, found_us in zip((0.5, 0.95), found, strict=True):
        assert found_us == pytest.approx(float(np.quantile(durations, share)), rel=0.15)


def test_without_durations_there_is_no_quantile() -> None:
    assert quantile_us({}, (0.5,)) == [None]


def test_what_is_older_than_a_minute_counts_no_more() -> None:
    recent = Recent()
    recent.add({3: 2}, 0.0)
    recent.add({4: 1}, SLICE_S)
    assert recent.bins(SLICE_S) == {3: 2, 4: 1}
    assert recent.bins(WINDOW_S + 1) == {4: 1}
    assert not recent.bins(10 * WINDOW_S)


def test_of_very_many_some_stand_for_all() -> None:
    durations = np.random.default_rng(3).integers(0, 10**7, 123_457)
    bins = bins_of(durations)
    assert sum(bins.values()) == len(durations)
    (found,) = quantile_us(bins, (0.5,))
    assert found == pytest.approx(5e6, rel=0.2)

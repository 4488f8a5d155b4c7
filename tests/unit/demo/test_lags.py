"""Quantiles from buckets against quantiles from the lags themselves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.demo.lags import Lags

LAGS = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=200)


@given(LAGS, st.floats(0, 1))
def test_a_quantile_is_right_to_one_percent(values: list[float], share: float) -> None:
    lags = Lags()
    for value in values:
        lags.add(value)
    wanted = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert lags.quantile(share) == pytest.approx(wanted, rel=0.0101)


def test_before_the_first_there_is_none() -> None:
    assert Lags().quantile(0.5) is None


@pytest.mark.parametrize("lag_ms", [0.0, -3.0])
def test_a_clock_that_was_set_back_does_no_harm(lag_ms: float) -> None:
    lags = Lags()
    lags.add(lag_ms)
    assert lags.quantile(0.5) == pytest.approx(0.001, rel=0.02)

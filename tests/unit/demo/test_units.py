"""Values, units and lags as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.demo.assets import PUMP_RIG, STATION, load_site
from gemel.demo.units import format_lag, format_value, unit_symbol


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "on"),
        (False, "off"),
        (7, "7"),
        (0.0, "0.0"),
        (1.23456, "1.235"),
        (12.3456, "12.35"),
        (-238.852, "-238.9"),
        (0.00001234, "1.2e-05"),
        (12345678.0, "12345678"),
        (1e12, "1.0e+12"),
        ("pump-1", "pump-1"),
        ("a rather long name", "a rather lo…"),
    ],
)
def test_values(value: bool | int | float | str | None, text: str) -> None:
    assert format_value(value) == text


@given(st.floats(-1e99, 1e99))
def test_a_number_is_never_too_long_for_its_column(value: float) -> None:
    assert len(format_value(value)) <= 9
    assert float(format_value(value)) == pytest.approx(value, rel=0.05, abs=1e-3)


@pytest.mark.parametrize(
    ("lag_ms", "text"),
    [
        (None, "–"),
        (0.4, "0 ms"),
        (999.4, "999 ms"),
        (1400.0, "1.4 s"),
        (180_000.0, "3 min"),
        (7_200_000.0, "2 h"),
    ],
)
def test_lags(lag_ms: float | None, text: str) -> None:
    assert format_lag(lag_ms) == text


def test_every_unit_of_the_demo_has_a_symbol() -> None:
    for site in (STATION, PUMP_RIG):
        for unit in load_site(site).units().values():
            assert unit_symbol(unit) != unit or unit == "bar"


def test_unknown_and_absent_units() -> None:
    assert unit_symbol("furlong") == "furlong"
    assert unit_symbol(None) == ""

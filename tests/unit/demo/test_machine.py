"""One pump set: heat, wear and vibration stay within what physics allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.demo.machine import AMBIENT_C, PumpSet, approach


@given(st.floats(-50, 200), st.floats(-50, 200), st.floats(0.0, 1e4), st.floats(0.1, 1e4))
def test_a_lag_never_overshoots(value: float, target: float, dt_s: float, constant_s: float) -> None:
    low, high = sorted((value, target))
    assert low - 1e-9 <= approach(value, target, dt_s, constant_s) <= high + 1e-9


def test_a_lag_does_not_depend_on_how_time_is_cut() -> None:
    whole = approach(20.0, 80.0, 10.0, 7.0)
    parts = 20.0
    for _ in range(100):
        parts = approach(parts, 80.0, 0.1, 7.0)
    assert parts == pytest.approx(whole)


def running(wear: float) -> PumpSet:
    pump = PumpSet(wear=wear)
    pump.command(run=True)
    for _ in range(20_000):
        pump.spin(0.1)
        pump.load(0.014, 12.0, 0.1)
    return pump


def test_a_motor_warms_to_a_bounded_temperature_and_cools_to_ambient() -> None:
    pump = running(0.1)
    assert 55.0 < pump.motor_c < 90.0
    pump.command(run=False)
    for _ in range(100_000):
        pump.spin(0.1)
        pump.load(0.0, 0.0, 0.1)
    assert pump.motor_c == pytest.approx(AMBIENT_C, abs=0.1)
    assert pump.bearing_c == pytest.approx(AMBIENT_C, abs=0.1)


def test_a_worn_bearing_is_hotter_rougher_and_costs_power() -> None:
    new, worn = running(0.0), running(1.0)
    assert worn.friction_torque_nm > 2 * new.friction_torque_nm
    assert worn.bearing_c > new.bearing_c + 10
    assert worn.vibration_g(1.5) > 3 * new.vibration_g(1.5)
    assert worn.power_w > new.power_w


def test_wear_only_grows_and_ends_at_one() -> None:
    pump = running(0.2)
    assert 0.2 < pump.wear < 1.0
    pump.load(0.014, 12.0, 1e9)
    assert pump.wear == 1.0


def test_a_start_is_counted_once() -> None:
    pump = PumpSet(wear=0.0)
    for run in (True, True, False, False, True):
        pump.command(run)
    assert pump.starts == 2


def test_a_low_tank_makes_the_pump_cavitate() -> None:
    pump = running(0.0)
    assert pump.vibration_g(0.4) > 2 * pump.vibration_g(1.5)

"""Pump curves against the system: one crossing, with the right reactions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.demo.hydraulics import PumpCurve, solve_duty, valve_resistance

PUMP = PumpCurve(shutoff_head_m=18.0, fall_s2_m5=30_600.0, speed=1.0)
PIPE = 15_000.0


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=3), st.floats(0.0, 17.0), st.floats(1.5, 90.0))
def test_the_duty_point_lies_on_every_curve(speeds: list[float], static_m: float, angle_deg: float) -> None:
    pumps = [PumpCurve(18.0, 30_600.0, speed) for speed in speeds]
    resistance = PIPE + valve_resistance(angle_deg)
    duty = solve_duty(pumps, static_m, resistance)
    total = sum(duty.flows_m3_s)
    assert duty.head_m == pytest.approx(static_m + resistance * total**2, abs=1e-3)
    for pump, flow in zip(pumps, duty.flows_m3_s, strict=True):
        if flow:
            assert duty.head_m == pytest.approx(18.0 * pump.speed**2 - 30_600.0 * flow**2, abs=1e-6)
        else:
            assert 18.0 * pump.speed**2 <= duty.head_m + 1e-6


def test_a_shut_valve_stops_the_flow_and_leaves_the_shutoff_head() -> None:
    duty = solve_duty([PUMP], 7.0, PIPE + valve_resistance(0.0))
    assert duty.flows_m3_s == (0.0,)
    assert duty.head_m == pytest.approx(18.0)


def test_flow_grows_with_the_valve() -> None:
    flows = [
        solve_duty([PUMP], 7.0, PIPE + valve_resistance(angle)).flows_m3_s[0] for angle in range(2, 91, 4)
    ]
    assert flows == sorted(flows)
    assert flows[-1] > 10 * flows[0]


def test_two_pumps_deliver_more_than_one_and_less_than_twice() -> None:
    resistance = PIPE + valve_resistance(90.0)
    one = sum(solve_duty([PUMP], 7.0, resistance).flows_m3_s)
    two = sum(solve_duty([PUMP, PUMP], 7.0, resistance).flows_m3_s)
    assert one < two < 2 * one


def test_stopped_pumps_hold_the_static_head_behind_their_check_valves() -> None:
    duty = solve_duty([PumpCurve(18.0, 30_600.0, 0.0)], 7.0, PIPE)
    assert duty.flows_m3_s == (0.0,)
    assert duty.head_m == pytest.approx(7.0)


def test_the_valve_loses_least_when_open() -> None:
    assert math.isinf(valve_resistance(0.0))
    assert valve_resistance(90.0) < valve_resistance(60.0) < valve_resistance(30.0)

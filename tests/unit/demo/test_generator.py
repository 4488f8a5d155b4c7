"""The station: water is conserved, the control works, and a seed says all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.demo.assets import STATION, load_site
from gemel.demo.generator import TANK_HEIGHT_M, Readings, Station


def run(station: Station, seconds: float, dt_s: float = 0.25) -> list[Readings]:
    return [station.step(dt_s) for _ in range(int(seconds / dt_s))]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.001, 3.0), st.one_of(st.none(), st.floats(0.0, 90.0)))
def test_water_is_conserved(seed: int, dt_s: float, angle_deg: float | None) -> None:
    station = Station(seed)
    if angle_deg is not None:
        station.command_valve(angle_deg)
    for _ in range(200):
        station.step(dt_s)
        water = station.balance
        expected = water.initial + water.filled - water.pumped - water.spilled
        assert water.stored == pytest.approx(expected, abs=1e-9)
        assert 0.0 <= station.level_m <= TANK_HEIGHT_M + 1e-9


def test_same_seed_same_readings_and_another_seed_others() -> None:
    assert run(Station(3), 60) == run(Station(3), 60)
    assert run(Station(3), 60) != run(Station(4), 60)


@pytest.mark.parametrize("seed", range(3))
def test_temperatures_and_levels_stay_in_bounds_for_an_hour(seed: int) -> None:
    for readings in run(Station(seed), 3600, dt_s=1.0):
        for number in (1, 2):
            assert 15.0 < number_of(readings, f"pump-{number}", "motor.temperature") < 95.0
            assert 15.0 < number_of(readings, f"bearing-{number}", "temperature") < 90.0
            assert 0.0 < number_of(readings, f"bearing-{number}", "vibration") < 1.5
        assert 0.5 < number_of(readings, "tank", "level") < 2.2


def number_of(readings: Readings, twin: str, path: str) -> float:
    value = readings[twin][path]
    assert isinstance(value, (int, float))
    return value


def test_flow_responds_to_the_valve() -> None:
    station = Station(1)
    station.command_valve(90.0)
    run(station, 30)
    open_flow = number_of(station.step(0.1), "outlet-meter", "flow")
    open_pressure = number_of(station.step(0.1), "gauge", "pressure")
    station.command_valve(45.0)
    run(station, 10)
    throttled_flow = number_of(station.step(0.1), "outlet-meter", "flow")
    assert 0.1 < throttled_flow < 0.7 * open_flow
    assert number_of(station.step(0.1), "gauge", "pressure") > open_pressure
    station.command_valve(0.0)
    run(station, 15)
    assert abs(number_of(station.step(0.1), "outlet-meter", "flow")) < 0.2


def test_a_shut_valve_fills_the_tank_to_its_rim_and_both_pumps_run() -> None:
    station = Station(2)
    station.command_valve(0.0)
    last = run(station, 600)[-1]
    assert last["tank"]["overflowing"] is True
    assert last["station"]["pumpsRunning"] == 2
    assert station.balance.spilled > 0.5


def test_the_pumps_take_turns_and_rest_between() -> None:
    readings = run(Station(5), 3600, dt_s=0.5)
    assert {reading["station"]["dutyPump"] for reading in readings} == {"pump-1", "pump-2"}
    assert number_of(readings[-1], "pump-1", "starts") >= 2
    assert number_of(readings[-1], "pump-2", "starts") >= 2
    assert 0 in {reading["station"]["pumpsRunning"] for reading in readings}


def test_the_first_pump_starts_within_the_first_seconds() -> None:
    for seed in range(10):
        assert run(Station(seed), 15)[-1]["station"]["pumpsRunning"] == 1, f"seed {seed}"


def test_the_meter_tells_the_flow_within_its_noise() -> None:
    station = Station(6)
    run(station, 60)
    errors = []
    for _ in range(400):
        readings = station.step(0.1)
        errors.append(number_of(readings, "outlet-meter", "flow") - 1000 * station.outflow_m3_s)
    assert abs(sum(errors) / len(errors)) < 0.02
    assert 0.01 < max(map(abs, errors)) < 0.6


def test_every_reading_is_in_the_models() -> None:
    site = load_site(STATION)
    schemas = {twin["$dtId"]: schema_of(site.models, twin["$metadata"]["$model"]) for twin in site.twins}
    kinds = {"double": float, "integer": int, "boolean": bool, "string": str}
    readings = Station(0).step(0.1)
    assert set(readings) == set(schemas)
    for twin, values in readings.items():
        for path, value in values.items():
            assert type(value) is kinds[schemas[twin][path]], (twin, path)


def schema_of(models: list[dict[str, Any]], model_id: str, prefix: str = "") -> dict[str, str]:
    model = next(model for model in models if model["@id"] == model_id)
    found = schema_of(models, model["extends"], prefix) if "extends" in model else {}
    for element in model["contents"]:
        if element["@type"] == "Component":
            found |= schema_of(models, element["schema"], f"{prefix}{element['name']}.")
        elif element["@type"] != "Relationship":
            found[prefix + element["name"]] = element["schema"]
    return found

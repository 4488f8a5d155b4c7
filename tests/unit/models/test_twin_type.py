"""The flat shape of twins."""

from __future__ import annotations

import pytest

from gemel.base.errors import NotFoundError
from gemel.models import TwinType, compile_twin_type, parse
from support.models import MOTOR, PUMP, SITE


def pump() -> TwinType:
    return compile_twin_type(parse([MOTOR, SITE, PUMP]), "dtmi:test:pump;1")


def test_slots_by_dotted_path() -> None:
    found = pump()
    assert found.model == "dtmi:test:pump;1"
    assert set(found.slots) == {
        "speed",
        "runs",
        "hours",
        "place",
        "mode",
        "label",
        "motor.temperature",
        "motor.serial",
    }
    assert dict(found.components) == {"motor": "dtmi:test:motor;1"}
    assert set(found.relationships) == {"feeds"}
    temperature = found.slots["motor.temperature"]
    assert (temperature.path, temperature.role) == ("motor.temperature", "telemetry")
    assert (temperature.unit, temperature.semantic_type) == ("degreeCelsius", "Temperature")
    assert found.slots["motor.serial"].role == "property"


def test_storage_keeps_every_value_exactly() -> None:
    slots = pump().slots
    assert {path: slot.storage for path, slot in slots.items()} == {
        "speed": "double",
        "runs": "integer",
        "hours": "json",
        "place": "json",
        "mode": "json",
        "label": "json",
        "motor.temperature": "double",
        "motor.serial": "json",
    }


def test_slots_check_values() -> None:
    slots = pump().slots
    assert slots["motor.temperature"].check(21.5) is None
    assert slots["runs"].check(21.5) is not None
    assert slots["mode"].check("ON") is None
    assert "one of 'OFF', 'ON'" in (slots["mode"].check("on") or "")


def test_unknown_models() -> None:
    with pytest.raises(NotFoundError):
        compile_twin_type(parse([MOTOR]), "dtmi:test:pump;1")

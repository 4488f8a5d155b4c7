"""Drafts from samples: what is alike is found, and a draft is a mapping that runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.ingest.events import Event
from gemel.mapping.mapper import Mapper
from gemel.mapping.model_units import pint_unit
from gemel.mapping.payload import parse_payload_mapping
from gemel.mapping.samples import time_format
from gemel.mapping.scene import Message
from gemel.mapping.suggest import Draft, suggest
from gemel.mapping.words import alike, name_of
from gemel.models import TwinType, compile_twin_type, parse

MODEL = {
    "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
    "@id": "dtmi:t:Pump;1",
    "@type": "Interface",
    "contents": [
        {
            "@type": ["Telemetry", "Temperature"],
            "name": "motorTemperature",
            "schema": "double",
            "unit": "degreeCelsius",
        },
        {
            "@type": ["Telemetry", "Pressure"],
            "name": "dischargePressure",
            "schema": "double",
            "unit": "kilopascal",
        },
        {"@type": "Property", "name": "running", "schema": "boolean"},
        {
            "@type": "Property",
            "name": "state",
            "schema": {
                "@type": "Enum",
                "valueSchema": "integer",
                "enumValues": [{"name": "idle", "enumValue": 0}, {"name": "busy", "enumValue": 1}],
            },
        },
    ],
}


@pytest.fixture(scope="module")
def pump() -> TwinType:
    return compile_twin_type(parse([json.dumps(MODEL).encode()]), "dtmi:t:Pump;1")


def events(draft: Draft, *payloads: Any) -> list[Any]:
    mapper = Mapper(parse_payload_mapping(draft.text.encode(), "draft"))
    return mapper.run([Message(json.dumps(each).encode(), 0) for each in payloads]).events


def test_names_units_and_values_are_matched(pump: TwinType) -> None:
    payload = {
        "deviceId": "p-1",
        "ts": 1_769_860_800_123,
        "mot_temp_degF": 212,
        "disch_press_bar": 1.5,
        "running": "ON",
        "state": "BUSY",
        "fw": "1.2",
    }
    draft = suggest([payload], pump, "plant")
    (event,) = events(draft, payload)
    assert isinstance(event, Event)
    assert event.subject == "p-1"
    assert event.data == {
        "motorTemperature": pytest.approx(100.0),
        "dischargePressure": 150.0,
        "running": True,
        "state": 1,
    }
    by_path = {guess.path: guess for guess in draft.guesses}
    assert by_path["mot_temp_degF"].sure > by_path["disch_press_bar"].sure > by_path["fw"].sure == 0
    assert "degF becomes degC" in by_path["mot_temp_degF"].reasons
    assert draft.missing == []


def test_a_list_of_samples_is_taken_item_by_item(pump: TwinType) -> None:
    item = {"timestamp": "2026-01-31T12:00:00Z", "motorTemp": 61.5}
    payload = {"device": "p-2", "data": {"readings": [item, item]}}
    found = events(suggest([payload], pump, "plant"), payload)
    assert [(e.subject, e.data, e.time is not None) for e in found] == [
        ("p-2", {"motorTemperature": 61.5}, True)
    ] * 2


def test_a_unit_of_another_kind_speaks_against_a_match(pump: TwinType) -> None:
    draft = suggest([{"motor_temp_bar": 1.5}], pump, "plant")
    assert "motorTemperature" not in [guess.target for guess in draft.guesses]


def test_what_is_no_object_is_refused(pump: TwinType) -> None:
    with pytest.raises(InvalidError):
        suggest([1, "a"], pump, "plant")


@pytest.mark.parametrize(
    ("text", "words", "unit"),
    [
        ("motorTemp_degF", ("motor", "temperature"), "degF"),
        ("TEMP_C", ("temperature",), "degC"),
        ("dischargePressureKPa", ("discharge", "pressure"), "kPa"),
        ("power_mW", ("power",), "mW"),
        ("powerKWh", ("power",), "kWh"),
        ("rpm", ("rpm",), "rpm"),
        ("c", ("c",), None),
        ("vib-mm-s", ("vibration",), "mm/s"),
    ],
)
def test_names_are_taken_apart(text: str, words: tuple[str, ...], unit: str | None) -> None:
    assert name_of(text) == (words, unit)


@pytest.mark.parametrize(
    ("term", "unit"),
    [
        ("degreeCelsius", "degC"),
        ("metrePerSecondSquared", "metre/second**2"),
        ("cubicMetrePerHour", "metre**3/hour"),
        ("dtmi:standard:unit:kilowattHour;2", "kilowatt*hour"),
        ("nothingKnown", None),
    ],
)
def test_units_of_models_are_told_to_pint(term: str, unit: str | None) -> None:
    assert pint_unit(term) == unit


def test_times_are_told_by_their_size() -> None:
    assert time_format([1_769_860_800]) == "unix_s"
    assert time_format([1_769_860_800_123]) == "unix_ms"
    assert time_format(["2026-01-31T12:00:00Z"]) == "iso"
    assert time_format([21.5]) is None
    assert time_format([]) is None


@given(st.lists(st.text(alphabet="abc", min_size=1), max_size=4))
def test_a_name_is_most_like_itself(words: list[str]) -> None:
    assert alike(words, words) == (1.0 if words else 0.0)


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
KEYS = st.text(max_size=6) | st.sampled_from(["ts", "device", "motorTemp", "state", "a.b", '"', "running"])


@example([{'\0"\u2028': "#", "motorTemp": 1}])
@example([{"a\x85b": "\u2029", "motorTemp": 1}])
@given(
    st.lists(
        st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=2), max_size=5), min_size=1
    )
)
def test_a_draft_of_anything_is_a_mapping_or_says_that_nothing_was_found(payloads: list[Any]) -> None:
    twin_type = compile_twin_type(parse([json.dumps(MODEL).encode()]), "dtmi:t:Pump;1")
    draft = suggest(payloads, twin_type, "plant")
    if "CHECK: nothing was found" not in draft.text:
        parse_payload_mapping(draft.text.encode(), "draft")

"""Input, output and problems side by side: at the line of a problem stand its field and the value that was given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.mapping.preview import Preview, preview
from gemel.mapping.preview_lines import Line
from gemel.mapping.scene import Message

NOW_US = 1_769_860_800_000_000
MAPPING: dict[str, Any] = {
    "version": 2,
    "source": "plant",
    "time": {"path": "at", "format": "unix_s"},
    "twins": [
        {
            "twin": "{dev.id}",
            "quality": {"path": "q"},
            "values": {
                "temperature": {"path": "dev.c", "type": "number"},
                "state": {"path": "state", "map": {"on": 1}},
                "speed": {"path": "rpm", "expr": "value * 2.0", "type": "number"},
                "motor.*": {"path": "motor.*", "type": "number"},
                "line": {"path": "$headers.line", "type": "number"},
                "must": {"path": "must", "required": True},
            },
        }
    ],
}
GOOD: dict[str, Any] = {
    "dev": {"id": "p-1", "c": 20.5}, "at": 1_769_860_800, "state": "on", "rpm": 700, "must": "x",
}  # fmt: skip


def shown(mapping: dict[str, Any], payload: Any, **more: Any) -> Preview:
    mapper = Mapper(parse_payload_mapping(json.dumps(mapping).encode(), "m.yaml"))
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    (found,) = preview(mapper, [Message(raw, NOW_US, **more)], {})
    return found


def failed(found: Preview) -> list[Line]:
    return [line for line in found.lines if line.problem]


@pytest.mark.parametrize(
    ("changed", "field", "given", "target", "said"),
    [
        ({"dev": {"id": "p-1", "c": "n/a"}}, "dev.c", "n/a", "temperature", "'n/a' is no number"),
        ({"state": "off"}, "state", "off", "state", "is a value that `map` does not list"),
        ({"rpm": "fast"}, "rpm", "fast", "speed", "twins[0].values.speed: "),
        ({"motor": {"a": 1, "b": "hot"}}, "motor.b", "hot", "motor.b", "'hot' is no number"),
        ({"motor": 3}, "motor", 3, "motor.*", "is no object"),
        ({"must": None}, "must", None, "must", "there is none, and it is required"),
        ({"at": "soon"}, "at", "soon", None, "time"),
        ({"q": "odd"}, "q", "odd", None, "none of good"),
        ({"dev": {"id": [], "c": 1}}, "dev.id", [], None, "nothing at dev.id"),
    ],
)
def test_a_problem_stands_beside_its_field_and_what_was_given(
    changed: dict[str, Any], field: str, given: Any, target: str | None, said: str
) -> None:
    found = shown(MAPPING, GOOD | changed)
    (line,) = failed(found)
    assert (line.path, line.given, line.target, line.value) == (field, given, target, None)
    assert said in str(line.problem)
    assert found.problems == [line.problem]
    assert found.events == []


def test_what_stands_elsewhere_than_in_the_payload_is_shown_too() -> None:
    (line,) = failed(shown(MAPPING, GOOD, headers={"line": "north"}))
    assert (line.path, line.given, line.target) == ("$headers.line", "north", "line")
    good = shown(MAPPING, GOOD | {"motor": {"a": 4}}, headers={"line": "7"})
    assert failed(good) == []
    assert {line.target: (line.path, line.given, line.value) for line in good.lines if line.target} == {
        "temperature": ("dev.c", 20.5, 20.5), "state": ("state", "on", 1), "speed": ("rpm", 700, 1400.0),
        "motor.a": ("motor.a", 4, 4.0), "line": ("$headers.line", "7", 7.0), "must": ("must", "x", "x"),
    }  # fmt: skip
    topic = shown(MAPPING | {"topic": "plant/{line}"}, GOOD, topic="other")
    (line,) = failed(topic)
    assert (line.path, line.given) == ("(topic)", "other")


@pytest.mark.parametrize("named", [False, True])
def test_of_a_list_or_object_it_is_the_item_that_failed(named: bool) -> None:
    each = [{"v": 1}, {"v": "bad"}, {"v": 3}, {"v": "worse"}]
    items: Any = {f"k{place}": item for place, item in enumerate(each)} if named else each
    mapping = MAPPING | {
        "time": None,
        "twins": [
            {"each": "list", "twin": "{$payload.id}", "values": {"v": {"path": "v", "type": "number"}}}
        ],
    }
    del mapping["time"]
    found = shown(mapping, {"id": "p", "list": items})
    assert [(line.path, line.given, line.value, bool(line.problem)) for line in found.lines] == [
        ("list[].v", 1, 1.0, False),
        ("list[].v", 3, 3.0, False),
        ("list[].v", "bad", None, True),
        ("list[].v", "worse", None, True),
    ]
    assert len(found.problems) == 2


def test_what_is_no_json_has_a_problem_without_a_field() -> None:
    (line,) = failed(shown(MAPPING, b"{"))
    assert (line.path, line.given) == (None, None)
    text = {
        "version": 2,
        "source": "s",
        "format": {"type": "text"},
        "twins": [{"twin": "t", "values": {"x": {"path": "@", "type": "number"}}}],
    }
    (line,) = failed(shown(text, b"warm"))
    assert (line.path, line.given, line.target) == ("@", "warm", "x")

"""The place that broke a rule stands out in the text of an event."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gemel.cli.marked import marked

EVENT = {"id": "1", "data": {"a/b": [1, {"x": "ä"}], "empty": {}}, "time": "now"}


def lines(raw: str, place: str | None) -> list[str]:
    return [line.plain for line in marked(raw, place)]


def bad(raw: str, place: str | None) -> list[str]:
    return [line[2:].strip() for line in lines(raw, place) if line.startswith("> ")]


def test_the_lines_of_the_place_are_marked() -> None:
    raw = json.dumps(EVENT)
    assert bad(raw, "/time") == ['"time": "now"']
    assert bad(raw, "/data/a~1b") == ['"a/b": [', "1,", "{", '"x": "ä"', "}", "],"]
    assert bad(raw, "/data/empty") == ['"empty": {}']
    assert len(bad(raw, "")) == len(lines(raw, ""))
    assert bad(raw, None) == []


def test_a_place_that_is_missing_marks_what_lacks_it() -> None:
    raw = json.dumps({"data": {"a": 1}, "id": "1"})
    assert bad(raw, "/data/b") == ['"data": {', '"a": 1', "},"]


def test_a_text_that_is_no_json_points_to_what_stops_it() -> None:
    *_, near, pointer = lines('{"id":"1", nope}', None)
    assert near[pointer.index("^")] == "n"
    assert "property name" in pointer
    assert lines("", None)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_without_the_marks_it_is_the_same_document(value: Any) -> None:
    assert json.loads("\n".join(line[2:] for line in lines(json.dumps(value), "/data/x"))) == value

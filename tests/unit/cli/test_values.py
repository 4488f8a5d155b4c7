from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.cli.values import assignments, nested, patch, pointer

names = st.text("abcxyz_", min_size=1, max_size=5)
paths = st.lists(names, min_size=1, max_size=3).map(".".join)
scalars: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(paths, scalars)
def test_a_value_given_as_json_is_read_exactly(path: str, value: Any) -> None:
    assert assignments([f"{path}={json.dumps(value)}"]) == {path: value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=fast", "fast"),
        ("a=", ""),
        ("a=P-101=x", "P-101=x"),
        ("a=007", "007"),
        ('a="7"', "7"),
        ("a=9007199254740993", 9007199254740993),
        ('a={"x": [1, true]}', {"x": [1, True]}),
    ],
)
def test_what_is_not_json_is_text(text: str, value: Any) -> None:
    assert assignments([text]) == {"a": value}


@pytest.mark.parametrize(
    "text", ["a", "=1", "a..b=1", ".a=1", "a=NaN", "a=-Infinity", "a=1e999", "a=[1e999]"]
)
def test_what_cannot_be_a_value_is_a_usage_error_that_quotes_it(text: str) -> None:
    with pytest.raises(InvalidError) as raised:
        assignments([text])
    assert raised.value.code == "UsageInvalid"
    assert repr(text) in raised.value.message


def test_a_path_given_twice_is_refused() -> None:
    with pytest.raises(InvalidError, match="a twice"):
        assignments(["a=1", "a=2"])


def test_components_get_their_metadata_and_plain_objects_do_not() -> None:
    body = nested({"motor.speed": 3, "position.x": 1.5, "label": "P"}, ["motor", "motor.drive"])
    assert body == {
        "motor": {"$metadata": {}, "speed": 3, "drive": {"$metadata": {}}},
        "position": {"x": 1.5},
        "label": "P",
    }


@pytest.mark.parametrize("order", [["a", "a.b"], ["a.b.c", "a.b"]])
def test_a_path_through_a_value_is_refused_or_replaces_nothing_silently(order: list[str]) -> None:
    with pytest.raises(InvalidError, match="--set a"):
        nested(dict.fromkeys(order, 1))


def test_a_patch_sets_first_and_removes_after() -> None:
    assert patch({"motor.speed": 3}, ["label"]) == [
        {"op": "add", "path": "/motor/speed", "value": 3},
        {"op": "remove", "path": "/label"},
    ]


def test_pointers_escape_what_rfc_6901_says() -> None:
    assert pointer("a/b.c~d") == "/a~1b/c~0d"

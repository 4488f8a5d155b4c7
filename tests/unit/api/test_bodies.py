from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.api.bodies import decode
from gemel.base.errors import InvalidError

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


class Shape(msgspec.Struct):
    name: str
    count: int = 0


@given(values)
def test_json_comes_through_as_it_is(value: Any) -> None:
    assert decode(json.dumps(value).encode()) == value


@given(st.binary())
def test_any_bytes_are_decoded_or_refused_by_code(body: bytes) -> None:
    try:
        decode(body, Shape)
    except InvalidError as error:
        assert error.code in {"BodyMalformed", "InvalidArgument"}  # noqa: PT017


@given(texts, texts)
def test_a_nul_is_refused_and_its_escape_as_text_is_not(before: str, after: str) -> None:
    with pytest.raises(InvalidError, match="NUL"):
        decode(json.dumps(before + "\0" + after).encode())
    text = before + "\\u0000" + after
    assert decode(json.dumps(text).encode()) == text


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 20_000, b"[" * 5000 + b"]" * 5000])
def test_deep_nesting_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidError) as caught:
        decode(body)
    assert caught.value.code == "BodyMalformed"


def test_another_shape_is_named() -> None:
    assert decode(b'{"name": "x", "other": 1}', Shape) == Shape("x")
    with pytest.raises(InvalidError, match=r"\$.count") as caught:
        decode(b'{"name": "x", "count": "y"}', Shape)
    assert caught.value.code == "InvalidArgument"

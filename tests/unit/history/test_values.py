"""Stored forms: what goes in comes out, and two values rank the same whichever comes first."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.history.values import JSON, Encoded, Storage, canonical_json, decode, encode, rank

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def as_stored(text: str) -> Any:
    """Return JSON as jsonb gives it back: a double as the digits of its shortest form."""

    def digits(literal: str) -> int | float:
        number = float(literal)
        return (
            int(f"{number:.0f}".replace("-0", "0"))
            if abs(number) >= 2**63 and number.is_integer()
            else number
        )

    return json.loads(text, parse_float=digits)


@given(VALUES)
def test_json_comes_back_equal_and_canonical(value: Any) -> None:
    encoded = encode(value, "json")
    assert encoded.doc is not None
    back = decode(None, JSON, as_stored(encoded.doc))
    assert back == value
    assert canonical_json(back) == encoded.doc


@pytest.mark.parametrize(
    ("value", "storage"), [(1.5, "double"), (7, "double"), (-3, "integer"), (2**31 - 1, "integer")]
)
def test_numbers_come_back(value: float, storage: Storage) -> None:
    num, kind, _ = encode(value, storage)
    back = decode(num, kind, None)
    assert back == value
    assert isinstance(back, float if storage == "double" else int)


@pytest.mark.parametrize("value", ["a\x00b", {"a\x00": 1}, ["\x00"], "\ud800"])
def test_text_that_cannot_be_stored(value: Any) -> None:
    with pytest.raises(InvalidError, match="ValueOutOfRange"):
        encode(value, "json")


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    assert encode("\\u0000", "json").doc == '"\\\\u0000"'


ENCODED = st.builds(
    lambda pair: encode(pair[1], pair[0]),
    st.one_of(
        st.tuples(st.just("double"), st.floats(allow_nan=False, allow_infinity=False)),
        st.tuples(st.just("integer"), st.integers(-(2**31), 2**31 - 1)),
        st.tuples(st.just("json"), VALUES),
    ),
) | st.just(Encoded(None, 3, None))
RANKS = st.builds(rank, st.integers(0, 5), ENCODED, st.integers(0, 2))


@given(RANKS, RANKS, RANKS)
def test_ranks_are_a_total_order(one: Any, two: Any, three: Any) -> None:
    assert (one < two) + (one == two) + (one > two) == 1
    assert not (one < two < three) or one < three


def test_what_ranks_higher() -> None:
    def ranked(value: float, revision: int = 0, quality: int = 0) -> Any:
        return rank(revision, Encoded(value, 0, None), quality)

    assert ranked(1.0, revision=1) > ranked(99.0)
    assert ranked(2.0) > ranked(1.0)
    assert ranked(1.0) > ranked(1.0, quality=2)
    assert rank(0, Encoded(None, JSON, '"a"'), 0) > ranked(math.inf)
    assert rank(0, Encoded(None, 3, None), 0) < ranked(-1e300)

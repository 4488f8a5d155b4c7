from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError, PreconditionError
from gemel.graph.etag import Conditions, etag, is_known, matches

numbers = st.integers(0, 2**63 - 1)


@given(numbers, numbers)
def test_is_a_weak_uuid(no: int, version_us: int) -> None:
    tag = etag(no, version_us)
    assert re.fullmatch(r'W/"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"', tag)


@given(numbers, numbers, numbers, numbers)
def test_differs_with_number_and_version(no: int, version: int, other_no: int, other: int) -> None:
    assert (etag(no, version) == etag(other_no, other)) == ((no, version) == (other_no, other))


@pytest.mark.parametrize("header", [None, "*", " * ", 'W/"x"', '"x"', '"a", W/"x"', 'W/"x" ,"b"'])
def test_lets_a_change_pass(header: str | None) -> None:
    assert matches(header, 'W/"x"')


@pytest.mark.parametrize("header", ['W/"y"', '"y", "z"', '""'])
def test_stops_a_change(header: str) -> None:
    assert not matches(header, 'W/"x"')
    with pytest.raises(PreconditionError) as caught:
        Conditions(header).check('W/"x"', "twin", "t")
    assert caught.value.code == "PreconditionFailed"


@pytest.mark.parametrize("header", ["", "XXX", 'W/"x" y', 'x "y"', '"x'])
def test_refuses_what_is_no_tag(header: str) -> None:
    with pytest.raises(InvalidError) as caught:
        matches(header, 'W/"x"')
    message = "Invalid If-Match header value. Allowed value(s): If-Match: {etag} or If-Match: *"
    assert caught.value.message == message


def test_if_none_match() -> None:
    Conditions(None, "*").check(None, "twin", "t")
    with pytest.raises(PreconditionError, match="Please specify a different twin id"):
        Conditions(None, "*").check('W/"x"', "twin", "t")
    for tag in (None, 'W/"x"'):
        Conditions().check(tag, "twin", "t")
        with pytest.raises(InvalidError, match="Invalid If-None-Match header value"):
            Conditions(None, '"x"').check(tag, "twin", "t")


@pytest.mark.parametrize("header", ["*", '"x"', '""'])
def test_if_match_does_not_hold_of_what_is_not_there(header: str) -> None:
    with pytest.raises(PreconditionError, match="there is no twin t"):
        Conditions(header).check(None, "twin", "t")


def test_both_have_to_hold() -> None:
    with pytest.raises(PreconditionError, match="specify a different"):
        Conditions('"x"', "*").check('W/"x"', "twin", "t")


@pytest.mark.parametrize(
    ("header", "known"),
    [(None, False), ("*", True), ('W/"x"', True), ('"a", "x"', True), ('"y"', False), ('W/"xx"', False)],
)
def test_says_whether_a_reader_has_it(header: str | None, known: bool) -> None:
    assert is_known(header, 'W/"x"') is known


@pytest.mark.parametrize("header", ["", "x", 'W/"x', '"x" "y"'])
def test_refuses_what_is_no_list_of_tags(header: str) -> None:
    with pytest.raises(InvalidError, match="If-None-Match: \\*"):
        is_known(header, 'W/"x"')

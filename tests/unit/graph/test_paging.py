from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.graph.paging import (
    PAGE_SIZE,
    PAGE_SIZE_MAX,
    check_page_size,
    decode_token,
    encode_token,
    resume,
)


@given(st.text(max_size=200), st.integers(-(2**63), 2**63 - 1))
def test_tokens_come_back(after: str, no: int) -> None:
    token = encode_token("things", after=after, no=no)
    assert token.isascii()
    assert decode_token(token, "things", after=str, no=int) == {"after": after, "no": no}


def plain(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "!!!!",
        "ä",
        plain("[]"),
        plain("{}"),
        plain('{"k":"things"}'),
        plain('{"k":"others","after":"x"}'),
        plain('{"k":"things","after":1}'),
        plain('{"k":"things","after":true}'),
        plain('{"k":"things","after":"x","more":1}'),
        "A" * 9000,
    ],
)
def test_refuses_what_it_did_not_give(token: str) -> None:
    with pytest.raises(InvalidError) as caught:
        decode_token(token, "things", after=str)
    assert caught.value.code == "InvalidArgument"


def test_page_sizes() -> None:
    assert check_page_size(None) == PAGE_SIZE
    assert check_page_size(7) == 7
    assert check_page_size(10**9) == PAGE_SIZE_MAX
    with pytest.raises(InvalidError):
        check_page_size(0)


def test_a_page_has_the_size_of_the_one_before_unless_it_asks_for_another() -> None:
    assert resume("things", None, None, after="") == ({"after": ""}, PAGE_SIZE)
    assert resume("things", None, 3, after="") == ({"after": ""}, 3)
    token = encode_token("things", size=3, after="x")
    assert resume("things", token, None, after="")[1] == 3
    assert resume("things", token, 5, after="")[1] == 5
    assert resume("things", token, None, after="")[0]["after"] == "x"
    assert resume("things", encode_token("things", size=10**9, after=""), None, after="")[1] == PAGE_SIZE_MAX
    with pytest.raises(InvalidError):
        resume("things", encode_token("things", size=0, after=""), None, after="")

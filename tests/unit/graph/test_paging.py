from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.graph.paging import (
    PAGE_SIZE,
    PAGE_SIZE_MAX,
    Listing,
    check_page_size,
)

THINGS = Listing(7, "things", ("a", None, 5))


@given(st.text(max_size=200), st.integers(-(2**63), 2**63 - 1))
def test_tokens_come_back(after: str, no: int) -> None:
    token = THINGS.encode(after=after, no=no)
    assert token.isascii()
    assert THINGS.decode(token, after=str, no=int) == {"after": after, "no": no}


def sealed(body: str) -> str:
    raw = THINGS._checksum(body.encode()) + body.encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "!!!!",
        "ä",
        sealed("[]"),
        sealed("{}"),
        sealed('{"after":1}'),
        sealed('{"after":true}'),
        sealed('{"after":"x","more":1}'),
        sealed('{"after":' + "[" * 5000 + "}"),
        "A" * 9000,
        Listing(8, "things", THINGS.of).encode(after="x"),
        Listing(7, "others", THINGS.of).encode(after="x"),
        Listing(7, "things", ("b", None, 5)).encode(after="x"),
        Listing(7, "things").encode(after="x"),
    ],
)
def test_refuses_what_it_did_not_give(token: str) -> None:
    with pytest.raises(InvalidError) as caught:
        THINGS.decode(token, after=str)
    assert caught.value.code == "InvalidArgument"


@given(st.text(max_size=50), st.data())
def test_a_changed_token_is_refused(after: str, data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(THINGS.encode(after=after) + "==="))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidError):
        THINGS.decode(base64.urlsafe_b64encode(raw).decode(), after=str)


def test_page_sizes() -> None:
    assert check_page_size(None) == PAGE_SIZE
    assert check_page_size(7) == 7
    assert check_page_size(10**9) == PAGE_SIZE_MAX
    with pytest.raises(InvalidError):
        check_page_size(0)


def test_a_page_has_the_size_of_the_one_before_unless_it_asks_for_another() -> None:
    assert THINGS.resume(None, None, after="") == ({"after": ""}, PAGE_SIZE)
    assert THINGS.resume(None, 3, after="") == ({"after": ""}, 3)
    token = THINGS.encode(size=3, after="x")
    assert THINGS.resume(token, None, after="")[1] == 3
    assert THINGS.resume(token, 5, after="")[1] == 5
    assert THINGS.resume(token, None, after="")[0]["after"] == "x"
    assert THINGS.resume(THINGS.encode(size=10**9, after=""), None, after="")[1] == PAGE_SIZE_MAX
    with pytest.raises(InvalidError):
        THINGS.resume(THINGS.encode(size=0, after=""), None, after="")

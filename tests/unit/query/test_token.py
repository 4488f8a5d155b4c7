from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.query.token import CHECKSUM_BYTES, Position, check_key, decode_position, encode_position

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
POSITIONS = st.builds(
    Position,
    TEXTS,
    st.lists(st.integers(-1, 2**63 - 1) | TEXTS, max_size=5).map(tuple),
    st.none() | st.integers(1, 2**31),
)


@settings(deadline=None)
@given(POSITIONS)
def test_a_token_gives_back_its_position(position: Position) -> None:
    token = encode_position(position, 7)
    assert token.isascii()
    assert "=" not in token
    assert decode_position(token, 7) == position


@settings(deadline=None)
@given(POSITIONS, st.data())
def test_a_changed_token_is_refused(position: Position, data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(encode_position(position, 7) + "==="))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    refused(base64.urlsafe_b64encode(raw).decode())


@pytest.mark.parametrize("token", ["", "=", "nonsense", "é", "AAAA", "\x00", "a" * 1_000_000, "%s", "../.."])
def test_what_is_no_token_is_refused(token: str) -> None:
    refused(token)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"text": 5, "after": [0, ""]}',
        b'{"text": ""}',
        b'{"text": "", "after": null}',
        b'{"text": "", "after": [[]]}',
        b'{"text": "", "after": [0, ""], "left": 0}',
        b'{"text": "", "after": [0, ""], "left": -5}',
        b'{"text": "", "after": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_a_forged_position_is_refused(body: bytes) -> None:
    raw = sha256(b"7:" + body).digest()[:CHECKSUM_BYTES] + body
    refused(base64.urlsafe_b64encode(raw).decode())


@pytest.mark.parametrize(
    "key",
    [
        (),
        (0,),
        (0, ""),
        (0, "", 0),
        (-(2**63) - 1, "", ""),
        (0, None, ""),
        (2**63, "", ""),
        (True, "", ""),
        (0, 0, ""),
        (0, "\x00", ""),
    ],
)
def test_a_key_of_another_query_is_refused(key: tuple[int | str, ...]) -> None:
    check_key((0, "a", ""), ["bigint", "text", "text"])
    with pytest.raises(InvalidError) as error:
        check_key(key, ["bigint", "text", "text"])
    assert error.value.code == "BadRequest"


def refused(token: str) -> None:
    with pytest.raises(InvalidError) as error:
        decode_position(token, 7)
    assert error.value.code == "BadRequest"

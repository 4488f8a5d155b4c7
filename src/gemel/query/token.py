"""The continuation token: a query, where its last page ended and how many rows are still wanted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from gemel.base.errors import InvalidError
from gemel.query.parse import TEXT_LENGTH_MAX

__all__ = ["Key", "Position", "check_key", "decode_position", "encode_position"]

CHECKSUM_BYTES = 8
# Base64 of the text at its greatest length in bytes, JSON escapes and the rest.
TOKEN_LENGTH_MAX = 8 * TEXT_LENGTH_MAX + 1024
NUMBER_MAX = 2**63 - 1


Key = tuple[int | str, ...]
"""What tells a row of an answer from all others, and by which they are in order."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a query goes on: after a key (None: at its start), with at most `left` rows to come (None: all)."""

    text: str
    after: Key | None = None
    left: int | None = None


def encode_position(position: Position) -> str:
    """Return the token: base64url of a checksum and JSON. It holds nothing that its bearer may not know."""
    body = msgspec.json.encode(position)
    return base64.urlsafe_b64encode(_checksum(body) + body).rstrip(b"=").decode()


def decode_position(token: str) -> Position:
    """Return where a query goes on. Raises InvalidError (BadRequest) for any text that is not such a token."""
    try:
        if len(token) > TOKEN_LENGTH_MAX:
            raise ValueError("too long")
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        checksum, body = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
        if checksum != _checksum(body):
            raise ValueError("checksum")
        position = msgspec.json.decode(body, type=Position)
        if position.after is None or (position.left is not None and position.left < 1):
            raise ValueError("state")
    except (ValueError, binascii.Error, RecursionError, msgspec.MsgspecError) as error:
        raise _not_ours() from error
    return position


def check_key(key: Key, types: Sequence[str]) -> None:
    """Raise InvalidError (BadRequest) unless a token's key has a value for each of these types of SQL."""
    if len(key) != len(types) or not all(map(_fits, key, types)):
        raise _not_ours()


def _fits(value: int | str, kind: str) -> bool:
    if kind == "bigint":
        return isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= NUMBER_MAX
    return isinstance(value, str) and "\x00" not in value


def _not_ours() -> InvalidError:
    return InvalidError(
        "BadRequest",
        "The continuation token is not one that a query gave, or was changed on the way.",
        "Send the query again without a token.",
    )


def _checksum(body: bytes) -> bytes:
    return sha256(body).digest()[:CHECKSUM_BYTES]

"""The continuation token: a query, where its last page ended and how many rows are still wanted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from gemel.base.errors import InvalidError
from gemel.history.moment import END_US, LIVE, Moment
from gemel.query.parse import TEXT_LENGTH_MAX

__all__ = ["Key", "Position", "check_key", "decode_position", "encode_position", "not_ours"]

CHECKSUM_BYTES = 8
# Base64 of the text at its greatest length in bytes, JSON escapes and the rest.
TOKEN_LENGTH_MAX = 8 * TEXT_LENGTH_MAX + 1024
NUMBER_MIN, NUMBER_MAX = -(2**63), 2**63 - 1


Key = tuple[int | str | None, ...]
"""What tells a row of an answer from all others, and by which they are in order."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a query goes on: after a key (None: at its start), with at most `left` rows to come (None: all).

    `size` is how many rows the page before it was asked for; `moment` that of which the query is asked; `now_us`
    when the first page was, where windows over samples end.
    """

    text: str
    after: Key | None = None
    left: int | None = None
    size: int | None = None
    moment: Moment = LIVE
    now_us: int = 0


def encode_position(position: Position, tenant: int) -> str:
    """Return a tenant's token: base64url of a checksum and JSON. It holds nothing that its bearer may not know."""
    body = msgspec.json.encode(position)
    return base64.urlsafe_b64encode(_checksum(body, tenant) + body).rstrip(b"=").decode()


def decode_position(token: str, tenant: int) -> Position:
    """Return where a query goes on. Raises InvalidError (BadRequest) for what is no token of the tenant."""
    try:
        if len(token) > TOKEN_LENGTH_MAX:
            raise ValueError("too long")
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        checksum, body = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
        if checksum != _checksum(body, tenant):
            raise ValueError("checksum")
        position = msgspec.json.decode(body, type=Position)
        if not _sound(position):
            raise ValueError("state")
    except (ValueError, binascii.Error, RecursionError, msgspec.MsgspecError) as error:
        raise not_ours() from error
    return position


def _sound(position: Position) -> bool:
    counts = (position.left, position.size)
    times_us = (*position.moment, position.now_us)
    started = position.after is not None and all(0 <= time_us <= END_US for time_us in times_us)
    return started and all(count is None or count > 0 for count in counts)


def check_key(key: Key, types: Sequence[str], nullable: int = 0) -> None:
    """Raise InvalidError (BadRequest) unless a token's key has a value for each of these types of SQL.

    The first `nullable` may be null.
    """
    if len(key) != len(types) or None in key[nullable:] or not all(map(_fits, key, types)):
        raise not_ours()


def _fits(value: int | str | None, kind: str) -> bool:
    if value is None:
        return True
    if kind == "bigint":
        return isinstance(value, int) and not isinstance(value, bool) and NUMBER_MIN <= value <= NUMBER_MAX
    return isinstance(value, str) and "\x00" not in value and (kind != "jsonb" or _is_json(value))


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return "\\u" not in text  # PostgreSQL writes characters as they are


def not_ours() -> InvalidError:
    """Return the error for what is no continuation token, or one of something else."""
    return InvalidError(
        "BadRequest",
        "The continuation token is not one that a query of this tenant gave, or was changed on the way.",
        "Send the query again without a token.",
    )


def _checksum(body: bytes, tenant: int) -> bytes:
    return sha256(b"%d:%b" % (tenant, body)).digest()[:CHECKSUM_BYTES]

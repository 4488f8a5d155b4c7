"""Pages by key: a continuation token is the last key of a page and says what it continues."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from gemel.base.errors import InvalidError

__all__ = [
    "PAGE_SIZE",
    "PAGE_SIZE_MAX",
    "Page",
    "check_page_size",
    "decode_token",
    "encode_token",
    "resume",
]

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000
TOKEN_LENGTH_MAX = 8192


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a list, and the token that continues it, or None at its end."""

    items: list[dict[str, Any]]
    token: str | None


def check_page_size(size: int | None) -> int:
    """Return how many items a page has; None means the default.

    Raises InvalidError (InvalidArgument) below 1; more than the greatest page gives the greatest page.
    """
    if size is None:
        return PAGE_SIZE
    if size < 1:
        raise InvalidError("InvalidArgument", "max-items-per-page must be a whole number of 1 or more.")
    return min(size, PAGE_SIZE_MAX)


def resume(
    kind: str, token: str | None, page_size: int | None, **first: str | int
) -> tuple[dict[str, Any], int]:
    """Return where a list goes on, `first` without a token, and how many items its page has.

    A page that asks for no size has that of the page before it, which `encode_token` kept as `size`. Raises
    InvalidError (InvalidArgument) as `decode_token` and `check_page_size` do.
    """
    if token is None:
        return first, check_page_size(page_size)
    types = {name: type(value) for name, value in first.items()}
    state = decode_token(token, kind, size=int, **types)
    return state, check_page_size(state["size"] if page_size is None else page_size)


def encode_token(kind: str, **state: Any) -> str:
    """Return an opaque token of what a list is and where it stands."""
    text = msgspec.json.encode({"k": kind} | state)
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def decode_token(token: str, kind: str, **types: type) -> dict[str, Any]:
    """Return the state in a token of a kind of list.

    Raises InvalidError (InvalidArgument) unless it is a token of this kind with values of these types.
    """
    try:
        if len(token) > TOKEN_LENGTH_MAX:
            raise ValueError("too long")
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        state = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise _malformed() from error
    if state.pop("k", None) != kind or state.keys() != types.keys():
        raise _malformed()
    if any(type(state[name]) is not kind_of for name, kind_of in types.items()):
        raise _malformed()
    return state


def _malformed() -> InvalidError:
    return InvalidError(
        "InvalidArgument",
        "The continuation token is not one that this list gave.",
        "Start again without a token.",
    )

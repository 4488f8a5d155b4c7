"""Pages by key: a continuation token is the last key of a page and only continues the list that gave it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from gemel.base.errors import InvalidError

__all__ = [
    "PAGE_SIZE",
    "PAGE_SIZE_MAX",
    "Listing",
    "Page",
    "check_page_size",
    "foreign_token",
]

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000
TOKEN_LENGTH_MAX = 8192
CHECKSUM_BYTES = 8


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


@dataclass(frozen=True, slots=True)
class Listing:
    """One list, which its tokens continue and no others do: its tenant, its kind, and what narrows it."""

    tenant: int
    kind: str
    of: tuple[Any, ...] = ()

    def resume(
        self, token: str | None, page_size: int | None, **first: str | int
    ) -> tuple[dict[str, Any], int]:
        """Return where the list goes on, `first` without a token, and how many items its page has.

        A page that asks for no size has that of the page before it, which its token kept as `size`. Raises
        InvalidError (InvalidArgument) as `decode` and `check_page_size` do.
        """
        if token is None:
            return first, check_page_size(page_size)
        types = {name: type(value) for name, value in first.items()}
        state = self.decode(token, size=int, **types)
        return state, check_page_size(state["size"] if page_size is None else page_size)

    def encode(self, **state: Any) -> str:
        """Return an opaque token of where the list stands: base64url of a checksum and JSON."""
        body = msgspec.json.encode(state)
        return base64.urlsafe_b64encode(self._checksum(body) + body).rstrip(b"=").decode()

    def decode(self, token: str, **types: type) -> dict[str, Any]:
        """Return the state in a token of this list.

        Raises InvalidError (InvalidArgument) unless it is a token of this list with values of these types.
        """
        try:
            if len(token) > TOKEN_LENGTH_MAX:
                raise ValueError("too long")
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            checksum, body = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
            if checksum != self._checksum(body):
                raise ValueError("checksum")
            state = msgspec.json.decode(body, type=dict[str, Any])
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise foreign_token() from error
        if state.keys() != types.keys():
            raise foreign_token()
        if any(type(state[name]) is not kind_of for name, kind_of in types.items()):
            raise foreign_token()
        return state

    def _checksum(self, body: bytes) -> bytes:
        own = msgspec.json.encode((self.tenant, self.kind, self.of))
        return sha256(sha256(own).digest() + body).digest()[:CHECKSUM_BYTES]


def foreign_token() -> InvalidError:
    """Return the error for what is no continuation token, or one of another list."""
    return InvalidError(
        "InvalidArgument",
        "The continuation token is not one that this list gave: it is of a list with other parameters or of another "
        "tenant, or was changed on the way.",
        "Go on with the parameters of the first page, or start again without a token.",
    )

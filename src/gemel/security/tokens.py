"""The text of a token and its digest.

A token is ``gk_<tenant, base 36>_<key id>_<secret>``. The secret is 256 random bits in base64url. Only the
HMAC-SHA256 of the whole text is stored, so that reading the table gives no one a key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import NamedTuple

from gemel.base.errors import UnauthenticatedError

__all__ = ["RandomBytes", "TokenParts", "digest", "invalid_token", "mint", "parse_token"]

RandomBytes = Callable[[int], bytes]

SECRET_BYTES = 32
KEY_ID_BYTES = 5
TENANT_MAX = 2**31 - 1
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
PATTERN = re.compile(r"gk_([0-9a-z]{1,6})_([a-z2-7]{8})_([A-Za-z0-9_-]{43})", re.ASCII)


class TokenParts(NamedTuple):
    """Where to look a token up: its tenant's number and its key's id."""

    tenant: int
    key_id: str


def mint(tenant: int, random_bytes: RandomBytes) -> tuple[str, str]:
    """Return a new key's id and the token's text; `random_bytes(n)` must be fit for secrets."""
    key_id = base64.b32encode(random_bytes(KEY_ID_BYTES)).decode().lower()
    secret = base64.urlsafe_b64encode(random_bytes(SECRET_BYTES)).decode().rstrip("=")
    return key_id, f"gk_{_base36(tenant)}_{key_id}_{secret}"


def parse_token(text: str) -> TokenParts:
    """Return a token's tenant and key id; raise UnauthenticatedError (TokenInvalid) if it has none."""
    match = PATTERN.fullmatch(text)
    tenant = int(match[1], 36) if match else TENANT_MAX + 1
    if match is None or tenant > TENANT_MAX:
        raise invalid_token()
    return TokenParts(tenant, match[2])


def digest(hmac_key: bytes, text: str) -> bytes:
    """Return the HMAC-SHA256 of a token, 32 bytes: what is stored and compared."""
    return hmac.digest(hmac_key, text.encode(), hashlib.sha256)


def invalid_token() -> UnauthenticatedError:
    """Return the one error for every token that does not hold, so that it tells nothing of why."""
    return UnauthenticatedError(
        "TokenInvalid",
        "The bearer token is missing, malformed, unknown or revoked.",
        "Send `Authorization: Bearer KEY`; make one with `gemel key create`.",
    )


def _base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
        if not number:
            return text

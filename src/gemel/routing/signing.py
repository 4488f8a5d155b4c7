"""Signatures of webhook deliveries, as Standard Webhooks 1.0 has them. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac

from gemel.base.errors import InvalidError

__all__ = ["PREFIX", "secret_bytes", "signed_headers"]

PREFIX = "whsec_"
BYTES_MIN, BYTES_MAX = 24, 64


def secret_bytes(secret: str) -> bytes:
    """Return the key of a secret: `whsec_` and 24 to 64 bytes in base64.

    Raises InvalidError (InvalidArgument); the message does not repeat the secret.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not BYTES_MIN <= len(key) <= BYTES_MAX:
        raise InvalidError(
            "InvalidArgument",
            f"The secret must be {PREFIX} and {BYTES_MIN} to {BYTES_MAX} bytes in base64.",
            "Leave it to `gemel endpoint add --sign` to make one.",
        )
    return key


def signed_headers(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers by which a receiver knows sender and body: HMAC-SHA256 over id, time and body."""
    content = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }

"""Texts of any length as keys: PostgreSQL takes at most 2,704 bytes in one entry of an index."""

from __future__ import annotations

import hashlib

__all__ = ["key_text"]

BYTES_MAX = 1000


def key_text(text: str) -> str:
    """Return a text as it is kept in a key: itself, or its digest where it has more than BYTES_MAX bytes."""
    if len(text) * 4 <= BYTES_MAX:
        return text
    encoded = text.encode()
    return text if len(encoded) <= BYTES_MAX else "sha256:" + hashlib.sha256(encoded).hexdigest()

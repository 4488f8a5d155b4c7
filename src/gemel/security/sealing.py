"""Secrets that must be read again (unlike tokens), encrypted under the data directory's key.

AES-256-GCM with a random nonce of 96 bits; what a secret belongs to is authenticated with it, so that one cannot be
moved to another place. The key is derived from hmac.key by HMAC-SHA256 (a key derivation in the sense of NIST SP
800-108 with one block).
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gemel.base.errors import EnvironmentFaultError

__all__ = ["Sealer"]

LABEL = b"gemel sealed secrets 1"
NONCE_BYTES = 12


class Sealer:
    """Seals and opens secrets of one installation; safe for concurrent use."""

    def __init__(self, hmac_key: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(hmac_key, LABEL, "sha256"))

    def seal(self, secret: bytes, place: str) -> bytes:
        """Return a secret encrypted; `place` says what it belongs to."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return a secret that was sealed for this place.

        Raises EnvironmentFaultError (SecretUnreadable) where it was sealed for another, under another key, or
        was changed.
        """
        nonce, box = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, box, place.encode())
        except (InvalidTag, ValueError) as error:
            raise EnvironmentFaultError(
                "SecretUnreadable",
                f"The secret of {place} was not sealed under this data directory's hmac.key.",
                "Restore hmac.key from a backup, or set the secret again.",
            ) from error

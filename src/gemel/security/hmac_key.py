"""The secret under which token digests are made: one file of the data directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gemel.base.errors import EnvironmentFaultError
from gemel.security.tokens import RandomBytes

__all__ = ["load_hmac_key"]

FILE = "hmac.key"
KEY_BYTES = 32


def load_hmac_key(data_dir: Path, random_bytes: RandomBytes = secrets.token_bytes) -> bytes:
    """Return the 32 bytes of data_dir/hmac.key, making the file (0600) at the first call.

    The file appears whole or not at all, and of several callers one makes it. Raises EnvironmentFaultError
    (DataDirectoryUnusable) where it cannot be read or made, or has another length.
    """
    path = data_dir / FILE
    try:
        if not path.exists():
            _create(path, random_bytes(KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise _unusable(path, str(error)) from error
    if len(key) != KEY_BYTES:
        raise _unusable(path, f"it has {len(key)} bytes, not {KEY_BYTES}")
    return key


def _create(path: Path, key: bytes) -> None:
    draft = path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name exists, as O_EXCL does, but never shows half a file.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _unusable(path: Path, reason: str) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "DataDirectoryUnusable",
        f"The key file {path} cannot be used: {reason}.",
        "Check its rights, or restore it from a backup; without it no key of this directory is valid.",
    )

"""Inputs that came over the network, kept as files of the data directory until their job is over."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from gemel.base.errors import InvalidError, TooLargeError

__all__ = ["SPOOL_BYTES_MAX", "InputSpool"]

SPOOL_BYTES_MAX = 16 << 30


class InputSpool:
    """A folder with one file for each job whose input was fetched or sent, by the input's key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def uploads(self) -> str:
        """How input URIs begin of jobs whose input was sent to this server; another server's differ."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self._folder / "server-id"
        if not known.exists():
            known.write_text(secrets.token_hex(8))
        return f"upload:{known.read_text()}/"

    def open(self, tenant: int, key: str) -> BinaryIO | None:
        """Open the input of a job to be read, or return None where it is not here."""
        try:
            return self._path(tenant, key).open("rb")
        except FileNotFoundError:
            return None

    async def keep(self, tenant: int, key: str, parts: AsyncGenerator[bytes]) -> str:
        """Write the input of a job, which is there whole or not at all; return its SHA-256.

        Raises TooLargeError (LimitExceeded) beyond SPOOL_BYTES_MAX, InvalidError (FileUnreadable).
        """
        path = self._path(tenant, key)
        draft = path.with_suffix(".part")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Closed here, in the task that reads it: a fetch that is left half read ends now.
            async with aclosing(parts):
                digest = await _write(draft, parts)
            draft.replace(path)
        except OSError as error:
            raise InvalidError("FileUnreadable", f"The input cannot be kept: {error.strerror}.") from error
        finally:
            draft.unlink(missing_ok=True)
        return digest

    def drop(self, tenant: int, key: str) -> None:
        """Forget the input of a job."""
        self._path(tenant, key).unlink(missing_ok=True)

    def _path(self, tenant: int, key: str) -> Path:
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self._folder / f"{tenant}-{name}.ndjson"


async def _write(path: Path, parts: AsyncGenerator[bytes]) -> str:
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        async for part in parts:
            size += len(part)
            if size > SPOOL_BYTES_MAX:
                raise TooLargeError("LimitExceeded", f"The input has more than {SPOOL_BYTES_MAX} bytes.")
            digest.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()

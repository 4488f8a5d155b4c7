"""Files that jobs read and write: below the tenant's own folder under the jobs root, and nowhere else."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from gemel.base.errors import InvalidError

__all__ = ["JobFolder", "is_file_uri"]

ROOT = "GEMEL_JOBS_ROOT"


def is_file_uri(uri: str) -> bool:
    """Say whether a URI is of a file."""
    return uri[:5].lower() == "file:"


class JobFolder:
    """The folder that a tenant's `file:` URIs lead into: ROOT/TENANT.

    A URI is `file:NAME` (below the folder) or `file:///ROOT/TENANT/NAME`. No step may be "..", and none a
    symbolic link: each folder is opened from the one above it, so that nothing can be swapped in between.
    """

    def __init__(self, root: Path | None, tenant_name: str) -> None:
        self._root = root
        self._tenant = tenant_name

    def check(self, uri: str) -> None:
        """Raise InvalidError (ValidationFailed) where a URI does not lead below the folder."""
        self._steps(uri)

    def open(self, uri: str) -> BinaryIO:
        """Open a regular file to be read. Raises InvalidError (ValidationFailed, FileUnreadable)."""
        *folders, name = self._steps(uri)
        try:
            folder = self._folder(folders)
            try:
                # Not blocking: a pipe in the place of a file would wait for a writer for ever.
                number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            finally:
                os.close(folder)
            file = os.fdopen(number, "rb")
        except OSError as error:
            raise InvalidError("FileUnreadable", f"{uri} cannot be read: {error.strerror}.") from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise InvalidError("FileUnreadable", f"{uri} is not a regular file.")
        return file

    async def write(self, uri: str, parts: AsyncIterator[str]) -> None:
        """Write a file, which is there whole or not at all. Raises InvalidError (ValidationFailed, FileUnreadable)."""
        *folders, name = self._steps(uri)
        draft = f".{name[:100]}.{secrets.token_hex(8)}"
        try:
            folder = self._folder(folders)
            try:
                number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=folder)
                try:
                    with os.fdopen(number, "wb") as file:
                        async for part in parts:
                            file.write(part.encode())
                        file.flush()
                        os.fsync(number)
                    os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    os.unlink(draft, dir_fd=folder)
                    raise
            finally:
                os.close(folder)
        except OSError as error:
            raise InvalidError("FileUnreadable", f"{uri} cannot be written: {error.strerror}.") from error

    def _steps(self, uri: str) -> list[str]:
        if self._root is None:
            raise InvalidError(
                "ValidationFailed",
                "Files are not taken: this server has no jobs root.",
                f"Let the operator set {ROOT}, or use http(s).",
            )
        parts = urlsplit(uri)
        path = unquote(parts.path)
        if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or "\0" in path:
            raise self._outside(uri)
        if path.startswith("/"):
            base = str(self._root / self._tenant) + "/"
            if not path.startswith(base):
                raise self._outside(uri)
            path = path.removeprefix(base)
        steps = path.split("/")
        if any(step in {"", ".", ".."} for step in steps):
            raise self._outside(uri)
        return steps

    def _folder(self, steps: list[str]) -> int:
        assert self._root is not None
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        for step in (self._tenant, *steps):
            above = folder
            try:
                folder = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            finally:
                os.close(above)
        return folder

    def _outside(self, uri: str) -> InvalidError:
        return InvalidError(
            "ValidationFailed",
            f"{uri[:200]} does not lead below this tenant's folder of jobs.",
            f"As in file:graph.ndjson, which is {self._tenant}/graph.ndjson under {ROOT}.",
        )

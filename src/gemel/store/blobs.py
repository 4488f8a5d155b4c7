"""Files that are written once, in a folder of this machine or in a bucket of an S3-compatible store.

Needs the extra gemel[arrow]: pyarrow speaks to S3. Credentials come from where the AWS SDK looks for them, such as
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and never from the URL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from gemel.base.errors import EnvironmentFaultError, InvalidError, UnavailableError

__all__ = ["Blobs", "Listed", "open_blobs"]

OPTIONS = frozenset({"region", "endpoint"})
HINT = "As in /var/lib/gemel-cold, or s3://BUCKET/PREFIX?region=eu-central-1&endpoint=https://s3.example.com."


class Listed(NamedTuple):
    """A file: its name, how many bytes it has, and when it was last written (s since 1970)."""

    name: str
    bytes: int
    changed_s: float


@dataclass(frozen=True, slots=True)
class Blobs:
    """Where files are: a pyarrow FileSystem, and the folder in it. Names are relative, with slashes.

    Every call raises UnavailableError (ColdStoreUnavailable) where the store cannot be reached or refuses.
    """

    url: str
    _files: Any
    _root: str
    _local: bool

    def put(self, name: str, content: bytes) -> None:
        """Write a file; once this returns it is durable, and before it is there whole or not at all."""
        with _told(self.url):
            if self._local:
                _put_local(Path(self._root, name), content)
                return
            # S3 shows an object when its upload is complete.
            with self._files.open_output_stream(f"{self._root}/{name}") as out:
                out.write(content)

    def open(self, name: str) -> Any:
        """Open a file to read parts of it, as pyarrow takes it. Raises UnavailableError (ColdFileMissing)."""
        with _told(self.url):
            try:
                return self._files.open_input_file(f"{self._root}/{name}")
            except FileNotFoundError as error:
                raise _missing(name) from error

    def get(self, name: str) -> bytes:
        """Return a whole file. Raises as `open` does."""
        with self.open(name) as file, _told(self.url):
            content: bytes = file.read()
        return content

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, in order; unfinished ones of `put` among them."""
        from pyarrow.fs import FileSelector, FileType

        with _told(self.url):
            below = FileSelector(f"{self._root}/{folder}", allow_not_found=True, recursive=True)
            found = [info.path for info in self._files.get_file_info(below) if info.type == FileType.File]
        return sorted(path[len(self._root) + 1 :] for path in found)

    def listed(self, folder: str) -> list[Listed]:
        """Return every file below a folder, as `names` does, with its size and age."""
        from pyarrow.fs import FileSelector, FileType

        with _told(self.url):
            below = FileSelector(f"{self._root}/{folder}", allow_not_found=True, recursive=True)
            found = [info for info in self._files.get_file_info(below) if info.type == FileType.File]
        return sorted(
            Listed(info.path[len(self._root) + 1 :], info.size, info.mtime_ns / 1e9) for info in found
        )

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""
        with _told(self.url), suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{name}")


def open_blobs(url: str) -> Blobs:
    """Return the store that a path or an s3:// URL names; nothing is asked of it yet.

    Raises InvalidError (InvalidArgument) for what is neither, EnvironmentFaultError (ExtraMissing).
    """
    try:
        from pyarrow import fs
    except ImportError as error:
        raise EnvironmentFaultError(
            "ExtraMissing", "Cold history needs pyarrow on the server.", "`pip install 'gemel[arrow]'` there."
        ) from error
    if "://" not in url:
        path = Path(url).expanduser()
        if not path.is_absolute():
            raise InvalidError("InvalidArgument", f"{url!r} is not an absolute path.", HINT)
        return Blobs(url, fs.LocalFileSystem(), str(path), True)
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or set(options) - OPTIONS:
        raise InvalidError("InvalidArgument", "The URL of the cold store is not s3://BUCKET/PREFIX.", HINT)
    endpoint = urlsplit(options.get("endpoint", ""))
    if options.get("endpoint") and (endpoint.scheme not in {"http", "https"} or not endpoint.netloc):
        raise InvalidError("InvalidArgument", "The endpoint of the cold store is not a URL.", HINT)
    files = fs.S3FileSystem(
        region=options.get("region"),
        scheme=endpoint.scheme or "https",
        endpoint_override=endpoint.netloc or None,
        # A write that ends before it is acknowledged must not look done.
        background_writes=False,
    )
    return Blobs(url, files, f"{parts.netloc}{parts.path}".rstrip("/"), False)


def _put_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.draft")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    # The name itself is durable with its folder, and that with the one above, which may be as new.
    for folder in (path.parent, path.parent.parent):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # pyarrow raises it for S3, too
        raise UnavailableError(
            "ColdStoreUnavailable",
            f"The cold store cannot be used: {' '.join(str(error).split())[:300]}",
            "Check its path or URL, and the credentials in the server's environment.",
        ) from error


def _missing(name: str) -> UnavailableError:
    return UnavailableError(
        "ColdFileMissing", f"The cold store has no file {name!r}.", "Restore it from a copy."
    )

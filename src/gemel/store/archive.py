"""The backup file: a tar of named members and a manifest with the checksum of each."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from gemel.base.errors import EnvironmentFaultError, InvalidError

__all__ = ["Archive", "ArchiveWriter", "Manifest", "Member", "opened_archive", "written_archive"]

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 1 << 20
FORMAT = 1
CHUNK_BYTES = 1 << 20


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size and SHA-256 of one member of the archive."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds: who made it, of which schema, owned by whom, when (RFC 3339), which members."""

    gemel: str
    schema: Sequence[str]
    owner: str
    created: str
    members: dict[str, Member]
    format: int = FORMAT


class ArchiveWriter:
    """Members are added one after the other; `finish` adds the manifest."""

    def __init__(self, file: IO[bytes], mtime_s: int) -> None:
        self._file = file
        self._mtime_s = mtime_s
        self.members: dict[str, Member] = {}

    def add(self, name: str, source: IO[bytes]) -> None:
        """Append a member of unknown length: its header is written when its end is known."""
        start = self._file.tell()
        self._file.write(bytes(tarfile.BLOCKSIZE))
        digest, size = hashlib.sha256(), 0
        for chunk in _chunks(source):
            digest.update(chunk)
            size += len(chunk)
            self._file.write(chunk)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(self._header(name, size))
        self._file.seek(end)
        self.members[name] = Member(size, digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Append the manifest and the end of the tar."""
        self.add(MANIFEST, io.BytesIO(msgspec.json.format(msgspec.json.encode(manifest), indent=2)))
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))

    def _header(self, name: str, size: int) -> bytes:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, self._mtime_s
        # GNU keeps a size of over 8 GiB within the one block that was left free for it.
        return info.tobuf(tarfile.GNU_FORMAT)


class Archive:
    """A verified backup: its manifest, and its members as streams."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.manifest = self._read_manifest()
        self._verify()

    def stream(self, name: str) -> IO[bytes]:
        """Return a member's content from its start."""
        member = self._tar.extractfile(name)
        if member is None:
            raise ValueError(f"{name} is not a file")
        return member

    def _read_manifest(self) -> Manifest:
        if self._tar.getmember(MANIFEST).size > MANIFEST_BYTES_MAX:
            raise ValueError(f"{MANIFEST} is too large")
        manifest = msgspec.json.decode(self.stream(MANIFEST).read(), type=Manifest)
        if manifest.format != FORMAT:
            raise ValueError(f"it is of format {manifest.format}; this gemel reads format {FORMAT}")
        return manifest

    def _verify(self) -> None:
        names = sorted(self._tar.getnames())
        if names != sorted([MANIFEST, *self.manifest.members]):
            raise ValueError(f"it holds {', '.join(names)}, which is not what its manifest lists")
        for name, member in self.manifest.members.items():
            digest, size = hashlib.sha256(), 0
            for chunk in _chunks(self.stream(name)):
                digest.update(chunk)
                size += len(chunk)
            if (size, digest.hexdigest()) != (member.bytes, member.sha256):
                raise ValueError(f"{name} is damaged: its checksum is not the manifest's")


@contextmanager
def written_archive(path: Path, mtime_s: int) -> Iterator[ArchiveWriter]:
    """Write an archive that only its owner may read, and put it at `path` when it is whole and on disk.

    Raises EnvironmentFaultError (CommandFailed) where it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield ArchiveWriter(file, mtime_s)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentFaultError(
            "CommandFailed", f"The backup {path} could not be written: {error}.", "Choose another place."
        ) from error


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Open a backup and verify all of it before anything is taken from it.

    Raises InvalidError: FileUnreadable where it cannot be opened, BackupInvalid where it is none or damaged.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        message = f"The backup {path} cannot be read: {error.strerror}."
        raise InvalidError("FileUnreadable", message, "Check path and rights.") from error
    with file:
        try:
            archive = Archive(tarfile.open(fileobj=file, mode="r:"))  # noqa: SIM115
        except (tarfile.TarError, KeyError, ValueError, msgspec.MsgspecError, OSError) as error:
            raise InvalidError(
                "BackupInvalid", f"{path} is no gemel backup, or is damaged: {error}.", "Take another file."
            ) from error
        yield archive


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk

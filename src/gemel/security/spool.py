"""Refusals on disk: where they wait for their audit rows while the database is away."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Sequence
from itertools import islice
from pathlib import Path
from uuid import UUID

import msgspec

from gemel.observe.logs import get_log
from gemel.security.audit import AuditEntry

__all__ = ["Refusal", "Spool"]

BYTES_MAX = 64 * 2**20
CHUNK_LINES = 1000

log = get_log(__name__)


class Refusal(msgspec.Struct, frozen=True):
    """A refused call as it is to be recorded: once, by its id, with the time of the refusal (µs)."""

    refusal: UUID
    tenant: int
    at_us: int
    entry: AuditEntry


class Spool:
    """Two files of JSON lines in the data directory, its owner's alone: one is appended to, one is emptied.

    What `append` counted outlives the process and the machine. Both together stay within `bytes_max`. Any
    thread may append while one empties: `take`, then `chunks`, then `drop`; what is not dropped comes again.
    """

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        self._appended = folder / "refusals.jsonl"
        self._taken = folder / "refusals.taken.jsonl"
        self._bytes_max = bytes_max
        self._lock = threading.Lock()

    def append(self, refusals: Sequence[Refusal]) -> list[bool]:
        """Append refusals in one durable write; say of each whether there was room for it. Raises OSError."""
        lines = [msgspec.json.encode(refusal) for refusal in refusals]
        with self._lock:
            room = self._bytes_max - _size(self._appended) - _size(self._taken) - 1
            fits = []
            for line in lines:
                room -= len(line) + 1
                fits.append(room >= 0)
            kept = lines[: sum(fits)]
            if kept:
                # A line that a crash has torn ends where the next write begins: with a new line.
                self._write(b"\n" + b"\n".join(kept) + b"\n")
        return fits

    def is_empty(self) -> bool:
        """Say whether nothing waits."""
        return not (self._taken.exists() or self._appended.exists())

    def take(self) -> bool:
        """Set what was appended apart to be emptied, unless an earlier part still is; say whether there is any."""
        with self._lock:
            if not self._taken.exists() and self._appended.exists():
                self._appended.rename(self._taken)
            return self._taken.exists()

    def chunks(self) -> Generator[Sequence[Refusal]]:
        """Read what was taken, CHUNK_LINES at a time."""
        with self._taken.open("rb") as lines:
            while chunk := list(islice(lines, CHUNK_LINES)):
                yield [refusal for refusal in map(_read, chunk) if refusal is not None]

    def drop(self) -> None:
        """Forget what was taken."""
        self._taken.unlink()

    def _write(self, data: bytes) -> None:
        is_new = not self._appended.exists()
        descriptor = os.open(self._appended, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if is_new:
            _sync_folder(self._appended.parent)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(line: bytes) -> Refusal | None:
    if not line.strip():
        return None
    try:
        return msgspec.json.decode(line, type=Refusal)
    except msgspec.DecodeError:
        # Torn by a crash within the write, so it was not acknowledged; or someone wrote to the file.
        log.warning("refusal not readable", line=line[:200].decode("utf-8", "replace"))
        return None

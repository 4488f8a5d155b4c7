"""What the readers of each file type have in common: rows by column, and where in the file they end."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from gemel.base.errors import InvalidError

__all__ = ["Chunk", "MalformedRow", "Position", "RowReader", "file_id", "open_binary", "unreadable"]

EDGE_BYTES: Final = 64 << 10
POSITION_TEXT: Final = re.compile(r"([0-9a-f]{24}):(\d{1,18}):(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file has been read: the file's id, rows read, and the offset behind them.

    The offset is in bytes for CSV and NDJSON and unused (0) for Parquet, whose rows can be counted to.
    """

    file_id: str
    row: int
    offset: int

    def __str__(self) -> str:
        return f"{self.file_id}:{self.row}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Read a position back from its text; None where it is none of ours."""
        found = POSITION_TEXT.fullmatch(text)
        return cls(found[1], int(found[2]), int(found[3])) if found else None


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A row that has no columns: its number, its text as it stood, and what is wrong with it."""

    number: int
    text: str
    problem: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file by column. `cells` has a list for every column wanted that the file has.

    Of a file that is read whole it has one for every column there is; where each row has its own, `objects` are the
    rows.
    """

    numbers: Sequence[int]
    cells: Mapping[str, Sequence[object]]
    malformed: Sequence[MalformedRow] = field(default=())
    objects: Sequence[dict[str, object]] | None = None


class RowReader(Protocol):
    """A file read in order, in chunks; row numbers start at 1."""

    bytes_total: int

    @property
    def row(self) -> int:
        """Rows read so far, malformed and blank ones included."""

    @property
    def offset(self) -> int:
        """Where the next row starts, as Position has it."""

    @property
    def bytes_done(self) -> int:
        """How much of bytes_total lies behind, for progress."""

    def read(self, rows_max: int) -> Chunk | None:
        """Return the next rows, or None at the end of the file."""

    def seek(self, row: int, offset: int) -> None:
        """Go on from a place that `row` and `offset` once named."""

    def close(self) -> None:
        """Close the file."""


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, or raise InvalidError (FileUnreadable) saying why it cannot be."""
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(path, f"{error.strerror or error}") from error


def unreadable(path: Path, problem: str, hint: str = "Check path, rights and format.") -> InvalidError:
    """Return the error FileUnreadable about a file."""
    return InvalidError("FileUnreadable", f"{path} cannot be read: {problem}.", hint)


def file_id(file: BinaryIO) -> str:
    """Return the file's identity: 24 hex digits of its size and its first and last 64 KiB, not of its name."""
    size = os.fstat(file.fileno()).st_size
    digest = hashlib.sha256(str(size).encode())
    file.seek(0)
    digest.update(file.read(EDGE_BYTES))
    file.seek(max(0, size - EDGE_BYTES))
    digest.update(file.read(EDGE_BYTES))
    file.seek(0)
    return digest.hexdigest()[:24]

"""Files as a source: batches of events, each with the position behind it, from which reading can go on."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from collections.abc import Mapping as Rows
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gemel.base.errors import InvalidError
from gemel.connectors.csv_rows import CsvRows
from gemel.connectors.events import Event, EventMaker, Part
from gemel.connectors.ndjson_rows import NdjsonRows
from gemel.connectors.parquet_rows import ParquetRows
from gemel.connectors.rows import Chunk, Position, RowReader, file_id, open_binary
from gemel.mapping.tables import Mapping
from gemel.mapping.watched import Broken

__all__ = ["Batch", "Event", "FileSource", "Part", "Position", "open_source"]

READERS: Final[dict[str, type[CsvRows | NdjsonRows | ParquetRows]]] = {
    "csv": CsvRows,
    "ndjson": NdjsonRows,
    "parquet": ParquetRows,
}
Look = Callable[[Chunk], Rows[int, Broken]]
"""Looks at rows before they are mapped; returns those that must not be taken, by their numbers."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events read together and the position behind them.

    `rows` were read for it; `empty` is how many of them, counted per twin, had no value and made no event. `broken` are
    rows whose events must not be taken, by their numbers.
    """

    parts: tuple[Part, ...]
    position: Position
    rows: int
    empty: int
    bytes_done: int
    broken: Rows[int, Broken] = field(default_factory=dict)

    @property
    def events(self) -> Iterable[Event]:
        """The events of all parts, in order."""
        return itertools.chain.from_iterable(part.events for part in self.parts)


class FileSource:
    """A file under a mapping. `name` is its source name: the same for the same content and mapping.

    With `look` whole rows are read, and shown to it.
    """

    def __init__(self, path: Path, mapping: Mapping, look: Look | None = None) -> None:
        with open_binary(path) as file:
            self._stat = os.fstat(file.fileno())
            self.file_id = file_id(file)
        self.path = path
        self.mapping = mapping
        self.name = f"file:{self.file_id}-{mapping.digest}"
        self._look = look
        self._reader: RowReader = READERS[mapping.format.type](path, mapping, whole=look is not None)
        self._start = self.position
        self._maker = EventMaker(mapping, self.file_id)
        self._unseen = set(mapping.columns - mapping.optional_columns)

    @property
    def bytes_total(self) -> int:
        """The size of the file."""
        return self._reader.bytes_total

    @property
    def bytes_done(self) -> int:
        """How much of it lies behind."""
        return self._reader.bytes_done

    @property
    def position(self) -> Position:
        """How far the file has been read."""
        return Position(self.file_id, self._reader.row, self._reader.offset)

    @property
    def unseen_columns(self) -> tuple[str, ...]:
        """Columns of the mapping, not optional, that had no value in any row so far."""
        return tuple(sorted(self._unseen))

    def next_batch(self, events_max: int) -> Batch | None:
        """Return the next events (of one row at least), or None at the end of the file.

        A batch may be without events where its rows have no values.
        Raises InvalidError: FileUnreadable, or FileChanged where the file was written to in the meantime.
        """
        chunk = self._reader.read(max(1, events_max // len(self.mapping.twins)))
        self._check_unchanged()
        if chunk is None:
            return None
        if self._unseen:
            self._unseen -= {
                name
                for name in self._unseen
                if any(c is not None and c != "" for c in chunk.cells.get(name, ()))
            }
        broken = {} if self._look is None else self._look(chunk)
        parts, empty = self._maker.make(chunk)
        rows = len(chunk.numbers) + len(chunk.malformed)
        return Batch(tuple(parts), self.position, rows, empty, self.bytes_done, broken)

    def seek(self, position: Position) -> None:
        """Go on from a position of this very file.

        Raises InvalidError (FileChanged) for a position of another content.
        """
        if position.file_id != self.file_id or position.offset > self.bytes_total:
            message = f"The position {position} is not one of {self.path} as it is now ({self.file_id})."
            raise InvalidError(
                "FileChanged", message, "Start from the beginning; what is there already counts as duplicate."
            )
        self._reader.seek(position.row, position.offset)

    def rewind(self) -> None:
        """Start again from the beginning."""
        self._reader.seek(self._start.row, self._start.offset)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_unchanged(self) -> None:
        now = self.path.stat()
        if (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
            message = f"{self.path} was written to while it was read."
            raise InvalidError(
                "FileChanged", message, "Ingest it again when it is complete; nothing is doubled."
            )


def open_source(path: Path, mapping: Mapping, look: Look | None = None) -> FileSource:
    """Open a file of the mapping's type at its beginning; with `look` rows are shown to it before they are mapped.

    Raises InvalidError: FileUnreadable, or MappingInvalid where the file lacks a column that is not
    optional; EnvironmentFaultError (ExtraMissing) for Parquet without pyarrow.
    """
    return FileSource(path, mapping, look)

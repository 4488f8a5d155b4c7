"""Parquet as rows by column; needs the extra gemel[arrow]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gemel.base.errors import EnvironmentFaultError
from gemel.connectors.rows import Chunk, open_binary, unreadable
from gemel.mapping.sections import mapping_fault
from gemel.mapping.tables import Mapping

__all__ = ["ParquetRows"]


class ParquetRows:
    """A Parquet file; only the columns wanted (with `whole` all) are read, in batches, so that memory stays small.

    Columns are those at the top level. Timestamps are taken as they are, whatever the mapping's time format.
    """

    def __init__(self, path: Path, mapping: Mapping, *, whole: bool = False) -> None:
        arrow, parquet = _arrow()
        self._path = path
        self._arrow = arrow
        open_binary(path).close()
        try:
            self._file = parquet.ParquetFile(path)
        except (arrow.ArrowException, OSError) as error:
            raise unreadable(path, str(error)) from error
        names = self._file.schema_arrow.names
        for column in sorted(mapping.columns - mapping.optional_columns):
            if column not in names:
                self.close()
                hint = f"Name one of its columns ({', '.join(names)}), or add `optional: true`."
                raise mapping_fault(mapping.file, "", f"{path} has no column {column!r}.", hint)
        self._columns = names if whole else [name for name in sorted(mapping.columns) if name in names]
        self._rows_total: int = self._file.metadata.num_rows
        self._row = 0
        self._batches: Iterator[Any] | None = None
        self._rest: Any = None
        self.bytes_total = path.stat().st_size

    @property
    def row(self) -> int:
        """Rows read so far."""
        return self._row

    @property
    def offset(self) -> int:
        """Nothing: rows can be counted to."""
        return 0

    @property
    def bytes_done(self) -> int:
        """The part of the file's bytes that stands for the rows read."""
        return self.bytes_total * self._row // self._rows_total if self._rows_total else self.bytes_total

    def read(self, rows_max: int) -> Chunk | None:
        """Return the next rows, or None at the end."""
        try:
            batch = self._next(rows_max)
        except (self._arrow.ArrowException, OSError) as error:
            raise unreadable(self._path, str(error)) from error
        if batch is None:
            return None
        numbers = range(self._row + 1, self._row + 1 + batch.num_rows)
        self._row += batch.num_rows
        return Chunk(numbers, {name: self._cells(batch.column(name)) for name in self._columns})

    def seek(self, row: int, offset: int) -> None:
        """Go on behind so many rows; row groups before are not read."""
        del offset
        self._row = row
        self._batches = self._rest = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _next(self, rows_max: int) -> Any:
        if self._batches is None:
            self._batches = self._from_row(rows_max)
        while self._rest is None or self._rest.num_rows == 0:
            self._rest = next(self._batches, None)
            if self._rest is None:
                return None
        batch, self._rest = self._rest.slice(0, rows_max), self._rest.slice(rows_max)
        return batch

    def _from_row(self, rows_max: int) -> Iterator[Any]:
        """Read on from the current row: whole row groups before it are left alone."""
        metadata = self._file.metadata
        before, group = 0, 0
        while group < metadata.num_row_groups and before + metadata.row_group(group).num_rows <= self._row:
            before += metadata.row_group(group).num_rows
            group += 1
        skip = self._row - before
        groups = list(range(group, metadata.num_row_groups))
        for batch in self._file.iter_batches(rows_max, row_groups=groups, columns=self._columns):
            if skip < batch.num_rows:
                yield batch.slice(skip)
            skip = max(0, skip - batch.num_rows)

    def _cells(self, column: Any) -> list[object]:
        kind = column.type
        if self._arrow.types.is_timestamp(kind) and kind.unit == "ns":
            # Python has no nanoseconds: cut them off towards the past, as everywhere.
            whole = self._arrow.compute.floor_temporal(column, unit="microsecond")
            column = whole.cast(self._arrow.timestamp("us", kind.tz))
        return list(column.to_pylist())


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.compute
        from pyarrow import parquet
    except ImportError as error:
        message = "Parquet files need pyarrow, which is not installed."
        raise EnvironmentFaultError("ExtraMissing", message, "pip install 'gemel[arrow]'") from error
    return pyarrow, parquet

"""CSV (RFC 4180, with a delimiter of choice) as rows by column."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from gemel.connectors.lines import LineFile, LineRows
from gemel.connectors.rows import Chunk, MalformedRow, unreadable
from gemel.mapping.sections import mapping_fault
from gemel.mapping.tables import FileFormat, Mapping

__all__ = ["CsvRows"]


class CsvRows(LineRows):
    """A CSV file. A record that does not parse, or has more or fewer cells than the header, is malformed.

    Cells stand in quotes where they hold the delimiter, a quote (doubled) or a line end. Without a header
    the columns are called 1, 2, 3. Blank lines are passed over; so are empty cells beyond the header. With `whole`
    all columns are read, and not only those that the mapping names.
    """

    def __init__(self, path: Path, mapping: Mapping, *, whole: bool = False) -> None:
        self._format: FileFormat = mapping.format
        super().__init__(path)
        try:
            first_offset = self._lines.offset
            first = self._first_record(path)
            if not mapping.format.header:
                self._lines.seek(first_offset)
            names = first if mapping.format.header else [str(i + 1) for i in range(len(first))]
            self._width = len(names)
            self._wanted = _wanted(names, mapping, path)
            if whole:
                self._wanted = {name: names.index(name) for name in names}
        except BaseException:
            self.close()
            raise

    def read(self, rows_max: int) -> Chunk | None:
        """Return the next records, or None at the end."""
        lines = self._lines.lines(rows_max)
        if not lines:
            return None
        records = self._plain(lines)
        if records is None:
            records = list(self._quoted(lines))
        return self._chunk(records)

    def _plain(self, lines: Sequence[bytes]) -> list[list[str] | MalformedRow] | None:
        """Parse lines that are a record each, all at once; None where that is not certain."""
        block = b"".join(lines)
        if b'"' in block:
            return None
        try:
            text = block.decode(self._format.encoding)
            reader = csv.reader(text.split("\n")[: len(lines)], delimiter=self._format.delimiter, strict=True)
            return list(reader)
        except (UnicodeDecodeError, csv.Error):
            return None

    def _quoted(self, lines: list[bytes]) -> Iterator[list[str] | MalformedRow]:
        """Parse record by record, reading on where one goes over the last line.

        Of a record that does not parse, only the first line is given up, and parsing starts anew behind it:
        a quote that is never closed costs one row and not the rest of the file.
        """
        feed = _Feed(lines, self._lines, self._format.encoding)
        while feed.next < len(lines):
            start = feed.next
            try:
                yield next(csv.reader(feed, delimiter=self._format.delimiter, strict=True))
            except (UnicodeDecodeError, csv.Error) as error:
                feed.next = start + 1
                text = lines[start].decode(self._format.encoding, "backslashreplace").rstrip("\r\n")
                yield MalformedRow(0, text, str(error))

    def _chunk(self, records: Sequence[list[str] | MalformedRow]) -> Chunk:
        numbers: list[int] = []
        rows: list[list[str]] = []
        malformed: list[MalformedRow] = []
        for number, record in enumerate(records, self._row + 1):
            if isinstance(record, MalformedRow):
                malformed.append(MalformedRow(number, record.text, record.problem))
            elif len(record) == self._width or (len(record) > self._width and not any(record[self._width :])):
                numbers.append(number)
                rows.append(record)
            elif record:
                problem = f"{len(record)} cells where there are {self._width} columns"
                malformed.append(MalformedRow(number, self._format.delimiter.join(record), problem))
        self._row += len(records)
        columns = list(zip(*rows, strict=False))
        cells = {name: columns[index] for name, index in self._wanted.items()} if rows else {}
        return Chunk(numbers, cells, malformed)

    def _first_record(self, path: Path) -> list[str]:
        lines = self._lines.lines(1)
        if not lines:
            raise unreadable(path, "it is empty", "A CSV file has at least a header.")
        (record, *_) = self._quoted(lines)
        if isinstance(record, MalformedRow):
            raise unreadable(path, f"its first line does not parse ({record.problem})")
        if not record:
            raise unreadable(path, "its first line is blank")
        return record


class _Feed:
    """Decoded lines for the csv module, which takes exactly those that a record needs."""

    def __init__(self, lines: list[bytes], more: LineFile, encoding: str) -> None:
        self._lines = lines
        self._more = more
        self._encoding = encoding
        self.next = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.next == len(self._lines):
            self._lines.extend(self._more.lines(1))
        if self.next == len(self._lines):
            raise StopIteration
        line = self._lines[self.next].decode(self._encoding)
        self.next += 1
        return line


def _wanted(names: Sequence[str], mapping: Mapping, path: Path) -> dict[str, int]:
    """Return where the columns that the mapping reads stand in the file."""
    for column in sorted(mapping.columns):
        if column not in names and column not in mapping.optional_columns:
            hint = (
                f"Name one of its columns ({', '.join(names)}), or add `optional: true`; check the delimiter."
            )
            raise mapping_fault(mapping.file, "", f"{path} has no column {column!r}.", hint)
        if names.count(column) > 1:
            raise mapping_fault(
                mapping.file, "", f"{path} has the column {column!r} twice.", "Rename one of them."
            )
    return {column: names.index(column) for column in sorted(mapping.columns) if column in names}

"""NDJSON (one JSON object a line) as rows by column."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gemel.connectors.lines import LineRows
from gemel.connectors.rows import Chunk, MalformedRow
from gemel.mapping.tables import Mapping

__all__ = ["NdjsonRows"]


class NdjsonRows(LineRows):
    """An NDJSON file. A column is a key of the object, or, dotted, one inside nested objects.

    A line that is not a JSON object is malformed. Blank lines are passed over. A key that a line does not
    have is a cell without a value. With `whole` the objects themselves are given, too.
    """

    def __init__(self, path: Path, mapping: Mapping, *, whole: bool = False) -> None:
        super().__init__(path)
        self._whole = whole
        self._columns = sorted(mapping.columns)
        self._decode = msgspec.json.Decoder(dict[str, object]).decode

    def read(self, rows_max: int) -> Chunk | None:
        """Return the next lines, or None at the end."""
        lines = self._lines.lines(rows_max)
        if not lines:
            return None
        numbers: list[int] = []
        rows: list[dict[str, object]] = []
        malformed: list[MalformedRow] = []
        for number, line in enumerate(lines, self._row + 1):
            if not line.strip():
                continue
            try:
                rows.append(self._decode(line))
                numbers.append(number)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
                malformed.append(MalformedRow(number, text, str(error)))
        self._row += len(lines)
        cells = {name: [_cell(row, name) for row in rows] for name in self._columns}
        return Chunk(numbers, cells, malformed, rows if self._whole else None)


def _cell(row: dict[str, object], name: str) -> object:
    found = row.get(name)
    if found is not None or "." not in name:
        return found
    at: object = row
    for part in name.split("."):
        if not isinstance(at, dict):
            return None
        at = at.get(part)
    return at

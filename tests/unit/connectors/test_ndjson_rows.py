from __future__ import annotations

from pathlib import Path

import pytest

from gemel.connectors.ndjson_rows import NdjsonRows
from gemel.mapping.tables import FileFormat, ValueColumn
from unit.connectors.making import mapping_of, rule_of, saved

NDJSON = FileFormat("ndjson")
DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize("rows_max", [1, 2, 100])
def test_lines_are_rows_and_keys_are_columns(tmp_path: Path, rows_max: int) -> None:
    lines = [
        '{"at": "1", "v": 5, "more": {"deep": 1.5}}',
        "",
        '{"at": "2", "more.deep": 2.5, "more": {"deep": 9}}\r',
        "[1]",
        '{"at": "3", "v": 1e400}',
        '{"at": "4", "v": ' + DEEP + "}",
        '{"at": "5", "more": 7}',
        '{"at": "6"',
        '{"at": "7", "v": "é"}',
    ]
    path = saved(tmp_path, "t.ndjson", "\n".join(lines).encode() + b'\n{"v": "\xff"}')
    rule = rule_of(ValueColumn("p", "v"), ValueColumn("q", "more.deep"))
    rows = NdjsonRows(path, mapping_of(NDJSON, rule))
    good: list[tuple[object, ...]] = []
    bad = []
    while (chunk := rows.read(rows_max)) is not None:
        columns = (chunk.cells[name] for name in ("at", "v", "more.deep"))
        good += zip(chunk.numbers, *columns, strict=True)
        bad += [row.number for row in chunk.malformed]
    rows.close()
    assert good == [
        (1, "1", 5, 1.5), (3, "2", None, 2.5), (7, "5", None, None), (9, "7", "é", None),
    ]  # fmt: skip
    assert bad == [4, 5, 6, 8, 10]


def test_reading_goes_on_from_an_offset(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.ndjson", '{"at":"1"}\n{"at":"2"}\n{"at":"3"}\n')
    rows = NdjsonRows(path, mapping_of(NDJSON, rule_of(ValueColumn("p", "v"))))
    rows.read(2)
    place = rows.row, rows.offset
    rows.read(5)
    rows.seek(*place)
    chunk = rows.read(5)
    rows.close()
    assert chunk is not None
    assert list(chunk.numbers) == [3]
    assert chunk.cells["at"] == ["3"]

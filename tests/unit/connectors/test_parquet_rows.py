from __future__ import annotations

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from gemel.base.errors import EnvironmentFaultError, InvalidError
from gemel.connectors.parquet_rows import ParquetRows
from gemel.mapping.tables import FileFormat, ValueColumn
from unit.connectors.making import mapping_of, rule_of, saved

PARQUET = FileFormat("parquet")
RULE = rule_of(ValueColumn("p", "v"), ValueColumn("q", "w", optional=True))


def table(folder: Path, rows: int, group: int) -> Path:
    path = folder / "t.parquet"
    made = pa.table(
        {"v": [i / 3 for i in range(rows)], "at": [str(i) for i in range(rows)], "x": [b""] * rows}
    )
    parquet.write_table(made, path, row_group_size=group)
    return path


@pytest.mark.parametrize(("group", "rows_max"), [(10, 3), (10, 10), (10, 25), (7, 4), (100, 30), (3, 100)])
def test_rows_come_in_order_and_reading_goes_on_from_any_row(
    tmp_path: Path, group: int, rows_max: int
) -> None:
    rows = ParquetRows(table(tmp_path, 53, group), mapping_of(PARQUET, RULE))
    for start in range(54):
        rows.seek(start, 0)
        got: list[tuple[object, ...]] = []
        while (chunk := rows.read(rows_max)) is not None:
            assert 1 <= len(chunk.numbers) <= rows_max
            assert set(chunk.cells) == {"at", "v"}
            got += zip(chunk.numbers, chunk.cells["at"], chunk.cells["v"], strict=True)
        assert got == [(i + 1, str(i), i / 3) for i in range(start, 53)]
        assert rows.bytes_done == rows.bytes_total
    rows.close()


def test_cells_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    moments = [1581168647123456999, None]
    at = pa.array(moments, pa.timestamp("ns", "Europe/Berlin"))
    made = pa.table({"at": at, "v": pa.array([0.1, None], pa.float32()), "w": [Decimal("0.10"), None]})
    parquet.write_table(made, path)
    rows = ParquetRows(path, mapping_of(PARQUET, RULE))
    chunk = rows.read(10)
    rows.close()
    assert chunk is not None
    assert chunk.cells["at"] == [datetime(2020, 2, 8, 13, 30, 47, 123456, UTC), None]
    assert chunk.cells["v"] == [0.10000000149011612, None]
    assert chunk.cells["w"] == [Decimal("0.10"), None]


def test_a_file_that_does_not_fit_says_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="FileUnreadable"):
        ParquetRows(saved(tmp_path, "no.parquet", "at;v"), mapping_of(PARQUET, RULE))
    with pytest.raises(InvalidError, match="FileUnreadable"):
        ParquetRows(tmp_path / "none.parquet", mapping_of(PARQUET, RULE))
    other = mapping_of(PARQUET, rule_of(ValueColumn("p", "pressure")))
    with pytest.raises(InvalidError, match="MappingInvalid") as caught:
        ParquetRows(table(tmp_path, 1, 1), other)
    assert "no column 'pressure'" in caught.value.message
    assert "(v, at, x)" in str(caught.value.hint)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, 1, 1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EnvironmentFaultError, match="ExtraMissing") as caught:
        ParquetRows(path, mapping_of(PARQUET, RULE))
    assert caught.value.hint == "pip install 'gemel[arrow]'"

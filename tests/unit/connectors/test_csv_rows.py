from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.connectors.csv_rows import CsvRows
from gemel.connectors.rows import Chunk
from gemel.mapping.tables import FileFormat, Mapping, ValueColumn
from unit.connectors.making import mapping_of, rule_of, saved

SEMICOLONS = FileFormat("csv", ";")
CELL = st.text(alphabet='ab;"\n\r é€\u2028\x0c', max_size=5)


def two(form: FileFormat = SEMICOLONS, at: str = "at", value: str = "v") -> Mapping:
    return mapping_of(form, rule_of(ValueColumn("p", value)), time=at)


def all_chunks(rows: CsvRows, rows_max: int) -> list[Chunk]:
    chunks = []
    while (chunk := rows.read(rows_max)) is not None:
        chunks.append(chunk)
    return chunks


def cells(chunks: list[Chunk]) -> list[tuple[int, object, object]]:
    return [
        row for c in chunks if c.numbers for row in zip(c.numbers, c.cells["at"], c.cells["v"], strict=True)
    ]


def read(
    path: Path, mapping: Mapping, rows_max: int = 1000
) -> tuple[list[tuple[int, object, object]], list[tuple[int, str]]]:
    rows = CsvRows(path, mapping)
    chunks = all_chunks(rows, rows_max)
    rows.close()
    return cells(chunks), [(bad.number, bad.text) for c in chunks for bad in c.malformed]


@given(
    st.lists(st.tuples(CELL, CELL), max_size=12),
    st.integers(1, 5),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(max_examples=200)
def test_any_table_reads_as_the_csv_module_reads_it_from_any_place(
    table: list[tuple[str, str]], rows_max: int, line_end: str, with_mark: bool
) -> None:
    text = io.StringIO()
    # Before Python 3.13 the writer leaves a lone CR without quotes.
    writer = csv.writer(text, delimiter=";", lineterminator=line_end)
    if any("\r" in cell for row in table for cell in row):
        writer = csv.writer(text, delimiter=";", lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("at", "v"), *table])
    independent = list(csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=";"))[1:]
    expected = [(number, at, v) for number, (at, v) in enumerate(independent, 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = saved(
            Path(folder), "t.csv", (b"\xef\xbb\xbf" if with_mark else b"") + text.getvalue().encode()
        )
        rows = CsvRows(path, two())
        places = [(rows.row, rows.offset)]
        got: list[tuple[int, object, object]] = []
        while (chunk := rows.read(rows_max)) is not None:
            got += cells([chunk])
            assert not chunk.malformed
            places.append((rows.row, rows.offset))
        assert got == expected
        assert rows.bytes_done == rows.bytes_total == path.stat().st_size
        for row, offset in places:
            rows.seek(row, offset)
            assert cells(all_chunks(rows, 3)) == expected[row:]
        rows.close()


def test_a_bad_record_costs_one_row(tmp_path: Path) -> None:
    text = 'at;v\n1;a\n2;"never closed\n3;c\n4\n5;e;f\n6;"g"h\n7;i;;\n\n8;"j\nk"\n9;l'
    good, bad = read(saved(tmp_path, "t.csv", text), two())
    assert good == [(1, "1", "a"), (3, "3", "c"), (7, "7", "i"), (9, "8", "j\nk"), (10, "9", "l")]
    assert bad == [(2, '2;"never closed'), (4, "4"), (5, "5;e;f"), (6, '6;"g"h')]


@pytest.mark.parametrize("rows_max", [1, 2, 100])
def test_a_quote_never_closed_in_a_long_file_costs_one_row(tmp_path: Path, rows_max: int) -> None:
    lines = [f"{i};{'x' * 90}" for i in range(3000)]
    lines[1000] = '1000;"' + "x" * 90
    good, bad = read(saved(tmp_path, "t.csv", "at;v\n" + "\n".join(lines)), two(), rows_max)
    assert [number for number, *_ in good] == [i for i in range(1, 3001) if i != 1001]
    assert [number for number, _ in bad] == [1001]


def test_bytes_that_are_not_the_encoding_cost_one_row(tmp_path: Path) -> None:
    good, bad = read(saved(tmp_path, "t.csv", b"at;v\n1;a\n2;\xff\xc3\n3;\xc3\xa9\n"), two())
    assert good == [(1, "1", "a"), (3, "3", "é")]
    assert bad == [(2, "2;\\xff\\xc3")]


def test_another_encoding_and_no_header(tmp_path: Path) -> None:
    form = FileFormat("csv", ",", encoding="cp1252", header=False)
    rows = CsvRows(saved(tmp_path, "t.csv", "1,€\n2,é\n".encode("cp1252")), two(form, at="1", value="2"))
    (chunk,) = all_chunks(rows, 10)
    rows.close()
    assert chunk.cells == {"1": ("1", "2"), "2": ("€", "é")}
    assert list(chunk.numbers) == [1, 2]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "FileUnreadable", "empty"),
        (b"\n1;2\n", "FileUnreadable", "blank"),
        (b"\xff\xfe;\n", "FileUnreadable", "does not parse"),
        (b"at,v\n1,2\n", "MappingInvalid", "Name one of its columns (at,v)"),
        (b"at;w\n", "MappingInvalid", "no column 'v'"),
        (b"at;v;v\n", "MappingInvalid", "'v' twice"),
        (b"x" * (2 << 20), "FileUnreadable", "the line at byte 0 is over 1048576 bytes"),
    ],
)
def test_a_file_that_does_not_fit_says_why(tmp_path: Path, content: bytes, code: str, said: str) -> None:
    path = saved(tmp_path, "t.csv", content)
    with pytest.raises(InvalidError) as caught:
        CsvRows(path, two())
    assert caught.value.code == code
    assert str(path) in caught.value.message
    assert said in str(caught.value)


def test_an_optional_column_may_be_missing(tmp_path: Path) -> None:
    rule = rule_of(ValueColumn("p", "v"), ValueColumn("q", "w", optional=True))
    rows = CsvRows(saved(tmp_path, "t.csv", "v;at\n5;1\n"), mapping_of(SEMICOLONS, rule))
    (chunk,) = all_chunks(rows, 10)
    rows.close()
    assert chunk.cells == {"at": ("1",), "v": ("5",)}

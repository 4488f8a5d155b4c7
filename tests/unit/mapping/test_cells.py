from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.mapping.cells import column_reader
from gemel.mapping.tables import ValueColumn

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def read(
    cells: list[object], kind: str = "number", unit: str | None = None, to: str | None = None
) -> list[object]:
    return column_reader(ValueColumn("p", "c", kind, unit, to))(cells)


@given(st.lists(FINITE, min_size=1))
def test_numbers_are_the_doubles_of_their_texts(values: list[float]) -> None:
    assert read([repr(value) for value in values]) == values
    assert read([f"{value:.17e}" for value in values]) == values
    assert read(list(values)) == values
    assert all(type(value) is float for value in read([repr(value) for value in values]))


@given(st.lists(st.from_regex(r"\A[+-]?\d{1,25}(\.\d{0,25})?([eE][+-]?\d{1,2})?\Z"), min_size=1))
def test_any_decimal_text_reads_as_python_reads_it(texts: list[str]) -> None:
    assert read(list(texts)) == [float(text) for text in texts]


@given(st.lists(st.one_of(FINITE.map(repr), st.sampled_from(["", " ", "x", "nan", "inf", "1_0", "1e999"]))))
def test_a_bad_cell_does_not_touch_its_neighbours(texts: list[str]) -> None:
    def alone(text: str) -> object:
        if not text.strip():
            return None
        return text if text in {"x", "nan", "inf", "1_0", "1e999"} else float(text)

    assert read(list(texts)) == list(map(alone, texts))


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("number", None, None),
        ("number", 5, 5.0),
        ("number", True, True),
        ("number", float("nan"), "nan"),
        ("number", Decimal("0.1"), 0.1),
        ("number", 10**400, str(10**400)),
        ("number", [1], [1]),
        ("number", " 1.5 ", 1.5),
        ("integer", "5", 5),
        ("integer", "0.0", 0),
        ("integer", "1e3", 1000),
        ("integer", "-9007199254740993", -9007199254740993),
        ("integer", "9223372036854775807.0", 9223372036854775807),
        ("integer", "5.5", "5.5"),
        ("integer", "", None),
        ("integer", "nan", "nan"),
        ("integer", "1_000", "1_000"),
        ("integer", "1e99999", "1e99999"),
        ("integer", 5.0, 5),
        ("integer", 5.5, 5.5),
        ("integer", float("inf"), "inf"),
        ("integer", True, True),
        ("integer", None, None),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("boolean", "maybe", "maybe"),
        ("boolean", "", None),
        ("boolean", False, False),
        ("string", "", ""),
        ("string", " a ", " a "),
        ("string", None, None),
        ("string", 5, 5),
        ("json", '{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        ("json", "{", "{"),
        ("json", " ", None),
        ("json", {"a": [float("nan")]}, {"a": ["nan"]}),
    ],
)
def test_cells_of_each_type(kind: str, cell: object, value: object) -> None:
    found = read([cell], kind)
    assert found == [value]
    assert type(found[0]) is type(value)


def test_units_are_converted_by_factor_and_offset() -> None:
    assert read(["32", "212", "-40"], "number", "degF", "degC") == pytest.approx([0.0, 100.0, -40.0])
    assert read([1.0, 2.0], "number", "g", "m/s^2") == [9.80665, 19.6133]
    assert read(["1", "", "x"], "number", "bar", "Pa") == [1e5, None, "x"]


def test_a_conversion_that_overflows_is_left_as_text() -> None:
    assert read(["1", "1e308"], "number", "bar", "Pa") == [1e5, "1e308"]

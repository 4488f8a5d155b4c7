from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.cli.plot import Size, plot

SECOND_US = 1_000_000
numbers = st.none() | st.floats()


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """Return the set dots (column, row) of a drawing, top left first."""
    bits = {(0, 0): 1, (0, 1): 2, (0, 2): 4, (1, 0): 8, (1, 1): 16, (1, 2): 32, (0, 3): 64, (1, 3): 128}
    found = set()
    for row, line in enumerate(lines[:-2]):
        for column, char in enumerate(line.split("┤")[1]):
            found |= {
                (column * 2 + x, row * 4 + y) for (x, y), bit in bits.items() if (ord(char) - 0x2800) & bit
            }
    return found


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right_corner() -> None:
    lines = plot([0, 7 * SECOND_US], [0.0, 7.0], Size(4, 2))
    assert lines == [
        "7 ┤⠀⠀⡠⠊",
        "0 ┤⡠⠊⠀⠀",
        "  └────",
        "   1970-01-01 00:00:00  00:00:07Z",
    ]
    assert dots(lines) == {(x, 7 - x) for x in range(8)}


def test_a_flat_line_lies_in_the_middle_with_one_label() -> None:
    lines = plot([0, 1], [21.5, 21.5], Size(3, 3))
    assert [line.split("┤")[0].strip() for line in lines[:3]] == ["", "21.5", ""]
    assert len({y for _, y in dots(lines)}) == 1


def test_none_breaks_the_line() -> None:
    lines = plot([0, 1, 2], [0.0, None, 0.0], Size(5, 1))
    assert {x for x, _ in dots(lines)} == {0, 9}


def test_every_column_between_two_samples_is_drawn() -> None:
    assert {x for x, _ in dots(plot([0, 100], [1.0, 2.0], Size(10, 4)))} == set(range(20))


@pytest.mark.parametrize("values", [[], [None], [math.nan, math.inf]])
def test_nothing_to_draw_gives_no_lines(values: list[float | None]) -> None:
    assert plot(list(range(len(values))), values, Size(10, 3)) == []


def test_dates_are_named_where_the_plot_crosses_midnight() -> None:
    assert plot([0, 86_400 * SECOND_US], [1.0, 2.0], Size(60, 2))[-1].split() == [
        "1970-01-01", "00:00:00", "1970-01-02", "00:00:00Z"
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 2**52), numbers), max_size=30).map(
        lambda rows: sorted(rows, key=lambda r: r[0])
    ),
    st.integers(1, 40),
    st.integers(1, 12),
)
def test_any_values_fit_into_the_frame(
    rows: list[tuple[int, float | None]], columns: int, height: int
) -> None:
    lines = plot([t for t, _ in rows], [v for _, v in rows], Size(columns, height))
    if not lines:
        assert all(v is None or not math.isfinite(v) for _, v in rows)
        return
    assert len(lines) == height + 2
    assert {len(line) for line in lines[:height]} == {len(lines[0])}
    assert all(len(line.split("┤")[1]) == columns for line in lines[:height])
    assert dots(lines)

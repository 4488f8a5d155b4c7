"""A line plot in braille characters: 2 x 4 dots in each cell of the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gemel.base.clock import from_us

__all__ = ["Size", "number", "plot"]

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row, then column, of a cell
BLANK = 0x2800


@dataclass(frozen=True, slots=True)
class Size:
    """Of the drawing without its labels, in cells."""

    columns: int
    rows: int


def plot(times_us: Sequence[int], values: Sequence[float | None], size: Size) -> list[str]:
    """Draw values over time and return the lines, with labels on both axes.

    Neighbours are joined by a straight line, except across None. Nothing to draw gives no lines.
    """
    seen = [value for value in values if value is not None and math.isfinite(value)]
    if not seen:
        return []
    low, high = min(seen), max(seen)
    grid = _Grid(size)
    for start, end in _strokes(times_us, values, (low, high), size):
        grid.line(start, end)
    labels = _value_labels(low, high, size.rows)
    width = max(map(len, labels))
    rows = [f"{label:>{width}} ┤{line}" for label, line in zip(labels, grid.rows(), strict=True)]
    axis = " " * width + " └" + "─" * size.columns
    return [*rows, axis, " " * (width + 2) + _time_labels(times_us[0], times_us[-1], size.columns)]


def number(value: float) -> str:
    """Return a number in at most about nine characters, exact where that is enough."""
    return f"{value:.6g}"


class _Grid:
    def __init__(self, size: Size) -> None:
        self._columns = size.columns
        self._cells = [[0] * size.columns for _ in range(size.rows)]

    def line(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Set the dots from start to end, both (column, row) in dots."""
        (x0, y0), (x1, y1) = start, end
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x = x0 + round((x1 - x0) * step / steps)
            y = y0 + round((y1 - y0) * step / steps)
            self._cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]

    def rows(self) -> Iterator[str]:
        return ("".join(chr(BLANK + cell) for cell in row) for row in self._cells)


Dot = tuple[int, int]


def _strokes(
    times_us: Sequence[int], values: Sequence[float | None], span: tuple[float, float], size: Size
) -> Iterator[tuple[Dot, Dot]]:
    start_us, width_us = times_us[0], max(times_us[-1] - times_us[0], 1)
    # Halves, as the difference of two huge doubles may itself be infinite.
    low, height = span[0] / 2, span[1] / 2 - span[0] / 2
    x_max, y_max = size.columns * 2 - 1, size.rows * 4 - 1
    last: Dot | None = None
    for time_us, value in zip(times_us, values, strict=True):
        if value is None or not math.isfinite(value):
            last = None
            continue
        share = (value / 2 - low) / height if height else 0.5
        dot = ((time_us - start_us) * x_max // width_us, y_max - round(share * y_max))
        yield (dot if last is None else last), dot
        last = dot


def _value_labels(low: float, high: float, rows: int) -> list[str]:
    labels = [""] * rows
    if low == high:
        labels[rows // 2] = number(low)
        return labels
    labels[0], labels[-1] = number(high), number(low)
    if rows >= 5:
        labels[rows // 2] = number(low / 2 + high / 2)
    return labels


def _time_labels(start_us: int, end_us: int, columns: int) -> str:
    start, end = from_us(start_us), from_us(end_us)
    first = f"{start:%Y-%m-%d %H:%M:%S}"
    if start_us == end_us:
        return first
    last = f"{end:%H:%M:%S}Z" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}Z"
    return first + last.rjust(max(columns - len(first), len(last) + 2))

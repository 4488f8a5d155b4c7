"""History as plots: one for each path, with its unit and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from gemel.base.clock import to_us
from gemel.cli.plot import Size, number, plot
from gemel.demo.units import unit_symbol

__all__ = ["draw", "ends_us", "width_for"]

ROWS = 9
SECOND_US = 1_000_000
WIDTHS = {
    "1ms": 1_000, "10ms": 10_000, "100ms": 100_000,
    "1s": SECOND_US, "5s": 5 * SECOND_US, "15s": 15 * SECOND_US,
    "1m": 60 * SECOND_US, "5m": 300 * SECOND_US, "15m": 900 * SECOND_US,
    "1h": 3_600 * SECOND_US, "6h": 21_600 * SECOND_US, "1d": 86_400 * SECOND_US,
    "7d": 604_800 * SECOND_US, "30d": 2_592_000 * SECOND_US, "365d": 31_536_000 * SECOND_US,
}  # fmt: skip
ABOUT = frozenset({"path", "time", "removed", "quality", "revision", "recorded"})


def draw(
    rows: Iterable[Mapping[str, Any]],
    units: Mapping[str, str | None],
    columns: int,
    order: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the lines of one plot for each path, and for each aggregate where rows are buckets.

    Paths come in the given order, those that are not in it by name.
    """
    found: dict[tuple[str, str], tuple[list[int], list[Any]]] = {}
    for row in rows:
        for name in row.keys() - ABOUT:
            times_us, values = found.setdefault((row["path"], name), ([], []))
            times_us.append(_us(row["time"]))
            values.append(row[name])
    places = {path: place for place, path in enumerate(order)}
    for path, name in sorted(found, key=lambda key: (places.get(key[0], len(places)), key)):
        label = path if name == "value" else f"{path} {name}"
        yield from _panel(
            label, "" if name == "count" else unit_symbol(units.get(path)), *found[path, name], columns
        )


def ends_us(rows: Sequence[Mapping[str, Any]], last: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Return the first and last source time (µs) of rows that go on up to the last values."""
    return _us(rows[0]["time"]), max(
        _us(time) for time in [rows[-1]["time"], *(v["sourceTime"] for v in last)]
    )


def width_for(ends: tuple[int, int], columns: int) -> str:
    """Return the least bucket width that gives at most two buckets a column (µs; the dots of a cell)."""
    wanted_us = (ends[1] - ends[0]) / (2 * columns)
    return next((name for name, width_us in WIDTHS.items() if width_us >= wanted_us), list(WIDTHS)[-1])


def _panel(label: str, unit: str, times_us: list[int], values: list[Any], columns: int) -> Iterator[str]:
    numbers = [_number(value) for value in values]
    seen = [value for value in numbers if value is not None]
    shown = f"{label}  [{unit}]" if unit else label
    if not seen:
        yield f"{shown}   {len(values):,} values, none of them a number; see --table"
    else:
        figures = (
            f"last {number(seen[-1])}  min {number(min(seen))}  max {number(max(seen))}  n {len(seen):,}"
        )
        yield f"{shown}   {figures}"
        yield from plot(times_us, numbers, Size(columns, ROWS))
    yield ""


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, bool | int | float) else None
    except OverflowError:  # a whole number beyond the doubles
        return None


def _us(text: str) -> int:
    return to_us(datetime.fromisoformat(text))

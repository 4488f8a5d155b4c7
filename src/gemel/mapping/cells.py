"""Columns of cells as JSON values: numbers exact, what is empty left out, what does not parse as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec
import numpy as np

from gemel.mapping.tables import ValueColumn
from gemel.mapping.units import Conversion, conversion

__all__ = ["CellReader", "ColumnReader", "cell_reader", "column_reader"]

ColumnReader = Callable[[Sequence[object]], list[object]]
CellReader = Callable[[object], object]

DIGITS_MAX: Final = 40
FLAGS: Final = {"true": True, "false": False, "1": True, "0": False}


def column_reader(value: ValueColumn) -> ColumnReader:
    """Return the function that turns a column of cells into JSON values, one for one.

    None in the answer means that there is no value: the cell was null, or empty text. A cell that is not of
    the type stays as it was, so that the platform quarantines the event and says what it got; NaN and
    infinity become text for the same reason, since JSON cannot hold them.
    """
    if value.type == "number":
        change = None if value.unit is None or value.to is None else conversion(value.unit, value.to)
        return lambda cells: _numbers(cells, change)
    one = _CELLS[value.type]
    return lambda cells: _each(one, cells)


def cell_reader(kind: str, change: Conversion | None = None) -> CellReader:
    """Return the function that reads one cell as `column_reader` reads each of a column."""
    if kind == "number":
        return lambda cell: _number(cell, change)
    return _CELLS[kind]


def _each(one: Callable[[object], object], cells: Sequence[object]) -> list[object]:
    """Read cell by cell; a text that recurs, as labels and flags do, is read once."""
    if set(map(type, cells)) != {str}:
        return list(map(one, cells))
    known = {cell: one(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]


def _numbers(cells: Sequence[object], change: Conversion | None) -> list[object]:
    """Read doubles, each the one nearest to its text, by column where every cell is a plain finite number."""
    kinds = set(map(type, cells))
    if kinds == {str} and "_" not in "".join(cells):  # type: ignore[arg-type]
        try:
            values = np.array(list(map(float, cells)))  # type: ignore[arg-type]
        except ValueError:
            return [_number(cell, change) for cell in cells]
    elif kinds == {float}:
        values = np.array(cells, dtype=np.float64)
    else:
        return [_number(cell, change) for cell in cells]
    if change is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            values = values * change.factor + change.offset
    if np.isfinite(values).all():
        return list(values.tolist())
    return [_number(cell, change) for cell in cells]


def _number(cell: object, change: Conversion | None) -> object:
    if isinstance(cell, bool) or not isinstance(cell, (str, int, float, Decimal)):
        return cell
    if isinstance(cell, str):
        if not cell.strip():
            return None
        if "_" in cell:
            return cell
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return str(cell)
    if change is not None:
        value = value * change.factor + change.offset
    return value if math.isfinite(value) else str(cell)


def _integer(cell: object) -> object:
    """Read a whole number of any size; 5.0 and 1e3 are whole, 5.5 is not."""
    if isinstance(cell, (bool, int)) or cell is None:
        return cell
    if not isinstance(cell, (str, float, Decimal)):
        return cell
    text = str(cell).strip()
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return cell
    small = number.is_finite() and number.adjusted() < DIGITS_MAX and "_" not in text
    if small and number == number.to_integral_value():
        return int(number)
    return cell if isinstance(cell, str) or (isinstance(cell, float) and small) else text


def _boolean(cell: object) -> object:
    if not isinstance(cell, str):
        return _held_by_json(cell)
    text = cell.strip()
    return FLAGS.get(text.lower(), cell) if text else None


def _json(cell: object) -> object:
    if not isinstance(cell, str):
        return _held_by_json(cell)
    if not cell.strip():
        return None
    try:
        return msgspec.json.decode(cell)
    except msgspec.DecodeError:
        return cell


def _held_by_json(cell: object) -> object:
    """Return NaN and infinity as text, at any depth: the encoder would write them as null."""
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else str(cell)
    if isinstance(cell, list):
        return list(map(_held_by_json, cell))
    if isinstance(cell, dict):
        return {key: _held_by_json(value) for key, value in cell.items()}
    return cell


_CELLS: Final[dict[str, CellReader]] = {
    "integer": _integer,
    "boolean": _boolean,
    "json": _json,
    "string": _held_by_json,
}

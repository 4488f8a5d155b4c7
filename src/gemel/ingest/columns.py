"""Twins and slots as columns: what many events at once are held against, by number and not by name."""

from __future__ import annotations

from collections.abc import Sequence
from sys import float_info
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.graph.directory import BoundSlot, BoundType, TwinRef
from gemel.history.paths import PATH_BITS
from gemel.history.samples import Ints
from gemel.history.values import DOUBLE, INTEGER
from gemel.ingest.resolve import FLOAT_MAX, TIME_MAX_US, TIME_MIN_US
from gemel.ingest.table import Flags
from gemel.models import Primitive
from gemel.models.values import INTEGERS

__all__ = ["Slots", "Twins", "earliest_starts", "slot_columns", "twin_columns"]

NOWHERE = -1


class Twins(NamedTuple):
    """k twins as columns, with one more at the end for none; `type_no` is the place of each one's type in `types`."""

    known: Flags
    base: Ints
    type_no: Ints
    starts_us: Ints
    from_us: Ints
    to_us: Ints
    types: list[BoundType]


class Slots(NamedTuple):
    """What each (type, path) takes, at type_no * paths + path: its number, or NOWHERE, and what surely fits."""

    slots: list[BoundSlot | None]
    path_no: Ints
    kind: npt.NDArray[np.int16]
    least: npt.NDArray[np.float64]
    most: npt.NDArray[np.float64]
    whole_least: Ints
    whole_most: Ints


def twin_columns(refs: Sequence[TwinRef | None]) -> Twins:
    """Return the columns of twins in order, None for one that there is not."""
    there = [ref for ref in refs if ref is not None]
    type_of = {id(ref.twin_type): ref.twin_type for ref in there}
    type_nos = {key: number for number, key in enumerate(type_of)}
    known = np.array([*(ref is not None for ref in refs), False], np.bool_)
    return Twins(
        known,
        _spread(known, [ref.twin_no for ref in there]) << PATH_BITS,
        _spread(known, [type_nos[id(ref.twin_type)] for ref in there]),
        _spread(known, [ref.valid_from_us for ref in there]),
        np.maximum(_spread(known, [ref.floor_us for ref in there]), TIME_MIN_US),
        np.minimum(_spread(known, [ref.decommissioned_us for ref in there]), TIME_MAX_US),
        list(type_of.values()),
    )


def _spread(known: Flags, values: Sequence[int]) -> Ints:
    """Return the values of those that there are, and 0 for the others."""
    column = np.zeros(len(known), np.int64)
    column[known] = values
    return column


def slot_columns(types: Sequence[BoundType], paths: Sequence[str]) -> Slots:
    """Return what each path of each type takes."""
    slots = [each.slots.get(path) for each in types for path in paths]
    rows = [_bounds(slot) for slot in slots]
    path_no = [NOWHERE if slot is None else slot.path_no for slot in slots]
    kind = [INTEGER if slot is not None and slot.slot.storage == "integer" else DOUBLE for slot in slots]
    least, most, whole_least, whole_most = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Slots(
        slots,
        np.array(path_no, np.int64),
        np.array(kind, np.int16),
        np.array(least, np.float64),
        np.array(most, np.float64),
        np.array(whole_least, np.int64),
        np.array(whole_most, np.int64),
    )


def earliest_starts(twins: Twins, code: Ints, time_us: Ints, good: Flags) -> dict[int, int]:
    """Return the twins that are told of from before their starts, by number, and since when (µs)."""
    early = np.flatnonzero(good & (time_us < twins.starts_us[code]))
    earliest = np.full(len(twins.base), TIME_MAX_US, np.int64)
    np.minimum.at(earliest, code[early], time_us[early])
    starts: dict[int, int] = {}
    for place in np.unique(code[early]).tolist():
        twin_no = int(twins.base[place]) >> PATH_BITS
        starts[twin_no] = min(int(earliest[place]), starts.get(twin_no, TIME_MAX_US))
    return starts


def _bounds(slot: BoundSlot | None) -> tuple[float, float, int, int]:
    """Return between which floats, and which integers, a value surely fits; none where the first is greater."""
    schema = None if slot is None else slot.slot.schema
    if slot is None or not isinstance(schema, Primitive) or slot.slot.storage == "json":
        return 1.0, 0.0, 1, 0
    if slot.slot.storage == "double":
        most = FLOAT_MAX if schema.kind == "float" else float_info.max
        return -most, most, -(2**63), 2**63 - 1
    return 1.0, 0.0, *INTEGERS[schema.kind]

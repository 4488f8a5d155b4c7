"""Columns as PostgreSQL binary: arrays for unnest, and COPY streams.

The layouts are those of array_send and COPY BINARY (PostgreSQL documentation, "COPY", "Binary Format").
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.json import set_json_loads

__all__ = [
    "BIGINT",
    "COPY_HEADER",
    "COPY_TRAILER",
    "DOUBLE_PRECISION",
    "PG_EPOCH_US",
    "SMALLINT",
    "TIMESTAMPTZ",
    "BigintArray",
    "ByteaArray",
    "DoubleArray",
    "IntegerArray",
    "PgArray",
    "SmallintArray",
    "TextArray",
    "TimestampArray",
    "bigints",
    "byteas",
    "copy_arrays",
    "copy_fixed",
    "doubles",
    "integers",
    "labels",
    "read_json",
    "register",
    "smallints",
    "texts",
    "timestamps",
]

PG_EPOCH_US = 946_684_800_000_000  # 2000-01-01, from which PostgreSQL counts
COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)

NULL = struct.pack(">i", -1)

BIGINT, SMALLINT, DOUBLE_PRECISION, TIMESTAMPTZ = (20, ">i8"), (21, ">i2"), (701, ">f8"), (1184, ">i8")
"""Types of elements: the number by which PostgreSQL knows each, and its bytes."""

Column = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class PgArray:
    """A one-dimensional array, as array_recv takes it."""

    data: bytes


class BigintArray(PgArray):
    """An int8[] parameter."""


class IntegerArray(PgArray):
    """An int4[] parameter."""


class SmallintArray(PgArray):
    """An int2[] parameter."""


class DoubleArray(PgArray):
    """A float8[] parameter."""


class TimestampArray(PgArray):
    """A timestamptz[] parameter."""


class TextArray(PgArray):
    """A text[] parameter."""


class ByteaArray(PgArray):
    """A bytea[] parameter."""


def bigints(values: npt.NDArray[np.int64]) -> BigintArray:
    """Return an int8[] parameter."""
    return BigintArray(_array(values, 20, ">i8"))


def integers(values: npt.NDArray[np.int32]) -> IntegerArray:
    """Return an int4[] parameter."""
    return IntegerArray(_array(values, 23, ">i4"))


def smallints(values: npt.NDArray[np.int16]) -> SmallintArray:
    """Return an int2[] parameter."""
    return SmallintArray(_array(values, 21, ">i2"))


def doubles(values: npt.NDArray[np.float64]) -> DoubleArray:
    """Return a float8[] parameter; NaN stands for null and is for the statement to turn."""
    return DoubleArray(_array(values, 701, ">f8"))


def timestamps(values_us: npt.NDArray[np.int64]) -> TimestampArray:
    """Return a timestamptz[] parameter from microseconds since 1970."""
    return TimestampArray(_array(values_us - PG_EPOCH_US, 1184, ">i8"))


def texts(values: Sequence[str | None]) -> TextArray:
    """Return a text[] parameter. Raises UnicodeEncodeError for a lone surrogate."""
    return TextArray(_varying([None if value is None else value.encode() for value in values], 25))


def labels(values: Sequence[str | None]) -> TextArray:
    """Return a text[] parameter, as `texts` does, sooner where few values are there again and again."""
    parts = {value: _part(None if value is None else value.encode()) for value in set(values)}
    return TextArray(
        _head(len(values), 25, null=None in parts) + b"".join([parts[value] for value in values])
    )


def byteas(values: Sequence[bytes]) -> ByteaArray:
    """Return a bytea[] parameter."""
    return ByteaArray(_varying(values, 17))


def copy_fixed(fields: Sequence[tuple[Column, str] | None], rows: int) -> bytes:
    """Return the rows of a COPY BINARY stream, without header and trailer.

    `fields` are the table's columns in order, each a numpy column with its big-endian dtype, or None for a
    column that is null in every row. Packing is one structured array: no loop over rows.
    """
    layout: list[tuple[str, str]] = [("count", ">i2")]
    for index, field in enumerate(fields):
        layout.append((f"size{index}", ">i4"))
        if field is not None:
            layout.append((f"value{index}", field[1]))
    packed = np.empty(rows, dtype=np.dtype(layout))
    packed["count"] = len(fields)
    for index, field in enumerate(fields):
        if field is None:
            packed[f"size{index}"] = -1
        else:
            packed[f"size{index}"] = np.dtype(field[1]).itemsize
            packed[f"value{index}"] = field[0]
    return packed.tobytes()


def copy_arrays(
    fields: Sequence[tuple[Column, str]], arrays: Sequence[tuple[Column, tuple[int, str]] | None]
) -> bytes:
    """Return rows of a COPY BINARY stream that have columns of fixed width, then arrays of one length.

    `fields` are as those of `copy_fixed`; `arrays` numpy columns of two dimensions, a row of elements for each row,
    with the type of the elements; None where the column is null in every row.
    """
    layout: list[tuple[Any, ...]] = [("count", ">i2")]
    for index, (_, dtype) in enumerate(fields):
        layout += [(f"size{index}", ">i4"), (f"value{index}", dtype)]
    for index, array in enumerate(arrays):
        layout.append((f"length{index}", ">i4"))
        if array is not None:
            column, (_, dtype) = array
            element = [("size", ">i4"), ("value", dtype)]
            layout += [(f"head{index}", ">i4", (5,)), (f"elements{index}", element, (column.shape[1],))]
    packed = np.empty(len(fields[0][0]), dtype=np.dtype(layout))
    packed["count"] = len(fields) + len(arrays)
    for index, (column, dtype) in enumerate(fields):
        packed[f"size{index}"], packed[f"value{index}"] = np.dtype(dtype).itemsize, column
    for index, array in enumerate(arrays):
        if array is None:
            packed[f"length{index}"] = -1
            continue
        column, (oid, dtype) = array
        packed[f"head{index}"] = (1, 0, oid, column.shape[1], 1)
        packed[f"elements{index}"]["size"], packed[f"elements{index}"]["value"] = (
            np.dtype(dtype).itemsize,
            column,
        )
        packed[f"length{index}"] = (
            packed.dtype[f"head{index}"].itemsize + packed.dtype[f"elements{index}"].itemsize
        )
    return packed.tobytes()


def _array(values: Column, element_oid: int, dtype: str) -> bytes:
    packed = np.empty(len(values), dtype=[("size", ">i4"), ("value", dtype)])
    packed["size"] = np.dtype(dtype).itemsize
    packed["value"] = values
    return struct.pack(">iiiii", 1, 0, element_oid, len(values), 1) + packed.tobytes()


def _varying(values: Sequence[bytes | None], element_oid: int) -> bytes:
    return _head(len(values), element_oid, null=None in values) + b"".join(map(_part, values))


def _part(value: bytes | None) -> bytes:
    return NULL if value is None else len(value).to_bytes(4, "big") + value


def _head(count: int, element_oid: int, *, null: bool) -> bytes:
    return struct.pack(">iiiii", 1, int(null), element_oid, count, 1)


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: PgArray) -> bytes:
        return obj.data


class _BigintArrayDumper(_ArrayDumper):
    oid = 1016


class _IntegerArrayDumper(_ArrayDumper):
    oid = 1007


class _SmallintArrayDumper(_ArrayDumper):
    oid = 1005


class _DoubleArrayDumper(_ArrayDumper):
    oid = 1022


class _TimestampArrayDumper(_ArrayDumper):
    oid = 1185


class _TextArrayDumper(_ArrayDumper):
    oid = 1009


class _ByteaArrayDumper(_ArrayDumper):
    oid = 1001


DUMPERS: tuple[tuple[type[PgArray], type[Dumper]], ...] = (
    (BigintArray, _BigintArrayDumper),
    (IntegerArray, _IntegerArrayDumper),
    (SmallintArray, _SmallintArrayDumper),
    (DoubleArray, _DoubleArrayDumper),
    (TimestampArray, _TimestampArrayDumper),
    (TextArray, _TextArrayDumper),
    (ByteaArray, _ByteaArrayDumper),
)


def read_json(data: str | bytes) -> Any:
    """Return a JSON value, of which a row of a page has several: this reader takes a tenth of the usual one's time."""
    try:
        return msgspec.json.decode(data)
    except msgspec.ValidationError:  # a number beyond doubles, as a model may have one
        return json.loads(data)


def register(context: AdaptContext) -> None:
    """Teach a connection to send these arrays, and to read JSON."""
    for kind, dumper in DUMPERS:
        context.adapters.register_dumper(kind, dumper)
    set_json_loads(read_json, context)

"""History as JSON, CSV and Arrow: the same rows, the same order."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec

from gemel.base.clock import iso_us
from gemel.base.errors import EnvironmentFaultError
from gemel.history.read import Bucket, RawSample

__all__ = ["ARROW", "CSV", "bucket_rows", "raw_rows", "to_arrow", "to_csv", "with_times"]

CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
DOUBLE_EXACT_MAX = 2**53

Row = dict[str, Any]


def raw_rows(samples: Sequence[RawSample]) -> list[Row]:
    """Return samples as rows; a removed property has the value null and `removed` true."""
    return [
        {
            "path": sample.path,
            "time": sample.time_us,
            "value": sample.value,
            "removed": sample.removed,
            "quality": sample.quality,
            "revision": sample.revision,
            "recorded": sample.recorded_us,
        }
        for sample in samples
    ]


def bucket_rows(buckets: Sequence[Bucket]) -> list[Row]:
    """Return buckets as rows: path, the bucket's start, and one column for each aggregate."""
    return [{"path": bucket.path, "time": bucket.time_us, **bucket.values} for bucket in buckets]


def with_times(rows: Sequence[Row]) -> list[Row]:
    """Return rows with their times as RFC 3339, as JSON and CSV have them."""
    return [{name: iso_us(value) if name in TIMES else value for name, value in row.items()} for row in rows]


def to_csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    """Return rows as CSV (RFC 4180) with a header; what is no number or text stands as JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in with_times(rows):
        writer.writerow([_cell(row[name]) for name in columns])
    return out.getvalue().encode()


def to_arrow(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    """Return rows as an Arrow IPC stream.

    Times are timestamps in µs UTC. A column of values is double where every value is exactly one, else text:
    JSON. Raises EnvironmentFaultError (ExtraMissing) where pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise EnvironmentFaultError(
            "ExtraMissing", "Arrow needs pyarrow on the server.", "`pip install 'gemel[arrow]'` there."
        ) from error
    arrays = [_arrow_column(pa, name, [row[name] for row in rows]) for name in columns]
    table = pa.table(arrays, names=list(columns))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


TIMES = frozenset({"time", "recorded"})
TEXTS = frozenset({"path", "quality"})
INTEGERS = {"revision": "int32", "count": "int64"}


def _arrow_column(pa: Any, name: str, values: list[Any]) -> Any:
    if name in TIMES:
        return pa.array(values, pa.timestamp("us", tz="UTC"))
    if name in TEXTS:
        return pa.array(values, pa.dictionary(pa.int32(), pa.string()))
    if name == "removed":
        return pa.array(values, pa.bool_())
    if name in INTEGERS:
        return pa.array(values, INTEGERS[name])
    if all(value is None or _is_double(value) for value in values):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array(
        [None if value is None else msgspec.json.encode(value).decode() for value in values], pa.string()
    )


def _is_double(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or -DOUBLE_EXACT_MAX <= value <= DOUBLE_EXACT_MAX


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str | int):
        return value
    # Shortest text that reads back as the same double.
    return repr(value) if isinstance(value, float) else msgspec.json.encode(value).decode()

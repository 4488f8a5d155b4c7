"""Samples as Arrow streams in both layouts, and as the JSON events that they are as good as."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from gemel.base.clock import iso_us

__all__ = ["Row", "json_lines", "stream_of", "table_of"]

COLUMNS: tuple[tuple[str, type, Any], ...] = (
    ("value", float, pa.float64()),
    ("value_whole", int, pa.int64()),
    ("value_flag", bool, pa.bool_()),
    ("value_text", str, pa.string()),
)


class Row(NamedTuple):
    """An event: its twin, source time (µs) and values by path; in the layout of rows it has one at most."""

    twin: str | None
    time_us: int | None
    values: dict[str, Any]
    revision: int = 0
    quality: str = "good"


def stream_of(table: Any, compression: str | None = None, rows: int | None = None) -> bytes:
    """Return a table as a stream, in batches of `rows`."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def table_of(rows: Sequence[Row], *, wide: bool, name: str = "b") -> Any:
    """Return events as a table; in the wide layout the values of a path must be of one type."""
    columns = {
        "twin": pa.array([row.twin for row in rows], pa.string()),
        "time": pa.array([row.time_us for row in rows], pa.timestamp("us", tz="UTC")),
        "revision": pa.array([row.revision for row in rows], pa.int64()),
        "quality": pa.array([row.quality for row in rows], pa.string()).dictionary_encode(),
    }
    columns |= _by_path(rows) if wide else _by_type(rows)
    return pa.table(columns).replace_schema_metadata(
        {"gemel.id": name, "gemel.source": "/test", "gemel.type": "t"}
    )


def json_lines(rows: Iterable[Row], name: str = "b") -> bytes:
    """Return the same events as JSON, one a line."""
    return b"\n".join(json.dumps(_event(row, f"{name}-{number}")).encode() for number, row in enumerate(rows))


def _event(row: Row, name: str) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": name, "source": "/test", "type": "t", "data": row.values}
    if row.twin is not None:
        event["subject"] = row.twin
    if row.time_us is not None:
        event["time"] = iso_us(row.time_us)
    return {**event, "revision": row.revision, "quality": row.quality}


def _by_path(rows: Sequence[Row]) -> dict[str, Any]:
    paths = dict.fromkeys(path for row in rows for path in row.values)
    return {path: pa.array([row.values.get(path) for row in rows], from_pandas=False) for path in paths}


def _by_type(rows: Sequence[Row]) -> dict[str, Any]:
    pairs = [next(iter(row.values.items()), (None, None)) for row in rows]
    columns = {"path": pa.array([path for path, _ in pairs], pa.string()).dictionary_encode()}
    for name, kind, arrow_type in COLUMNS:
        own = [value if type(value) is kind else None for _, value in pairs]
        columns[name] = pa.array(own, arrow_type, from_pandas=False)
    return columns

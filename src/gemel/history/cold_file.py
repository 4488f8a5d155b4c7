"""Samples of one tenant and week as a Parquet file, of which one series is read without the rest.

Rows stand in the order of series and source time; each row group has statistics of both, so that a reader takes only
the row groups that its series and times can be in.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.base.errors import InternalError
from gemel.history.cold_rows import ColdRows
from gemel.history.samples import Ints, SampleBatch

__all__ = ["ColdFile", "Written", "each_group", "read_cold", "series_in", "write_cold"]

GROUP_ROWS = 16_384
"""Rows of a row group: what the read of one value reads at least."""
COLUMNS = ("series", "time", "recorded", "num", "kind", "revision", "quality", "late", "doc")


class Written(NamedTuple):
    """A file's content, its SHA-256 in hex, and how many rows it has."""

    content: bytes
    digest: str
    rows: int


class ColdFile(NamedTuple):
    """What of a file was read: the rows asked for, and how many row groups that took of how many there are."""

    rows: ColdRows
    groups_read: int
    groups: int


def write_cold(parts: Iterable[ColdRows]) -> Written:
    """Return samples as the content of a file; equal samples give an equal file, in whatever parts they come.

    Each part has its series whole, and those of a part are greater than those before: so not all is in memory at once.
    """
    import pyarrow as pa
    from pyarrow import parquet

    sink, marks, count = io.BytesIO(), [], 0
    writer = None
    for rows in _groups(parts):
        table = _table(pa, rows)
        if writer is None:
            writer = parquet.ParquetWriter(sink, table.schema, **_format())
        writer.write_table(table, row_group_size=GROUP_ROWS)
        marks.append(_mark(table))
        count += len(rows)
    assert writer is not None
    writer.close()
    content = sink.getvalue()
    _verify(pa, content, marks)
    return Written(content, hashlib.sha256(content).hexdigest(), count)


def read_cold(file: Any, series: Sequence[int] | Ints | None, low_us: int, high_us: int) -> ColdFile:
    """Return the rows of some series, None for all, with source times in a range (µs, inclusive), in order.

    `file` is what pyarrow can open. Only row groups that may have some of them are read.
    """
    import pyarrow.compute as pc
    from pyarrow import parquet

    opened = parquet.ParquetFile(file, page_checksum_verification=True)
    wanted = None if series is None else np.unique(np.array(series, np.int64))
    groups = [
        index
        for index in range(opened.num_row_groups)
        if _may_have(opened.metadata.row_group(index), wanted, low_us, high_us)
    ]
    table = opened.read_row_groups(groups)
    times = table.column("time")
    mask = pc.and_(pc.greater_equal(times, low_us), pc.less_equal(times, high_us))
    if wanted is not None:
        mask = pc.and_(mask, pc.is_in(table.column("series"), value_set=_ints(wanted)))
    return ColdFile(_rows(table.filter(mask)), len(groups), opened.num_row_groups)


def each_group(file: Any) -> Iterator[ColdRows]:
    """Return all rows of a file, by row group."""
    from pyarrow import parquet

    opened = parquet.ParquetFile(file, page_checksum_verification=True)
    for group in range(opened.num_row_groups):
        yield _rows(opened.read_row_group(group))


def series_in(file: Any) -> Ints:
    """Return the series of a file, in order."""
    from pyarrow import parquet

    column = parquet.ParquetFile(file, page_checksum_verification=True).read(["series"]).column("series")
    found: Ints = np.unique(column.to_numpy())
    return found


def _may_have(group: Any, wanted: Ints | None, low_us: int, high_us: int) -> bool:
    if not group.num_rows:
        return False
    series, times = group.column(0).statistics, group.column(1).statistics
    if times.min > high_us or times.max < low_us:
        return False
    if wanted is None:
        return True
    at = int(np.searchsorted(wanted, series.min))
    return at < len(wanted) and int(wanted[at]) <= series.max


def _format() -> dict[str, Any]:
    return {
        "compression": "zstd",
        "write_statistics": ["series", "time"],
        "use_dictionary": ["kind", "revision", "quality", "late", "doc"],
        "column_encoding": {
            "series": "DELTA_BINARY_PACKED",
            "time": "DELTA_BINARY_PACKED",
            "recorded": "DELTA_BINARY_PACKED",
            "num": "BYTE_STREAM_SPLIT",
        },
        "write_page_checksum": True,
        "store_schema": False,
    }


def _groups(parts: Iterable[ColdRows]) -> Iterator[ColdRows]:
    """Return rows in their order as row groups, all but the last of which are full; at least one."""
    held, count = [ColdRows.none()], 0
    for part in parts:
        held.append(part.ordered())
        count += len(part)
        while count > GROUP_ROWS:
            rows = ColdRows.joined(held)
            yield rows.take(np.arange(GROUP_ROWS))
            held, count = [rows.take(np.arange(GROUP_ROWS, count))], count - GROUP_ROWS
    yield ColdRows.joined(held)


def _table(pa: Any, rows: ColdRows) -> Any:
    samples, late = rows.samples, rows.late
    docs = samples.docs if samples.docs is not None else [None] * len(samples)
    return pa.table(
        {
            "series": pa.array(samples.series, pa.int64()),
            "time": pa.array(samples.time_us, pa.int64()),
            "recorded": pa.array(samples.recorded_us, pa.int64()),
            "num": pa.array(samples.num, pa.float64()),
            "kind": pa.array(samples.kind.astype(np.int32), pa.int32()),
            "revision": pa.array(samples.revision, pa.int32()),
            "quality": pa.array(samples.quality.astype(np.int32), pa.int32()),
            "late": pa.array(late, pa.bool_()),
            "doc": pa.array(docs, pa.string()),
        }
    )


def _rows(table: Any) -> ColdRows:
    def column(name: str) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = table.column(name).to_numpy()
        return found

    docs = table.column("doc")
    batch = SampleBatch(
        series=column("series"),
        time_us=column("time"),
        recorded_us=column("recorded"),
        num=column("num"),
        kind=column("kind").astype(np.int16),
        revision=column("revision"),
        quality=column("quality").astype(np.int16),
        docs=docs.to_pylist() if docs.null_count < len(docs) else None,
    )
    return ColdRows(batch, column("late").astype(np.bool_))


def _ints(values: Ints) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.int64())


def _mark(table: Any) -> bytes:
    """Return what tells a table from every other: also by the bits of its NaNs."""
    told = hashlib.sha256()
    for name in COLUMNS:
        column = table.column(name)
        told.update(repr(column.to_pylist()).encode() if name == "doc" else column.to_numpy().tobytes())
    return told.digest()


def _verify(pa: Any, content: bytes, marks: Sequence[bytes]) -> None:
    """Read a file back and compare, before anything that it stands for goes."""
    from pyarrow import parquet

    found = parquet.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    read = [_mark(found.read_row_group(group)) for group in range(found.num_row_groups)]
    if read != marks:
        raise InternalError("InternalError", "The cold file is not as it was written.")

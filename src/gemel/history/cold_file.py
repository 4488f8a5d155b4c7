"""Samples of one tenant and week as a Parquet file, of which one series is read without the rest.

Rows stand in the order of series, source time and recorded time; each row group has statistics of the first two, so
that a reader takes only the row groups that its series can be in. Values that lost their key stand among the others,
with the time at which they did.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.base.errors import InternalError
from gemel.history.samples import Ints, SampleBatch

__all__ = ["NEVER", "ColdFile", "ColdRows", "Written", "read_cold", "write_cold"]

GROUP_ROWS = 16_384
"""Rows of a row group: what the read of one value reads at least."""
NEVER = -1
"""Stands for a value that did not lose its key."""


@dataclass(frozen=True, slots=True)
class ColdRows:
    """Samples and, for each, when it lost its key (int64[n], µs) or NEVER, and whether it came late (bool[n])."""

    samples: SampleBatch
    superseded_us: Ints
    late: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.samples)


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


def write_cold(rows: ColdRows) -> Written:
    """Return samples as the content of a file; equal samples in whatever order give an equal file."""
    import pyarrow as pa
    from pyarrow import parquet

    order = np.lexsort((rows.samples.recorded_us, rows.samples.time_us, rows.samples.series))
    table = _table(pa, rows.samples.take(order), rows.superseded_us[order], rows.late[order])
    sink = io.BytesIO()
    parquet.write_table(
        table,
        sink,
        row_group_size=GROUP_ROWS,
        compression="zstd",
        write_statistics=["series", "time"],
        use_dictionary=["kind", "revision", "quality", "late", "doc"],
        column_encoding={
            "series": "DELTA_BINARY_PACKED",
            "time": "DELTA_BINARY_PACKED",
            "recorded": "DELTA_BINARY_PACKED",
            "superseded": "DELTA_BINARY_PACKED",
            "num": "BYTE_STREAM_SPLIT",
        },
        write_page_checksum=True,
        store_schema=False,
    )
    content = sink.getvalue()
    written = Written(content, hashlib.sha256(content).hexdigest(), len(rows))
    _verify(written, table)
    return written


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


def _table(pa: Any, samples: SampleBatch, superseded_us: Ints, late: npt.NDArray[np.bool_]) -> Any:
    docs = samples.docs if samples.docs is not None else [None] * len(samples)
    return pa.table(
        {
            "series": pa.array(samples.series, pa.int64()),
            "time": pa.array(samples.time_us, pa.int64()),
            "recorded": pa.array(samples.recorded_us, pa.int64()),
            "superseded": pa.array(superseded_us, pa.int64()),
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
    return ColdRows(batch, column("superseded"), column("late").astype(np.bool_))


def _ints(values: Ints) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.int64())


def _verify(written: Written, table: Any) -> None:
    """Read a file back and compare, before anything that it stands for goes."""
    import pyarrow as pa
    from pyarrow import parquet

    found = parquet.read_table(pa.BufferReader(written.content), page_checksum_verification=True)
    for name in table.column_names:
        mine, theirs = table.column(name).combine_chunks(), found.column(name).combine_chunks()
        if name == "num":  # NaN equals nothing, but its bits are the same
            mine, theirs = mine.view(pa.int64()), theirs.view(pa.int64())
        if not mine.equals(theirs):
            raise InternalError("InternalError", f"The cold file's column {name} is not as it was written.")

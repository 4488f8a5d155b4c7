"""New samples into the head: plain numbers that are newer than everything of their series, a row for each bucket.

A row of `sample` costs an entry of a B-tree; here some dozen share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.history.samples import Ints, SampleBatch
from gemel.history.stored import BUCKET_BITS
from gemel.history.values import INTEGER
from gemel.store.columns import (
    BIGINT,
    COPY_HEADER,
    COPY_TRAILER,
    DOUBLE_PRECISION,
    PG_EPOCH_US,
    SMALLINT,
    TIMESTAMPTZ,
    copy_arrays,
)
from gemel.store.database import WriteTransaction

__all__ = ["HeadRows", "copy_head", "pack_head"]

Flags = npt.NDArray[np.bool_]

BATCH_MIN = 256
"""A batch of fewer goes to rows: it costs little, and leaves nothing to pack."""
BUCKET_MIN = 8
"""Fewer of a bucket are rows."""
BLOCK_MAX = 112
"""The most samples of a row: two rows fit a page."""

COPY = """
COPY sample_head_leaf (
    bucket, change_no, part, first_time, last_time, series, source_times, recorded_times, nums, kinds)
FROM STDIN (FORMAT binary)"""


class HeadRows(NamedTuple):
    """Which samples of a batch stand in rows of the head, bool[n], and these rows as COPY takes them."""

    taken: Flags
    data: bytes


def pack_head(fresh: SampleBatch, late: Flags, change_no: int) -> HeadRows:
    """Return rows of those of some new samples, ordered by series and time, that fit the head; pure.

    `change_no` is the number by which the feed will tell of them first.
    """
    plain = ~late & (fresh.kind <= INTEGER) & (fresh.revision == 0) & (fresh.quality == 0)
    positions = np.flatnonzero(plain)
    if len(positions) < BATCH_MIN:
        return HeadRows(np.zeros(len(fresh), np.bool_), b"")
    buckets = fresh.series[positions] >> BUCKET_BITS
    starts = np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1])))
    sizes = np.diff(np.append(starts, len(buckets)))
    taken = np.repeat(sizes >= BUCKET_MIN, sizes)
    positions = positions[taken]
    rows = _rows(fresh.take(positions), change_no) if len(positions) else ()
    written = np.zeros(len(fresh), np.bool_)
    written[positions] = True
    return HeadRows(written, b"".join((COPY_HEADER, *rows, COPY_TRAILER)))


async def copy_head(tx: WriteTransaction, rows: HeadRows) -> None:
    """Write rows to the head; the feed must be told of them next."""
    if rows.taken.any():
        await tx.copy(COPY, rows.data, "gemel_copy")


def _rows(batch: SampleBatch, change_no: int) -> Iterator[bytes]:
    """Pack rows, those of one size at once: then their bytes are of one layout."""
    buckets = batch.series >> BUCKET_BITS
    starts = _cuts(buckets)
    sizes = np.diff(np.append(starts, len(buckets)))
    numbers = np.arange(len(starts))
    whole = np.add.reduceat((batch.kind == INTEGER).astype(np.int64), starts) > 0
    time_us = batch.time_us - PG_EPOCH_US
    recorded_us = batch.recorded_us - PG_EPOCH_US
    for size in np.unique(sizes):
        for kinds in (False, True):
            chosen = np.flatnonzero((sizes == size) & (whole == kinds))
            if not len(chosen):
                continue
            places = starts[chosen][:, None] + np.arange(size)
            times = time_us[places]
            yield copy_arrays(
                (
                    (buckets[starts[chosen]], ">i8"),
                    (np.full(len(chosen), change_no, np.int64), ">i8"),
                    (numbers[chosen], ">i4"),
                    (times.min(axis=1), ">i8"),
                    (times.max(axis=1), ">i8"),
                ),
                (
                    (batch.series[places], BIGINT),
                    (times, TIMESTAMPTZ),
                    (recorded_us[places], TIMESTAMPTZ),
                    (batch.num[places], DOUBLE_PRECISION),
                    (batch.kind[places], SMALLINT) if kinds else None,
                ),
            )


def _cuts(buckets: Ints) -> Ints:
    """Return where rows start: at each bucket, and within one every BLOCK_MAX samples."""
    edges = np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1])))
    within = np.arange(len(buckets)) - np.repeat(edges, np.diff(np.append(edges, len(buckets))))
    return np.flatnonzero(within % BLOCK_MAX == 0)

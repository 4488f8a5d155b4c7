"""Keys whose samples were deleted: what arrives for one is refused unless its revision is greater.

A deletion ranks above every value of the revisions that it met, so that a late redelivery of what was deleted does not
bring it back, in whatever order things arrive. A deleted key is one that no sample holds and some have lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.base.clock import from_us
from gemel.history.ordering import CORRECTED, DUPLICATE
from gemel.history.samples import Ints, Sample, SampleBatch
from gemel.history.stored import KEYS, stored_samples
from gemel.history.values import JSON, Encoded, Rank, canonical_json, rank
from gemel.store.columns import bigints, timestamps
from gemel.store.database import ReadTransaction

__all__ = ["Refused", "find_refused"]

Key = tuple[int, int]

DELETED = f"""
SELECT k.series, k.time_us, l.num, l.kind, l.doc, l.revision, l.quality
FROM unnest(%(series)s::bigint[], %(times)s::timestamptz[], %(times_us)s::bigint[]) AS k (series, source_time, time_us)
CROSS JOIN LATERAL (
    SELECT * FROM sample_superseded WHERE tenant = current_tenant() AND sample_superseded.series = k.series
    AND sample_superseded.source_time = k.source_time OFFSET 0) AS l
WHERE NOT EXISTS (SELECT FROM {stored_samples(*KEYS)} AS held OFFSET 0)"""


class Refused(NamedTuple):
    """What of a batch of n samples deletions refuse: bool[n], int8[n] with their outcomes, and what is kept of them."""

    mask: npt.NDArray[np.bool_]
    outcomes: npt.NDArray[np.int8]
    lost: list[Sample]


async def find_refused(
    tx: ReadTransaction, batch: SampleBatch, gaps: Mapping[int, tuple[int, int]]
) -> Refused | None:
    """Return what of a batch is refused, None where nothing is.

    `gaps` are, by series, the first and last source time (µs) of its deleted keys. What is refused is a duplicate
    where the same was there before, else it lost as it came.
    """
    near = _within(batch, gaps)
    if not near.any():
        return None
    keys = np.unique(np.stack((batch.series[near], batch.time_us[near]), axis=1), axis=0)
    ranks: dict[Key, set[Rank]] = {}
    wanted = {
        "series": bigints(keys[:, 0]),
        "times": timestamps(keys[:, 1]),
        "times_us": bigints(keys[:, 1]),
        "first": from_us(int(keys[:, 1].min())),
        "last": from_us(int(keys[:, 1].max())),
    }
    for series, time_us, num, kind, doc, revision, quality in await tx.rows(DELETED, wanted):
        value = Encoded(num, kind, canonical_json(doc) if kind == JSON else None)
        ranks.setdefault((series, time_us), set()).add(rank(revision, value, quality))
    revisions = {key: max(own)[0] for key, own in ranks.items()}
    refused = Refused(np.zeros(len(batch), np.bool_), np.zeros(len(batch), np.int8), [])
    for position in np.flatnonzero(near).tolist():
        sample = batch.row(position)
        key = (sample.series, sample.time_us)
        if sample.revision > revisions.get(key, -1):
            continue
        own = rank(sample.revision, sample.value, sample.quality)
        refused.mask[position] = True
        refused.outcomes[position] = DUPLICATE if own in ranks[key] else CORRECTED
        if own not in ranks[key]:
            ranks[key].add(own)
            refused.lost.append(sample)
    return refused if refused.mask.any() else None


def _within(batch: SampleBatch, gaps: Mapping[int, tuple[int, int]]) -> npt.NDArray[np.bool_]:
    series: Ints = np.array(sorted(gaps), np.int64)
    near = np.isin(batch.series, series)
    if near.any():
        bounds = np.array([gaps[each] for each in series.tolist()], np.int64)
        place = np.searchsorted(series, batch.series[near])
        time_us = batch.time_us[near]
        near[near] = (time_us >= bounds[place, 0]) & (time_us <= bounds[place, 1])
    return near

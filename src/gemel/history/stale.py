"""Days whose roll-ups a write made stale: they are read from samples until they are folded again."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from gemel.history.samples import Ints
from gemel.store.columns import bigints, timestamps
from gemel.store.database import WriteTransaction

__all__ = ["DAY_US", "EVERY_SERIES", "mark_stale"]

DAY_US = 86_400_000_000
EVERY_SERIES = -1
"""Stands in a mark for all series."""
INLINE_MAX = 2_000
MARKS_MAX = 500
"""How many marks a commit makes by series; where it would be more, days are marked for all series."""

# In the order of the key, so that it never waits for one who waits for it.
MARK = """
INSERT INTO rollup_stale (tenant, series, day, mark)
SELECT current_tenant(), series, day, %s FROM unnest(%s::bigint[], %s::timestamptz[]) AS k (series, day)
ON CONFLICT (tenant, series, day) DO UPDATE SET mark = excluded.mark"""


async def mark_stale(tx: WriteTransaction, series: Ints, time_us: Ints) -> None:
    """Mark what samples of these series and source times (int64[n] each, µs) make stale; most make nothing so."""
    rolling_us = tx.rolling_us
    if rolling_us is None:
        return
    old = time_us < rolling_us
    if not old.any():
        return
    frozen_us = tx.frozen_us or 0
    if len(series) < INLINE_MAX:
        keys = _marks(series[old], time_us[old], frozen_us)
    else:
        keys = await asyncio.to_thread(_marks, series[old], time_us[old], frozen_us)
    await tx.execute(MARK, (tx.recorded_us, bigints(keys[:, 0]), timestamps(keys[:, 1])))


def _marks(series: Ints, time_us: Ints, frozen_us: int) -> npt.NDArray[np.int64]:
    days = time_us // DAY_US * DAY_US
    keys = np.unique(np.stack((series, days), axis=1), axis=0)
    if len(keys) > MARKS_MAX:
        # In frozen weeks all is not there to be folded again: it is the series that were written to alone.
        cold = keys[:, 1] < frozen_us
        every = np.unique(keys[~cold, 1])
        all_of = np.stack((np.full(len(every), EVERY_SERIES, np.int64), every), axis=1)
        keys = np.concatenate((all_of, keys[cold]))
    return keys

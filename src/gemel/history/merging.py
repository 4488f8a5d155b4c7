"""Merging: small packs of a series that lie side by side are made few large ones.

What one packing finds of a series is a pack, however little it is; a series of a sample a minute would have a pack for
each. Where enough small ones wait, all that lies between the first and the last of them is cut anew, evenly.

A writer may take a pack apart at any time under its tenant's head, and so does whoever freezes; so a merge holds the
head while it works, some milliseconds. What is before the retention line is left to retention.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import psycopg

from gemel.history.packs import CUT, GATHERED, PACK_MAX, SETTINGS, WEEKLY, slices
from gemel.history.stored import EACH, WEEK

__all__ = ["merge_packs"]

SMALL = PACK_MAX // 2
"""A pack of fewer samples is small; the migration's index has the same number. Of two of more, none can be made."""
WAITING = 16
"""How many small packs of a series and week wait: each read of the series looks at them."""
SLICE_PACKS = 2_000
"""About how many packs are merged while the head is held."""

# Of a week that is long over, what little waits is merged as well.
DUE = f"""
SELECT tenant, series, min(first_time), max(first_time), count(*) FROM sample_pack
WHERE cardinality(source_times) < {SMALL}
GROUP BY tenant, series, {WEEKLY.format("first_time")}
HAVING count(*) >= %(waiting)s OR count(*) > 1 AND max(first_time) < now() - 2 * {WEEK}
ORDER BY tenant, series"""
HEAD = "SELECT retention_line FROM tenant_head WHERE tenant = %s FOR NO KEY UPDATE"
MERGE = f"""
WITH gone AS (
    DELETE FROM sample_pack AS p
    USING unnest(%(series)s::bigint[], %(low)s::timestamptz[], %(high)s::timestamptz[]) AS k (series, low, high)
    WHERE p.tenant = %(tenant)s AND p.series = k.series AND p.first_time >= k.low AND p.first_time <= k.high
    RETURNING p.series, p.source_times, p.recorded_times, p.nums, p.kinds),
packed AS ({GATHERED.format(series="pk.series", each=EACH)})
{CUT}"""


class _Due(NamedTuple):
    tenant: int
    series: int
    low: datetime
    high: datetime
    size: int


def merge_packs(
    owner: psycopg.Connection, waiting: int = WAITING, *, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Merge the small packs of each series and week that has at least so many; return how many packs went.

    Each slice of them is a transaction; one whose head is long in others' hands is left for the next time. The caller
    is alone in this, and packs nothing meanwhile.
    """
    owner.execute(SETTINGS)
    due = [_Due(*row) for row in owner.execute(DUE, {"waiting": waiting})]
    merged = 0
    for part in slices(due, SLICE_PACKS):
        if stopping():
            break
        try:
            merged += _merge(owner, part)
        except psycopg.errors.LockNotAvailable:
            continue
    return merged


def _merge(owner: psycopg.Connection, part: list[_Due]) -> int:
    with owner.transaction():
        (line,) = owner.execute(HEAD, (part[0].tenant,)).fetchone() or (None,)
        kept = [one for one in part if line is None or one.low >= line]
        given = {
            "tenant": part[0].tenant,
            "series": [one.series for one in kept],
            "low": [one.low for one in kept],
            "high": [one.high for one in kept],
        }
        owner.execute(MERGE, given)
    return sum(one.size for one in kept)

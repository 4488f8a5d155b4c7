"""State: the last sample of each series of some twins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from gemel.history.paths import Paths, path_no_of, series_of, twin_no_of
from gemel.history.values import QUALITIES, REMOVED, decode
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["StateValue", "forget_state", "read_state"]

# The bounds come as parameters: an operator that is not leakproof, such as <<, would keep row-level security
# from using the index.
READ = """
SELECT l.series, (extract(epoch FROM l.source_time) * 1000000)::bigint,
       (extract(epoch FROM l.recorded) * 1000000)::bigint, l.num, l.kind, l.doc, l.revision, l.quality
FROM unnest(%s::bigint[], %s::bigint[]) AS t (low, high)
CROSS JOIN LATERAL (
    SELECT * FROM latest WHERE tenant = current_tenant() AND series >= t.low AND series < t.high OFFSET 0) AS l
ORDER BY l.series"""

FORGET = "DELETE FROM latest WHERE tenant = current_tenant() AND series >= %s AND series < %s"


class StateValue(NamedTuple):
    """The last sample of a series; `removed` when it says that the property is no longer there."""

    path: str
    role: str
    series: int
    value: Any
    removed: bool
    source_time_us: int
    recorded_us: int
    revision: int
    quality: str


async def read_state(
    tx: ReadTransaction, paths: Paths, twin_nos: Collection[int]
) -> Mapping[int, list[StateValue]]:
    """Return the state of each twin by its number, in one query; a twin without samples has an empty list."""
    found: dict[int, list[StateValue]] = {twin_no: [] for twin_no in twin_nos}
    low = [series_of(twin_no, 0) for twin_no in twin_nos]
    high = [series_of(twin_no + 1, 0) for twin_no in twin_nos]
    rows = await tx.rows(READ, (low, high))
    keys = await paths.keys(tx, {path_no_of(row[0]) for row in rows})
    for series, source_time_us, recorded_us, num, kind, doc, revision, quality in rows:
        path, role = keys[path_no_of(series)]
        value = StateValue(
            path,
            role,
            series,
            decode(num, kind, doc),
            kind == REMOVED,
            source_time_us,
            recorded_us,
            revision,
            QUALITIES[quality],
        )
        found[twin_no_of(series)].append(value)
    return found


async def forget_state(tx: WriteTransaction, twin_no: int) -> None:
    """Drop the state of a twin that is no more; its history stays."""
    await tx.execute(FORGET, (series_of(twin_no, 0), series_of(twin_no + 1, 0)))

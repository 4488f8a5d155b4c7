"""Who did what was recorded at some moment: every write has recorded times of its own, and its audit row names them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from gemel.base.clock import from_us
from gemel.store.database import ReadTransaction

__all__ = ["Act", "read_acts"]

READ = """
SELECT k.us, a.actor, a.key_id, a.action, a.target, a.trace_id
FROM unnest(%s::bigint[], %s::timestamptz[]) AS k (us, recorded)
CROSS JOIN LATERAL (
    SELECT * FROM audit WHERE tenant = current_tenant() AND recorded_to >= k.recorded
    ORDER BY recorded_to LIMIT 1) AS a
WHERE a.recorded_from <= k.recorded"""


class Act(NamedTuple):
    """One write: who, under which key, did what to what, in which trace."""

    actor: str
    key_id: str | None
    action: str
    target: str
    trace_id: str


async def read_acts(tx: ReadTransaction, recorded_us: Collection[int]) -> dict[int, Act]:
    """Return the act that had each recorded time (µs), where it is known."""
    wanted = sorted(set(recorded_us))
    if not wanted:
        return {}
    rows = await tx.rows(READ, (wanted, [from_us(each) for each in wanted]))
    return {row[0]: Act(*row[1:]) for row in rows}

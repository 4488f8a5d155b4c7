"""Quarantine counted: by code, source, what they were read from, mapping, and hour or day of receipt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from gemel.base.clock import iso_us
from gemel.ingest.selection import Selection
from gemel.store.database import ReadTransaction

__all__ = ["Grouping", "count_groups"]

Grouping = Literal["code", "source", "readFrom", "mapping", "hour", "day"]

US = "(extract(epoch FROM {}) * 1000000)::bigint"
COLUMNS: dict[Grouping, str] = {
    "code": "code",
    "source": "source",
    "readFrom": "read_from",
    "mapping": "mapping",
    "hour": US.format("date_trunc('hour', received, 'UTC')"),
    "day": US.format("date_trunc('day', received, 'UTC')"),
}
GROUPS = f"""
SELECT count(*), sum(seen)::bigint, {US.format("min(received)")}, {US.format("max(received)")},
       min(quarantine_no), max(quarantine_no){{columns}}
FROM quarantine WHERE {{where}} {{grouping}} HAVING count(*) > 0 ORDER BY {{order}} LIMIT %(limit)s"""


async def count_groups(
    tx: ReadTransaction, selection: Selection, by: Sequence[Grouping], limit: int
) -> list[dict[str, Any]]:
    """Return the selected events by group, the largest first, or by time where they are grouped so.

    Each has the members asked for, `events`, `seen` (how often they came), `firstReceived`, `lastReceived`, and
    their lowest and highest numbers, `first` and `last`. With nothing to group by there is one; none where
    nothing is selected.
    """
    names = list(dict.fromkeys(by))
    columns = [COLUMNS[name] for name in names]
    times = [str(7 + place) for place, name in enumerate(names) if name in ("hour", "day")]
    where, parameters = selection.where()
    sql = GROUPS.format(
        where=where,
        columns="".join(f", {column}" for column in columns),
        grouping="GROUP BY " + ", ".join(str(7 + place) for place in range(len(names))) if names else "",
        order=", ".join([*times, "1 DESC", "5"]),
    )
    rows = await tx.rows(sql, {**parameters, "limit": limit})
    return [_group(names, row) for row in rows]


def _group(names: Sequence[Grouping], row: Sequence[Any]) -> dict[str, Any]:
    events, seen, first_us, last_us, first, last, *values = row
    own = {
        name: iso_us(value) if name in ("hour", "day") else value
        for name, value in zip(names, values, strict=True)
    }
    return own | {
        "events": events,
        "seen": seen,
        "firstReceived": iso_us(first_us),
        "lastReceived": iso_us(last_us),
        "first": first,
        "last": last,
    }

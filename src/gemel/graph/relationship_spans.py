"""When each relationship was, where to, and with which properties, on two axes as in `gemel.graph.spans`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gemel.base.clock import from_us
from gemel.graph.loading import MICROSECONDS
from gemel.store.columns import PgArray
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "end_relationship",
    "end_relationships",
    "ended_us",
    "open_relationship",
    "open_relationships",
    "turn_relationship",
]

Key = tuple[int, str]
"""The source's number and the relationship's id."""
What = tuple[str, int, str]
"""The name, the target's number, and the properties as JSON."""

COLUMNS = """
relationship_span (tenant, source_no, relationship_id, name, target_no, properties, valid_from, valid_to,
                   recorded_from)"""
OPEN = f"INSERT INTO {COLUMNS} VALUES (current_tenant(), %s, %s, %s, %s, %s::jsonb, %s, 'infinity', %s)"

END = f"""
WITH known AS (
    UPDATE relationship_span SET recorded_to = %s
    WHERE tenant = current_tenant() AND source_no = %s AND relationship_id = %s
      AND valid_to = 'infinity' AND recorded_to = 'infinity'
    RETURNING source_no, relationship_id, name, target_no, properties, valid_from)
INSERT INTO {COLUMNS}
SELECT current_tenant(), source_no, relationship_id, name, target_no, properties, valid_from, %s, %s
FROM known"""

OPEN_ALL = f"""
INSERT INTO {COLUMNS}
SELECT (SELECT current_tenant()), source_no, id, name, target_no, properties::jsonb, starts, 'infinity', recorded
FROM (SELECT %s::timestamptz AS recorded, unnest(%s::bigint[]) AS source_no, unnest(%s::text[]) AS id,
             unnest(%s::text[]) AS name, unnest(%s::bigint[]) AS target_no, unnest(%s::text[]) AS properties,
             unnest(%s::timestamptz[]) AS starts) AS w"""
END_ALL = f"""
WITH known AS (
    UPDATE relationship_span AS s SET recorded_to = %s
    FROM unnest(%s::bigint[], %s::text[]) AS w (source_no, id)
    WHERE s.tenant = current_tenant() AND s.source_no = w.source_no AND s.relationship_id = w.id
      AND s.valid_to = 'infinity' AND s.recorded_to = 'infinity'
    RETURNING s.source_no, s.relationship_id, s.name, s.target_no, s.properties, s.valid_from)
INSERT INTO {COLUMNS}
SELECT current_tenant(), source_no, relationship_id, name, target_no, properties, valid_from, %s, %s
FROM known"""

ENDED = f"""
SELECT coalesce(max({MICROSECONDS.format("valid_to")}), 0) FROM relationship_span
WHERE tenant = current_tenant() AND source_no = %s AND relationship_id = %s
  AND recorded_to = 'infinity' AND valid_to < 'infinity'"""


async def ended_us(tx: ReadTransaction, source_no: int, relationship_id: str) -> int:
    """Return when the last relationship of this id ended that is no more, or 0."""
    rows = await tx.rows(ENDED, (source_no, relationship_id))
    return int(rows[0][0])


async def open_relationship(
    tx: WriteTransaction, key: Key, what: What, moments: tuple[datetime, datetime]
) -> None:
    """Tell that a relationship is; `moments` are since when, and when we learnt it."""
    await tx.execute(OPEN, (*key, *what, *moments))


async def end_relationship(tx: WriteTransaction, source_no: int, relationship_id: str, stamp_us: int) -> None:
    """Tell that a relationship is no more from `stamp_us` on."""
    now = from_us(stamp_us)
    await tx.execute(END, (now, source_no, relationship_id, now, now))


async def turn_relationship(tx: WriteTransaction, key: Key, what: What, now: datetime) -> None:
    """Tell that a relationship is another from `now` on: other properties, target or name."""
    await tx.execute(END, (now, *key, now, now))
    await tx.execute(OPEN, (*key, *what, now, now))


async def open_relationships(tx: WriteTransaction, columns: Sequence[PgArray], now: datetime) -> None:
    """Tell that relationships are, as learnt at `now`.

    `columns` are the sources' numbers, ids, names, targets' numbers, properties as JSON, and since when.
    """
    await tx.execute(OPEN_ALL, (now, *columns))


async def end_relationships(tx: WriteTransaction, keys: Sequence[Key], now: datetime) -> None:
    """Tell that relationships are no more from `now` on."""
    await tx.execute(END_ALL, (now, [no for no, _ in keys], [each for _, each in keys], now, now))

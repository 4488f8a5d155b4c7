"""How far each source has been read, kept in the transaction that applies what was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["Position", "advance", "read_position"]

ADVANCE = """
INSERT INTO source_position (tenant, source, position, recorded)
SELECT current_tenant(), s, p, to_timestamp(0) + %s * interval '1 microsecond'
FROM unnest(%s::text[], %s::text[]) AS t (s, p)
ON CONFLICT (tenant, source) DO UPDATE SET position = excluded.position, recorded = excluded.recorded"""
READ = "SELECT position FROM source_position WHERE tenant = current_tenant() AND source = %s"


class Position(NamedTuple):
    """A source's name, and a text by which it can go on from where it was."""

    source: str
    position: str


async def advance(tx: WriteTransaction, positions: Sequence[Position]) -> None:
    """Keep positions; where a source has several, the last holds."""
    if positions:
        last = dict(positions)
        await tx.execute(ADVANCE, (tx.recorded_us, list(last), list(last.values())))


async def read_position(tx: ReadTransaction, source: str) -> str | None:
    """Return a source's position, or None if it has none."""
    row = await tx.row(READ, (source,))
    return None if row is None else str(row[0])

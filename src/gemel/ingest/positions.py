"""How far each source has been read, kept in the transaction that applies what was read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["Position", "advance", "forget_positions", "read_position", "read_positions"]

ADVANCE = """
INSERT INTO source_position (tenant, source, position, recorded)
SELECT current_tenant(), s, p, to_timestamp(0) + %s * interval '1 microsecond'
FROM unnest(%s::text[], %s::text[]) AS t (s, p)
ON CONFLICT (tenant, source) DO UPDATE SET position = excluded.position, recorded = excluded.recorded"""
READ_MANY = """
SELECT source, position FROM source_position WHERE tenant = current_tenant() AND source = ANY(%s::text[])"""
FORGET = "DELETE FROM source_position WHERE tenant = current_tenant() AND left(source, %s) = %s"
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


async def read_positions(tx: ReadTransaction, sources: Collection[str]) -> dict[str, str]:
    """Return the positions of those of some sources that have one."""
    return dict(await tx.rows(READ_MANY, (list(sources),)))


async def forget_positions(tx: WriteTransaction, prefix: str) -> None:
    """Forget the positions of all sources whose names begin so."""
    await tx.execute(FORGET, (len(prefix), prefix))

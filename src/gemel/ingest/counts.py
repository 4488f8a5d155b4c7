"""How many events wait in quarantine."""

from __future__ import annotations

from gemel.store.database import ReadTransaction

__all__ = ["count_quarantined"]

COUNT = "SELECT count(*) FROM quarantine WHERE tenant = current_tenant()"


async def count_quarantined(tx: ReadTransaction) -> int:
    """Return how many events of the tenant are in quarantine."""
    rows = await tx.rows(COUNT)
    return int(rows[0][0])

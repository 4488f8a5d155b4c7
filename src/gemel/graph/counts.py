"""How many models, twins and relationships a tenant has."""

from __future__ import annotations

from typing import NamedTuple

from gemel.store.database import ReadTransaction

__all__ = ["GraphCounts", "count_graph"]

COUNT = """
SELECT (SELECT count(*) FROM model WHERE tenant = current_tenant()),
       (SELECT count(*) FROM twin WHERE tenant = current_tenant()),
       (SELECT count(*) FROM relationship WHERE tenant = current_tenant())"""


class GraphCounts(NamedTuple):
    """The sizes of a tenant's graph."""

    models: int
    twins: int
    relationships: int


async def count_graph(tx: ReadTransaction) -> GraphCounts:
    """Return the sizes of the tenant's graph as this transaction sees it."""
    rows = await tx.rows(COUNT)
    return GraphCounts(*rows[0])

"""Delete many twins and relationships at once; their history stays, as after each DELETE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gemel.base.clock import from_us
from gemel.graph.context import GraphContext
from gemel.graph.model_log import ModelLogEntry, append_log
from gemel.graph.relating import told_relationship
from gemel.graph.relationship_reading import StoredRelationship
from gemel.graph.relationship_spans import end_relationships
from gemel.graph.spans import end_spans
from gemel.history.changes import append_all
from gemel.history.state import forget_states
from gemel.models.model_set import ModelSet
from gemel.store.database import WriteTransaction

__all__ = ["delete_all_models", "delete_some_relationships", "delete_some_twins"]

RELATIONSHIPS = """
DELETE FROM relationship AS r USING (
    SELECT source_no, relationship_id FROM relationship WHERE tenant = current_tenant()
    ORDER BY source_no, relationship_id LIMIT %s) AS w
WHERE r.tenant = current_tenant() AND r.source_no = w.source_no AND r.relationship_id = w.relationship_id
RETURNING r.relationship_id, r.source_no, r.target_no, r.name, r.properties"""
NAMES = "SELECT twin_no, twin_id FROM twin WHERE tenant = current_tenant() AND twin_no = ANY(%s)"
TWINS = """
DELETE FROM twin AS t USING (
    SELECT twin_no FROM twin WHERE tenant = current_tenant() ORDER BY twin_no LIMIT %s) AS w
WHERE t.tenant = current_tenant() AND t.twin_no = w.twin_no
RETURNING t.twin_no, t.twin_id, t.model_id, (extract(epoch FROM t.valid_from) * 1000000)::bigint"""
MODELS = "DELETE FROM model WHERE tenant = current_tenant() RETURNING model_id"


async def delete_some_relationships(tx: WriteTransaction, limit: int) -> int:
    """Delete at most so many relationships of the tenant; return how many there were."""
    rows = await tx.rows(RELATIONSHIPS, (limit,))
    if not rows:
        return 0
    numbers = {row[1] for row in rows} | {row[2] for row in rows}
    ids: dict[int, str] = {row[0]: row[1] for row in await tx.rows(NAMES, (list(numbers),))}
    stored = [
        StoredRelationship(key, ids[source], ids[target], name, properties, 0, 0, source, target)
        for key, source, target, name, properties in rows
    ]
    keys = [(each.source_no, each.relationship_id) for each in stored]
    await end_relationships(tx, keys, from_us(tx.stamp()))
    await append_all(tx, [("relationship.deleted", told_relationship(each)) for each in stored])
    return len(rows)


async def delete_some_twins(tx: WriteTransaction, limit: int) -> int:
    """Delete at most so many twins of the tenant, none of which has relationships; return how many there were."""
    rows = await tx.rows(TWINS, (limit,))
    if not rows:
        return 0
    numbers = [row[0] for row in rows]
    await forget_states(tx, numbers)
    await end_spans(tx, numbers, tx.stamp())
    tx.touch_graph()
    await append_all(tx, [("twin.deleted", _told(row)) for row in rows])
    return len(rows)


async def delete_all_models(tx: WriteTransaction, context: GraphContext, actor: str) -> int:
    """Delete all models of a tenant that has no twins; return how many there were."""
    rows = await tx.rows(MODELS)
    if rows:
        await context.library.replace(tx, ModelSet())
        await append_log(tx, [ModelLogEntry(row[0], actor, "deleted") for row in rows])
        await append_all(tx, [("model.deleted", {"model": row[0]}) for row in rows])
    return len(rows)


def _told(row: Sequence[Any]) -> dict[str, Any]:
    twin_no, twin_id, model_id, valid_from_us = row
    return {"twin": twin_id, "no": twin_no, "model": model_id, "validFrom": valid_from_us}

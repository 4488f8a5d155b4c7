"""Delete many twins and relationships at once; their history stays, as after each DELETE."""

from __future__ import annotations

from gemel.base.clock import from_us
from gemel.graph.context import GraphContext
from gemel.graph.loading import load_twins
from gemel.graph.model_log import ModelLogEntry, append_log
from gemel.graph.relationship_reading import StoredRelationship
from gemel.graph.relationship_spans import end_relationships
from gemel.graph.spans import end_spans
from gemel.graph.told import told_relationship, told_whole_twin
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
RETURNING r.relationship_id, r.source_no, r.target_no, r.name, r.properties,
          (extract(epoch FROM r.recorded) * 1000000)::bigint"""
NAMES = "SELECT twin_no, twin_id FROM twin WHERE tenant = current_tenant() AND twin_no = ANY(%s)"
NEXT = "SELECT twin_id FROM twin WHERE tenant = current_tenant() ORDER BY twin_no LIMIT %s"
TWINS = "DELETE FROM twin WHERE tenant = current_tenant() AND twin_no = ANY(%s)"
MODELS = "DELETE FROM model WHERE tenant = current_tenant() RETURNING model_id"


async def delete_some_relationships(tx: WriteTransaction, limit: int) -> int:
    """Delete at most so many relationships of the tenant; return how many there were."""
    rows = await tx.rows(RELATIONSHIPS, (limit,))
    if not rows:
        return 0
    numbers = {row[1] for row in rows} | {row[2] for row in rows}
    ids: dict[int, str] = {row[0]: row[1] for row in await tx.rows(NAMES, (list(numbers),))}
    stored = [
        StoredRelationship(key, ids[source], ids[target], name, properties, recorded_us, 0, source, target)
        for key, source, target, name, properties, recorded_us in rows
    ]
    keys = [(each.source_no, each.relationship_id) for each in stored]
    await end_relationships(tx, keys, from_us(tx.stamp()))
    await append_all(tx, [("relationship.deleted", told_relationship(each, each)) for each in stored])
    return len(rows)


async def delete_some_twins(tx: WriteTransaction, context: GraphContext, limit: int) -> int:
    """Delete at most so many twins of the tenant, none of which has relationships; return how many there were."""
    ids = [row[0] for row in await tx.rows(NEXT, (limit,))]
    if not ids:
        return 0
    twins = list((await load_twins(tx, context, ids)).values())
    numbers = [twin.row.twin_no for twin in twins]
    await forget_states(tx, numbers)
    await tx.execute(TWINS, (numbers,))
    await end_spans(tx, numbers, tx.stamp())
    tx.touch_graph()
    await append_all(tx, [("twin.deleted", told_whole_twin(twin)) for twin in twins])
    return len(twins)


async def delete_all_models(tx: WriteTransaction, context: GraphContext, actor: str) -> int:
    """Delete all models of a tenant that has no twins; return how many there were."""
    rows = await tx.rows(MODELS)
    if rows:
        await context.library.replace(tx, ModelSet())
        await append_log(tx, [ModelLogEntry(row[0], actor, "deleted") for row in rows])
        await append_all(tx, [("model.deleted", {"model": row[0]}) for row in rows])
    return len(rows)

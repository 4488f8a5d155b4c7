"""Twins: get, put, delete, and their components."""

from __future__ import annotations

from typing import Any

from gemel.base.errors import InvalidError
from gemel.graph.content import model_of
from gemel.graph.context import GraphContext
from gemel.graph.etag import UNCONDITIONAL, Conditions
from gemel.graph.live import TwinDocument
from gemel.graph.loading import documents, load_twin, load_twins
from gemel.graph.names import check_twin_id
from gemel.graph.neighbours import check_model_change
from gemel.graph.newborn import Newborns
from gemel.graph.putting import created, read_put, replaced
from gemel.graph.spans import end_spans
from gemel.graph.twin_patch import explicit_times_us
from gemel.graph.twin_rows import new_places, write_created, write_replaced
from gemel.graph.writing import existing_type, tell_twin, usable_type
from gemel.history.moment import LIVE, Moment
from gemel.history.state import forget_states
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "TwinDocument",
    "delete_twin",
    "documents",
    "explicit_times_us",
    "get_component",
    "get_twin",
    "put_twin",
]

RELATED = """
SELECT (SELECT count(*) FROM relationship WHERE tenant = current_tenant() AND source_no = %s),
       (SELECT count(*) FROM relationship WHERE tenant = current_tenant() AND target_no = %s)"""
DELETE = "DELETE FROM twin WHERE tenant = current_tenant() AND twin_no = %s"


async def get_twin(
    tx: ReadTransaction, context: GraphContext, twin_id: str, moment: Moment = LIVE
) -> TwinDocument:
    """Return a twin, as it is or as it was at a moment.

    Raises InvalidError (InvalidArgument, MomentBeforeRetention), NotFoundError (DigitalTwinNotFound).
    """
    check_twin_id(twin_id)
    return (await load_twin(tx, context, twin_id, moment)).document()


async def get_component(
    tx: ReadTransaction, context: GraphContext, twin_id: str, component: str, moment: Moment = LIVE
) -> TwinDocument:
    """Return a component of a twin by its dotted path; its entity tag is the twin's.

    Raises NotFoundError (DigitalTwinNotFound, ComponentNotFound), InvalidError (MomentBeforeRetention).
    """
    check_twin_id(twin_id)
    return (await load_twin(tx, context, twin_id, moment)).component(component)


async def put_twin(
    tx: WriteTransaction,
    context: GraphContext,
    twin_id: str,
    body: Any,
    *,
    conditions: Conditions = UNCONDITIONAL,
    valid_from_us: int | None = None,
) -> TwinDocument:
    """Create a twin, or replace the properties and model of one; return it as GET does.

    `body` is as ADT takes it; `valid_from_us` (else `$metadata.$validFrom`) says since when a new twin has been
    there, and then its first values have been so since, too. On a twin that exists it can only move the start
    back. A new twin is active unless `$lifecycle` says otherwise.
    Await `context.prepare(explicit_times_us(body))` before the transaction opens.
    Raises InvalidError (InvalidArgument, ValidationFailed, ModelDecommissioned), PreconditionError.
    """
    check_twin_id(twin_id)
    model_id = model_of(body)
    before = (await load_twins(tx, context, [twin_id])).get(twin_id)
    conditions.check(before.etag if before else None, "twin", twin_id)
    keeps_model = before is not None and before.row.model_id == model_id
    twin_type = await (existing_type if keeps_model else usable_type)(tx, context.library, model_id)
    put = read_put(twin_id, body, twin_type, valid_from_us)
    if before is not None and not keeps_model:
        await check_model_change(tx, context, before.row.twin_no, twin_type)
    stamp_us = tx.stamp()
    limits = context.limits(tx, stamp_us)
    if before is None:
        [(twin_no, floor_us)] = await new_places(tx, [twin_id])
        outcome = created(put, twin_no, floor_us, stamp_us, limits)
        born = Newborns(stamp_us)
        born.add(outcome, twin_type)
        await write_created(tx, context, born)
    else:
        outcome = replaced(put, before, stamp_us, limits)
        await write_replaced(tx, context, [(before, outcome)])
    return outcome.twin.document()


async def delete_twin(
    tx: WriteTransaction, context: GraphContext, twin_id: str, conditions: Conditions = UNCONDITIONAL
) -> None:
    """Delete a twin that has no relationships; its history stays, and a twin made anew does not inherit it.

    Raises NotFoundError (DigitalTwinNotFound), PreconditionError, InvalidError (RelationshipsNotDeleted).
    """
    check_twin_id(twin_id)
    twin = await load_twin(tx, context, twin_id)
    conditions.check(twin.etag, "twin", twin_id)
    no = twin.row.twin_no
    related = await tx.row(RELATED, (no, no))
    if related is not None and any(related):
        raise InvalidError(
            "RelationshipsNotDeleted",
            f"The twin {twin_id} has {related[0]} outgoing and {related[1]} incoming relationships.",
            "Delete them first.",
        )
    await forget_states(tx, [no])
    await tx.execute(DELETE, (no,))
    await end_spans(tx, [no], tx.stamp())
    tx.touch_graph()
    await tell_twin(tx, "twin.deleted", twin)

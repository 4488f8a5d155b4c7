"""Twins: get, put, delete, and their components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from gemel.base.clock import from_us
from gemel.base.errors import InvalidError
from gemel.graph.changing import Change, Limits, change_twin, time_fault
from gemel.graph.content import (
    LIFECYCLE,
    METADATA,
    VALID_FROM,
    model_of,
    parse_time_us,
    raise_faults,
    read_twin,
)
from gemel.graph.context import GraphContext
from gemel.graph.etag import check_if_match, check_if_none_match
from gemel.graph.lifecycle import ACTIVE, LIFECYCLE_HINT, check_state
from gemel.graph.live import LiveTwin, TwinDocument, TwinRow
from gemel.graph.loading import documents, load_twin, load_twins
from gemel.graph.names import check_twin_id
from gemel.graph.spans import end_span, open_spans
from gemel.graph.timeline import Standing
from gemel.graph.twin_patch import explicit_times_us
from gemel.graph.writing import (
    existing_type,
    number_paths,
    tell_twin,
    usable_type,
    write_properties,
    write_row,
)
from gemel.history.moment import LIVE, Moment
from gemel.history.state import forget_state
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "TwinDocument",
    "delete_twin",
    "documents",
    "explicit_times_us",
    "get_component",
    "get_twin",
    "put_twin",
    "valid_from_of",
]

NEXT = """
SELECT nextval('twin_no'), coalesce(max((extract(epoch FROM valid_to) * 1000000)::bigint), 0) FROM twin_span
WHERE tenant = current_tenant() AND twin_id = %s AND recorded_to = 'infinity' AND valid_to < 'infinity'"""
INSERT = """
INSERT INTO twin (tenant, twin_no, twin_id, model_id, components, lifecycle, valid_from, created, recorded)
VALUES (current_tenant(), %s, %s, %s, %s::jsonb, %s, %s, %s, %s)"""
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


def valid_from_of(body: Any) -> int | None:
    """Return the `$metadata.$validFrom` of a twin's body in µs, or None where there is none.

    Raises InvalidError (InvalidArgument) where it is not an RFC 3339 time with a zone.
    """
    metadata = body.get(METADATA) if isinstance(body, dict) else None
    if not isinstance(metadata, dict) or VALID_FROM not in metadata:
        return None
    time_us = parse_time_us(metadata[VALID_FROM])
    if time_us is None:
        raise InvalidError("InvalidArgument", "$metadata.$validFrom is not an RFC 3339 time with a zone.")
    return time_us


async def put_twin(
    tx: WriteTransaction,
    context: GraphContext,
    twin_id: str,
    body: Any,
    *,
    if_none_match: str | None = None,
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
    valid_from_us = valid_from_of(body) if valid_from_us is None else valid_from_us
    model_id = model_of(body)
    before = (await load_twins(tx, context, [twin_id])).get(twin_id)
    check_if_none_match(if_none_match, before is not None, f"twin with the id {twin_id}")
    keeps_model = before is not None and before.row.model_id == model_id
    twin_type = await (existing_type if keeps_model else usable_type)(tx, context.library, model_id)
    content = read_twin(body, twin_type)
    raise_faults(content)
    change = Change(twin_type, content.values, times_us=content.times_us, restamped=True)
    lifecycle = _lifecycle_of(body, before)
    if before is None:
        born = TwinRow(0, twin_id, model_id, {}, 0, 0, 0, 0, lifecycle)
        return await _create(tx, context, born, change, valid_from_us)
    return await _replace(tx, context, before, change, valid_from_us)


async def delete_twin(
    tx: WriteTransaction, context: GraphContext, twin_id: str, if_match: str | None = None
) -> None:
    """Delete a twin that has no relationships; its history stays, and a twin made anew does not inherit it.

    Raises NotFoundError (DigitalTwinNotFound), PreconditionError, InvalidError (RelationshipsNotDeleted).
    """
    check_twin_id(twin_id)
    twin = await load_twin(tx, context, twin_id)
    check_if_match(if_match, twin.etag, f"the twin {twin_id}")
    no = twin.row.twin_no
    related = await tx.row(RELATED, (no, no))
    if related is not None and any(related):
        raise InvalidError(
            "RelationshipsNotDeleted",
            f"The twin {twin_id} has {related[0]} outgoing and {related[1]} incoming relationships.",
            "Delete them first.",
        )
    await forget_state(tx, no)
    await tx.execute(DELETE, (no,))
    await end_span(tx, no, tx.stamp())
    tx.touch_graph()
    await tell_twin(tx, "twin.deleted", twin)


async def _create(
    tx: WriteTransaction, context: GraphContext, born: TwinRow, change: Change, valid_from_us: int | None
) -> TwinDocument:
    stamp_us = tx.stamp()
    limits = context.limits(tx, stamp_us)
    rows = await tx.rows(NEXT, (born.twin_id,))
    twin_no, floor_us = int(rows[0][0]), int(rows[0][1])
    if valid_from_us is not None:
        valid_from_us = _checked_start(valid_from_us, stamp_us, limits, floor_us)
        change = replace(change, at_us=max(valid_from_us, limits.earliest_us))
    start_us = stamp_us if valid_from_us is None else valid_from_us
    born = born._replace(
        twin_no=twin_no,
        valid_from_us=start_us,
        created_us=stamp_us,
        recorded_us=stamp_us,
        floor_us=floor_us,
    )
    outcome = change_twin(LiveTwin(born), change, stamp_us, limits)
    row = outcome.twin.row
    moments = (from_us(row.valid_from_us), from_us(stamp_us), from_us(stamp_us))
    components = msgspec.json.encode(row.components).decode()
    await tx.execute(INSERT, (twin_no, row.twin_id, row.model_id, components, row.lifecycle, *moments))
    standing = Standing(row.model_id, row.components, row.lifecycle)
    await open_spans(tx, [(twin_no, row.twin_id, row.valid_from_us)], standing, stamp_us)
    tx.touch_graph()
    await number_paths(tx, context, change.twin_type)
    await tell_twin(tx, "twin.created", outcome.twin)
    await write_properties(tx, context, outcome.samples)
    return outcome.twin.document()


async def _replace(
    tx: WriteTransaction, context: GraphContext, before: LiveTwin, change: Change, valid_from_us: int | None
) -> TwinDocument:
    stamp_us = tx.stamp()
    limits = context.limits(tx, stamp_us)
    kept = change.values.keys()
    removed = frozenset(
        path for path, held in before.properties.items() if not held.removed and path not in kept
    )
    outcome = change_twin(before, replace(change, removed=removed), stamp_us, limits)
    after = outcome.twin
    if valid_from_us is not None:
        start_us = _checked_start(valid_from_us, stamp_us, limits, before.row.floor_us)
        after = LiveTwin(
            after.row._replace(valid_from_us=min(start_us, after.row.valid_from_us)), after.properties
        )
    await write_row(tx, context, before, after)
    more = {} if after.row.model_id == before.row.model_id else {"previousModel": before.row.model_id}
    await tell_twin(tx, "twin.updated", after, **more)
    await write_properties(tx, context, outcome.samples)
    return after.document()


def _lifecycle_of(body: Mapping[str, Any], before: LiveTwin | None) -> str:
    """Return the state of a twin that a body makes, or leaves."""
    if before is None:
        return check_state(body.get(LIFECYCLE, ACTIVE))
    if body.get(LIFECYCLE, before.row.lifecycle) != before.row.lifecycle:
        raise InvalidError(
            "InvalidArgument",
            f"The twin {before.row.twin_id} is {before.row.lifecycle}, and a PUT does not change its $lifecycle.",
            LIFECYCLE_HINT,
        )
    return before.row.lifecycle


def _checked_start(valid_from_us: int, stamp_us: int, limits: Limits, floor_us: int) -> int:
    fault = time_fault(valid_from_us, limits._replace(earliest_us=0), floor_us)
    if fault is not None:
        raise InvalidError("InvalidArgument", f"$metadata.$validFrom {fault.message}")
    return min(valid_from_us, stamp_us)

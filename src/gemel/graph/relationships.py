"""Relationships written: put, patch and delete."""

from __future__ import annotations

from typing import Any

import msgspec

from gemel.base.clock import from_us
from gemel.graph.context import GraphContext
from gemel.graph.etag import UNCONDITIONAL, Conditions
from gemel.graph.jsonpatch import apply, invalid, parse_operations, pointer_text
from gemel.graph.names import check_relationship_id
from gemel.graph.neighbours import count_named
from gemel.graph.relating import (
    VALID_FROM,
    allowed,
    check_properties,
    ends_of,
    properties_of,
    refuse_loop,
    start_of,
    target_not_found,
)
from gemel.graph.relationship_reading import (
    RelationshipDocument,
    StoredRelationship,
    TwinEnd,
    find_end,
    find_relationship,
    load_end,
    load_relationship,
)
from gemel.graph.relationship_spans import (
    end_relationship,
    ended_us,
    open_relationship,
    turn_relationship,
)
from gemel.graph.told import told_relationship
from gemel.graph.writing import existing_type
from gemel.history.changes import append
from gemel.models import Relationship
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["delete_relationship", "patch_relationship", "put_relationship"]

PUT = """
INSERT INTO relationship (tenant, source_no, relationship_id, name, target_no, properties, valid_from, recorded)
VALUES (current_tenant(), %s, %s, %s, %s, %s::jsonb, %s, %s)
ON CONFLICT (tenant, source_no, relationship_id) DO UPDATE SET name = excluded.name,
    target_no = excluded.target_no, properties = excluded.properties, valid_from = excluded.valid_from,
    recorded = excluded.recorded"""
DELETE = (
    "DELETE FROM relationship WHERE tenant = current_tenant() AND source_no = %s AND relationship_id = %s"
)


async def put_relationship(
    tx: WriteTransaction,
    context: GraphContext,
    twin_id: str,
    relationship_id: str,
    body: Any,
    *,
    conditions: Conditions = UNCONDITIONAL,
) -> RelationshipDocument:
    """Create a relationship, or replace one; return it as GET does.

    `body` has `$targetId`, `$relationshipName`, properties, and for one that has been so for longer
    `$validFrom`. Raises InvalidError (InvalidArgument, InvalidRelationship, MaxMultiplicityExceeded,
    OperationNotAllowed for a loop, ValidationFailed), NotFoundError (DigitalTwinNotFound, TargetTwinNotFound),
    PreconditionError.
    """
    check_relationship_id(relationship_id)
    target_id, name = ends_of(body)
    source = await load_end(tx, twin_id)
    existing = await find_relationship(tx, source, relationship_id)
    conditions.check(existing.etag if existing else None, "relationship", relationship_id)
    refuse_loop(relationship_id, twin_id, target_id)
    target = await find_end(tx, target_id)
    if target is None:
        raise target_not_found(target_id)
    relationship = await _allowed(tx, context, source, name, target)
    properties = properties_of(body)
    check_properties(properties, name, relationship)
    if relationship.max_multiplicity is not None:
        counts = await count_named(tx, [(source.twin_no, name)])
        counts.admit((source.twin_no, twin_id), relationship, existing.name if existing else None)
    stamp_us = tx.stamp()
    start_us = stamp_us
    if VALID_FROM in body and existing is None:
        floor_us = await ended_us(tx, source.twin_no, relationship_id)
        start_us = start_of(body, stamp_us, max(source.valid_from_us, target.valid_from_us), floor_us)
    stored = StoredRelationship(
        relationship_id,
        twin_id,
        target_id,
        name,
        properties,
        stamp_us,
        start_us,
        source.twin_no,
        target.twin_no,
    )
    await _write(tx, stored, existing)
    return stored.document()


async def patch_relationship(
    tx: WriteTransaction,
    context: GraphContext,
    twin_id: str,
    relationship_id: str,
    patch: Any,
    *,
    conditions: Conditions = UNCONDITIONAL,
) -> str:
    """Apply a JSON Patch to a relationship's properties; return its new entity tag.

    Raises NotFoundError, PreconditionError, InvalidError (JsonPatchInvalid, ValidationFailed).
    """
    existing = await load_relationship(tx, twin_id, relationship_id)
    conditions.check(existing.etag, "relationship", relationship_id)
    operations = parse_operations(patch)
    for operation in operations:
        if not operation.pointer or operation.pointer[0].startswith("$"):
            raise invalid(f"'{pointer_text(operation.pointer)}' cannot be patched.")
    properties = apply(existing.properties, operations)
    source_type = await existing_type(tx, context.library, (await load_end(tx, twin_id)).model_id)
    relationship = source_type.relationships.get(existing.name)
    check_properties(properties, existing.name, relationship)
    stamp_us = tx.stamp()
    stored = existing._replace(properties=properties, recorded_us=stamp_us, valid_from_us=stamp_us)
    await _write(tx, stored, existing)
    return stored.etag


async def delete_relationship(
    tx: WriteTransaction, twin_id: str, relationship_id: str, conditions: Conditions = UNCONDITIONAL
) -> None:
    """Delete a relationship; its history stays.

    Raises NotFoundError (DigitalTwinNotFound, RelationshipNotFound), PreconditionError.
    """
    existing = await load_relationship(tx, twin_id, relationship_id)
    conditions.check(existing.etag, "relationship", relationship_id)
    await tx.execute(DELETE, (existing.source_no, relationship_id))
    await end_relationship(tx, existing.source_no, relationship_id, tx.stamp())
    await _tell(tx, "relationship.deleted", existing, existing)


async def _allowed(
    tx: ReadTransaction, context: GraphContext, source: TwinEnd, name: str, target: TwinEnd
) -> Relationship:
    source_type = await existing_type(tx, context.library, source.model_id)
    return allowed(source_type, name, target.model_id, await context.library.models(tx))


async def _write(
    tx: WriteTransaction, stored: StoredRelationship, existing: StoredRelationship | None
) -> None:
    properties = msgspec.json.encode(stored.properties).decode()
    moments = (from_us(stored.valid_from_us), from_us(stored.recorded_us))
    key = (stored.source_no, stored.relationship_id)
    what = (stored.name, stored.target_no, properties)
    await tx.execute(PUT, (*key, *what, *moments))
    if existing is None:
        await open_relationship(tx, key, what, moments)
    else:
        await turn_relationship(tx, key, what, moments[1])
    await _tell(tx, "relationship.created" if existing is None else "relationship.updated", stored, existing)


async def _tell(
    tx: WriteTransaction, kind: str, stored: StoredRelationship, before: StoredRelationship | None
) -> None:
    await append(tx, kind, told_relationship(stored, before))

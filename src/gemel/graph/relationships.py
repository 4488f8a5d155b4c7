"""Relationships: get, put, patch, delete, and the lists of a twin's outgoing and incoming ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from gemel.base.clock import from_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.graph.content import Content, parse_time_us, raise_faults
from gemel.graph.context import GraphContext
from gemel.graph.etag import check_if_match, check_if_none_match, etag
from gemel.graph.jsonpatch import apply, invalid, parse_operations, pointer_text
from gemel.graph.loading import MICROSECONDS, twin_not_found
from gemel.graph.names import check_relationship_id, check_twin_id
from gemel.graph.paging import Page, check_page_size, decode_token, encode_token
from gemel.graph.relationship_spans import end_relationship, open_relationship, turn_relationship
from gemel.graph.writing import existing_type
from gemel.history.changes import append
from gemel.history.values import encode
from gemel.models import Relationship, validate_value
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = [
    "RelationshipDocument",
    "delete_relationship",
    "get_relationship",
    "list_incoming",
    "list_relationships",
    "patch_relationship",
    "put_relationship",
]

VALID_FROM = "$validFrom"
HEADER = ("$relationshipId", "$sourceId", "$targetId", "$relationshipName", "$etag", VALID_FROM)
OUTGOING, INCOMING = "relationships", "incoming"

TWIN = f"""
SELECT twin_no, model_id, {MICROSECONDS.format("valid_from")} FROM twin
WHERE tenant = current_tenant() AND twin_id = %s"""
COLUMNS = f"""
r.relationship_id, s.twin_id, t.twin_id, r.name, r.properties, {MICROSECONDS.format("r.recorded")},
{MICROSECONDS.format("r.valid_from")}, r.source_no, r.target_no"""
FROM = """
FROM relationship AS r
JOIN twin AS s ON s.tenant = r.tenant AND s.twin_no = r.source_no
JOIN twin AS t ON t.tenant = r.tenant AND t.twin_no = r.target_no
WHERE r.tenant = current_tenant()"""
GET = f"SELECT {COLUMNS} {FROM} AND r.source_no = %s AND r.relationship_id = %s"
LIST = f"""
SELECT {COLUMNS} {FROM} AND r.source_no = %s AND (%s::text IS NULL OR r.name = %s) AND r.relationship_id > %s
ORDER BY r.relationship_id LIMIT %s"""
LIST_INCOMING = f"""
SELECT {COLUMNS} {FROM} AND r.target_no = %s AND (r.source_no, r.relationship_id) > (%s, %s)
ORDER BY r.source_no, r.relationship_id LIMIT %s"""
PUT = """
INSERT INTO relationship (tenant, source_no, relationship_id, name, target_no, properties, valid_from, recorded)
VALUES (current_tenant(), %s, %s, %s, %s, %s::jsonb, %s, %s)
ON CONFLICT (tenant, source_no, relationship_id) DO UPDATE SET name = excluded.name,
    target_no = excluded.target_no, properties = excluded.properties, valid_from = excluded.valid_from,
    recorded = excluded.recorded"""
DELETE = (
    "DELETE FROM relationship WHERE tenant = current_tenant() AND source_no = %s AND relationship_id = %s"
)


class _Twin(NamedTuple):
    twin_no: int
    model_id: str
    valid_from_us: int


class _Stored(NamedTuple):
    relationship_id: str
    source_id: str
    target_id: str
    name: str
    properties: dict[str, Any]
    recorded_us: int
    valid_from_us: int
    source_no: int
    target_no: int

    @property
    def etag(self) -> str:
        return etag(self.source_no, self.recorded_us)


@dataclass(frozen=True, slots=True)
class RelationshipDocument:
    """What the API gives of a relationship, and its entity tag."""

    body: dict[str, Any]
    etag: str


async def get_relationship(tx: ReadTransaction, twin_id: str, relationship_id: str) -> RelationshipDocument:
    """Return a relationship. Raises NotFoundError (DigitalTwinNotFound, RelationshipNotFound)."""
    return _document(await _load(tx, twin_id, relationship_id))


async def put_relationship(
    tx: WriteTransaction,
    context: GraphContext,
    twin_id: str,
    relationship_id: str,
    body: Any,
    *,
    if_none_match: str | None = None,
) -> RelationshipDocument:
    """Create a relationship, or replace one; return it as GET does.

    `body` has `$targetId`, `$relationshipName`, properties, and for one that has been so for longer
    `$validFrom`. Raises InvalidError (InvalidArgument, InvalidRelationship, OperationNotAllowed for a loop,
    ValidationFailed), NotFoundError (DigitalTwinNotFound, TargetTwinNotFound), PreconditionError.
    """
    check_relationship_id(relationship_id)
    target_id, name = _ends(body)
    source = await _twin(tx, twin_id)
    existing = await _find(tx, source, relationship_id)
    what = f"relationship with the id {relationship_id}"
    check_if_none_match(if_none_match, existing is not None, what)
    if target_id == twin_id:
        raise InvalidError(
            "OperationNotAllowed",
            f"The relationship {relationship_id} would lead from {twin_id} to itself.",
            "Source and target must be different twins.",
        )
    target = await _target(tx, target_id)
    relationship = await _allowed(tx, context, source, name, target)
    properties = {key: value for key, value in body.items() if key not in HEADER}
    _validate(properties, name, relationship)
    stamp_us = tx.stamp()
    start_us = _start_us(body, stamp_us, source, target, existing)
    stored = _Stored(
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
    return _document(stored)


async def patch_relationship(
    tx: WriteTransaction,
    context: GraphContext,
    twin_id: str,
    relationship_id: str,
    patch: Any,
    *,
    if_match: str | None = None,
) -> str:
    """Apply a JSON Patch to a relationship's properties; return its new entity tag.

    Raises NotFoundError, PreconditionError, InvalidError (JsonPatchInvalid, ValidationFailed).
    """
    existing = await _load(tx, twin_id, relationship_id)
    check_if_match(if_match, existing.etag, f"the relationship {relationship_id}")
    operations = parse_operations(patch)
    for operation in operations:
        if not operation.pointer or operation.pointer[0].startswith("$"):
            raise invalid(f"'{pointer_text(operation.pointer)}' cannot be patched.")
    properties = apply(existing.properties, operations)
    source_type = await existing_type(tx, context.library, (await _twin(tx, twin_id)).model_id)
    relationship = source_type.relationships.get(existing.name)
    _validate(properties, existing.name, relationship)
    stamp_us = tx.stamp()
    stored = existing._replace(properties=properties, recorded_us=stamp_us, valid_from_us=stamp_us)
    await _write(tx, stored, existing)
    return stored.etag


async def delete_relationship(
    tx: WriteTransaction, twin_id: str, relationship_id: str, if_match: str | None = None
) -> None:
    """Delete a relationship; its history stays.

    Raises NotFoundError (DigitalTwinNotFound, RelationshipNotFound), PreconditionError.
    """
    existing = await _load(tx, twin_id, relationship_id)
    check_if_match(if_match, existing.etag, f"the relationship {relationship_id}")
    await tx.execute(DELETE, (existing.source_no, relationship_id))
    await end_relationship(tx, existing.source_no, relationship_id, tx.stamp())
    await _tell(tx, "relationship.deleted", existing)


async def list_relationships(
    tx: ReadTransaction,
    twin_id: str,
    name: str | None = None,
    *,
    page_size: int | None = None,
    token: str | None = None,
) -> Page:
    """Return a page of the relationships that leave a twin, in the order of ids, of one name if given.

    Raises NotFoundError (DigitalTwinNotFound), InvalidError (InvalidArgument).
    """
    source = await _twin(tx, twin_id)
    after = decode_token(token, OUTGOING, after=str)["after"] if token is not None else ""
    size = check_page_size(page_size)
    rows = await tx.rows(LIST, (source.twin_no, name, name, after, size + 1))
    stored = [_Stored(*row) for row in rows[:size]]
    following = encode_token(OUTGOING, after=stored[-1].relationship_id) if len(rows) > size else None
    return Page([_document(each).body for each in stored], following)


async def list_incoming(
    tx: ReadTransaction, twin_id: str, *, page_size: int | None = None, token: str | None = None
) -> Page:
    """Return a page of the relationships that lead to a twin.

    Raises NotFoundError (DigitalTwinNotFound), InvalidError (InvalidArgument).
    """
    target = await _twin(tx, twin_id)
    state = decode_token(token, INCOMING, no=int, after=str) if token is not None else {"no": 0, "after": ""}
    size = check_page_size(page_size)
    rows = await tx.rows(LIST_INCOMING, (target.twin_no, state["no"], state["after"], size + 1))
    stored = [_Stored(*row) for row in rows[:size]]
    following = None
    if len(rows) > size:
        following = encode_token(INCOMING, no=stored[-1].source_no, after=stored[-1].relationship_id)
    return Page([_incoming(each) for each in stored], following)


async def _twin(tx: ReadTransaction, twin_id: str) -> _Twin:
    check_twin_id(twin_id)
    row = await tx.row(TWIN, (twin_id,))
    if row is None:
        raise twin_not_found(twin_id)
    return _Twin(*row)


async def _target(tx: ReadTransaction, twin_id: str) -> _Twin:
    check_twin_id(twin_id)
    row = await tx.row(TWIN, (twin_id,))
    if row is None:
        raise NotFoundError(
            "TargetTwinNotFound",
            "The target digital twin is invalid or does not exist. Please validate that the target twin is "
            f"valid and ensure that the target twin is not deleted: {twin_id}.",
        )
    return _Twin(*row)


async def _find(tx: ReadTransaction, source: _Twin, relationship_id: str) -> _Stored | None:
    row: Row | None = await tx.row(GET, (source.twin_no, relationship_id))
    return None if row is None else _Stored(*row)


async def _load(tx: ReadTransaction, twin_id: str, relationship_id: str) -> _Stored:
    check_relationship_id(relationship_id)
    stored = await _find(tx, await _twin(tx, twin_id), relationship_id)
    if stored is None:
        raise NotFoundError(
            "RelationshipNotFound", f"The twin {twin_id} has no relationship with the ID {relationship_id}."
        )
    return stored


def _ends(body: Any) -> tuple[str, str]:
    if isinstance(body, dict):
        target_id, name = body.get("$targetId"), body.get("$relationshipName")
        if isinstance(target_id, str) and isinstance(name, str):
            return target_id, name
    message = "A relationship must be an object with $targetId and $relationshipName."
    raise InvalidError("InvalidArgument", message)


async def _allowed(
    tx: ReadTransaction, context: GraphContext, source: _Twin, name: str, target: _Twin
) -> Relationship:
    source_type = await existing_type(tx, context.library, source.model_id)
    relationship = source_type.relationships.get(name)
    if relationship is None:
        raise InvalidError(
            "InvalidRelationship", f"The model {source.model_id} has no relationship named {name}."
        )
    models = await context.library.models(tx)
    if relationship.target is not None and not models.is_a(target.model_id, relationship.target):
        raise InvalidError(
            "InvalidRelationship",
            f"The relationship {name} leads to twins of {relationship.target}, and {target.model_id} is none.",
        )
    return relationship


def _validate(properties: Any, name: str, relationship: Relationship | None) -> None:
    content = Content()
    known = relationship.properties if relationship is not None else {}
    for key, value in properties.items():
        if key not in known:
            content.fault(f"{key} does not appear on the DTDL for relationship {name}.")
            continue
        reason = validate_value(known[key].schema, value)
        if reason is not None:
            content.fault(f"{key} on relationship {name}: {reason}")
    raise_faults(content, "Invalid relationship specified")
    encode(properties, "json")


def _start_us(body: Any, stamp_us: int, source: _Twin, target: _Twin, existing: _Stored | None) -> int:
    if VALID_FROM not in body or existing is not None:
        return stamp_us
    start_us = parse_time_us(body[VALID_FROM])
    if start_us is None:
        raise InvalidError("InvalidArgument", "$validFrom is not an RFC 3339 time with a zone.")
    if start_us > stamp_us:
        raise InvalidError("InvalidArgument", "$validFrom is in the future.")
    if start_us < max(source.valid_from_us, target.valid_from_us):
        message = "$validFrom is before one of the twins was there."
        raise InvalidError("InvalidArgument", message, "Move the twin's own $validFrom back first.")
    return start_us


async def _write(tx: WriteTransaction, stored: _Stored, existing: _Stored | None) -> None:
    properties = msgspec.json.encode(stored.properties).decode()
    moments = (from_us(stored.valid_from_us), from_us(stored.recorded_us))
    key = (stored.source_no, stored.relationship_id)
    what = (stored.name, stored.target_no, properties)
    await tx.execute(PUT, (*key, *what, *moments))
    if existing is None:
        await open_relationship(tx, key, what, moments)
    else:
        await turn_relationship(tx, key, what, moments[1])
    await _tell(tx, "relationship.created" if existing is None else "relationship.updated", stored)


async def _tell(tx: WriteTransaction, kind: str, stored: _Stored) -> None:
    payload = {
        "twin": stored.source_id,
        "no": stored.source_no,
        "relationship": stored.relationship_id,
        "name": stored.name,
        "target": stored.target_id,
        "properties": stored.properties,
    }
    await append(tx, kind, payload)


def _document(stored: _Stored) -> RelationshipDocument:
    tag = stored.etag
    body = {
        "$relationshipId": stored.relationship_id,
        "$etag": tag,
        "$sourceId": stored.source_id,
        "$relationshipName": stored.name,
        "$targetId": stored.target_id,
        **stored.properties,
    }
    return RelationshipDocument(body, tag)


def _incoming(stored: _Stored) -> dict[str, Any]:
    return {
        "$relationshipId": stored.relationship_id,
        "$sourceId": stored.source_id,
        "$relationshipName": stored.name,
        "$relationshipLink": "/digitaltwins/{}/relationships/{}".format(
            quote(stored.source_id, safe=""), quote(stored.relationship_id, safe="")
        ),
    }

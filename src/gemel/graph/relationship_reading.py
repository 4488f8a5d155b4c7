"""Relationships read, as they are or as they were at a moment: one, those of a twin, and those to it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from gemel.base.errors import NotFoundError
from gemel.graph.etag import etag
from gemel.graph.loading import MICROSECONDS, twin_not_found
from gemel.graph.names import check_relationship_id, check_twin_id
from gemel.graph.paging import Listing, Page
from gemel.history.moment import LIVE, Moment, span_then
from gemel.store.database import ReadTransaction

__all__ = [
    "TOLD",
    "RelationshipDocument",
    "StoredRelationship",
    "TwinEnd",
    "find_end",
    "find_relationship",
    "get_relationship",
    "list_incoming",
    "list_relationships",
    "load_end",
    "load_relationship",
    "relationship_documents",
]

OUTGOING, INCOMING = "relationships", "incoming"

TWIN = f"""
SELECT twin_no, model_id, {MICROSECONDS.format("valid_from")} FROM {{}} AS s
WHERE s.tenant = current_tenant() AND s.twin_id = %(twin)s"""
TWIN_NOW = TWIN.format("twin")
TWIN_THEN = f"{TWIN.format('twin_span')} AND {{}}"

COLUMNS = f"""
r.relationship_id, s.twin_id, t.twin_id, r.name, r.properties, {{recorded}},
{MICROSECONDS.format("r.valid_from")}, r.source_no, r.target_no"""
NOW = f"""
SELECT {COLUMNS.format(recorded=MICROSECONDS.format("r.recorded"))} FROM relationship AS r
JOIN twin AS s ON s.tenant = r.tenant AND s.twin_no = r.source_no
JOIN twin AS t ON t.tenant = r.tenant AND t.twin_no = r.target_no
WHERE r.tenant = current_tenant()"""
NAME = """
SELECT n.twin_id FROM twin_span AS n WHERE n.tenant = current_tenant() AND n.twin_no = {} LIMIT 1"""
# Of the span `r` of a relationship: it is of the stamp with which it was first told to start when the span does.
TOLD = """(SELECT min(f.recorded_from) FROM relationship_span AS f
    WHERE f.tenant = current_tenant() AND f.source_no = r.source_no AND f.relationship_id = r.relationship_id
      AND f.valid_from = r.valid_from)"""
THEN = f"""
SELECT {COLUMNS.format(recorded=MICROSECONDS.format(TOLD))} FROM relationship_span AS r
CROSS JOIN LATERAL ({NAME.format("r.source_no")}) AS s
CROSS JOIN LATERAL ({NAME.format("r.target_no")}) AS t
WHERE r.tenant = current_tenant() AND {{}}"""
ONE = " AND r.source_no = %(source)s AND r.relationship_id = %(id)s"
MANY = """ AND (r.source_no, r.relationship_id) IN (
    SELECT k.source_no, k.relationship_id
    FROM unnest(%(sources)s::bigint[], %(ids)s::text[]) AS k (source_no, relationship_id))"""
LIST = """ AND r.source_no = %(source)s AND (%(name)s::text IS NULL OR r.name = %(name)s)
AND r.relationship_id > %(after)s ORDER BY r.relationship_id LIMIT %(limit)s"""
LIST_INCOMING = """ AND r.target_no = %(target)s AND (r.source_no, r.relationship_id) > (%(no)s, %(after)s)
ORDER BY r.source_no, r.relationship_id LIMIT %(limit)s"""


class TwinEnd(NamedTuple):
    """A twin as an end of relationships."""

    twin_no: int
    model_id: str
    valid_from_us: int


@dataclass(frozen=True, slots=True)
class RelationshipDocument:
    """What the API gives of a relationship, and its entity tag."""

    body: dict[str, Any]
    etag: str


class StoredRelationship(NamedTuple):
    """A relationship with the numbers of its ends."""

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
        """The entity tag of this version."""
        return etag(self.source_no, self.recorded_us)

    def document(self) -> RelationshipDocument:
        """Return the whole relationship."""
        tag = self.etag
        body = {
            "$relationshipId": self.relationship_id,
            "$etag": tag,
            "$sourceId": self.source_id,
            "$relationshipName": self.name,
            "$targetId": self.target_id,
            **self.properties,
        }
        return RelationshipDocument(body, tag)

    def incoming(self) -> dict[str, Any]:
        """Return what a list of incoming relationships has of it."""
        link = "/digitaltwins/{}/relationships/{}".format(
            quote(self.source_id, safe=""), quote(self.relationship_id, safe="")
        )
        return {
            "$relationshipId": self.relationship_id,
            "$sourceId": self.source_id,
            "$relationshipName": self.name,
            "$relationshipLink": link,
        }


async def get_relationship(
    tx: ReadTransaction, twin_id: str, relationship_id: str, moment: Moment = LIVE
) -> RelationshipDocument:
    """Return a relationship. Raises NotFoundError (DigitalTwinNotFound, RelationshipNotFound)."""
    return (await load_relationship(tx, twin_id, relationship_id, moment)).document()


async def list_relationships(
    tx: ReadTransaction,
    twin_id: str,
    name: str | None = None,
    *,
    page_size: int | None = None,
    token: str | None = None,
    moment: Moment = LIVE,
) -> Page:
    """Return a page of the relationships that leave a twin, in the order of ids, of one name if given.

    Raises NotFoundError (DigitalTwinNotFound), InvalidError (InvalidArgument).
    """
    source = await load_end(tx, twin_id, moment)
    listing = Listing(tx.tenant, OUTGOING, (twin_id, name, *moment))
    state, size = listing.resume(token, page_size, after="")
    wanted = {"source": source.twin_no, "name": name, "limit": size + 1} | state
    stored = await _relationships(tx, LIST, wanted, moment)
    following = None
    if len(stored) > size:
        following = listing.encode(size=size, after=stored[size - 1].relationship_id)
    return Page([each.document().body for each in stored[:size]], following)


async def list_incoming(
    tx: ReadTransaction,
    twin_id: str,
    *,
    page_size: int | None = None,
    token: str | None = None,
    moment: Moment = LIVE,
) -> Page:
    """Return a page of the relationships that lead to a twin.

    Raises NotFoundError (DigitalTwinNotFound), InvalidError (InvalidArgument).
    """
    target = await load_end(tx, twin_id, moment)
    listing = Listing(tx.tenant, INCOMING, (twin_id, *moment))
    state, size = listing.resume(token, page_size, no=0, after="")
    wanted = {"target": target.twin_no, "limit": size + 1} | state
    stored = await _relationships(tx, LIST_INCOMING, wanted, moment)
    following = None
    if len(stored) > size:
        last = stored[size - 1]
        following = listing.encode(size=size, no=last.source_no, after=last.relationship_id)
    return Page([each.incoming() for each in stored[:size]], following)


async def find_end(tx: ReadTransaction, twin_id: str, moment: Moment = LIVE) -> TwinEnd | None:
    """Return a twin that relationships may start from or lead to, or None. Raises InvalidError for no id."""
    check_twin_id(twin_id)
    sql = TWIN_NOW if moment == LIVE else TWIN_THEN.format(span_then(moment, "s"))
    row = await tx.row(sql, {"twin": twin_id} | moment.parameters)
    return None if row is None else TwinEnd(*row)


async def load_end(tx: ReadTransaction, twin_id: str, moment: Moment = LIVE) -> TwinEnd:
    """Return a twin that relationships may start from or lead to. Raises NotFoundError (DigitalTwinNotFound)."""
    end = await find_end(tx, twin_id, moment)
    if end is None:
        raise twin_not_found(twin_id)
    return end


async def find_relationship(
    tx: ReadTransaction, source: TwinEnd, relationship_id: str, moment: Moment = LIVE
) -> StoredRelationship | None:
    """Return a relationship of a twin, or None."""
    found = await _relationships(tx, ONE, {"source": source.twin_no, "id": relationship_id}, moment)
    return found[0] if found else None


async def load_relationship(
    tx: ReadTransaction, twin_id: str, relationship_id: str, moment: Moment = LIVE
) -> StoredRelationship:
    """Return a relationship of a twin. Raises NotFoundError (DigitalTwinNotFound, RelationshipNotFound)."""
    check_relationship_id(relationship_id)
    stored = await find_relationship(tx, await load_end(tx, twin_id, moment), relationship_id, moment)
    if stored is None:
        raise NotFoundError(
            "RelationshipNotFound", f"The twin {twin_id} has no relationship with the ID {relationship_id}."
        )
    return stored


async def relationship_documents(
    tx: ReadTransaction, keys: Collection[tuple[int, str]], moment: Moment = LIVE
) -> dict[tuple[int, str], dict[str, Any]]:
    """Return the bodies of relationships by source number and id, as GET gives them; missing ones are left out."""
    wanted = {"sources": [number for number, _ in keys], "ids": [each for _, each in keys]}
    stored = await _relationships(tx, MANY, wanted, moment) if keys else []
    return {(each.source_no, each.relationship_id): each.document().body for each in stored}


async def _relationships(
    tx: ReadTransaction, condition: str, wanted: dict[str, Any], moment: Moment
) -> list[StoredRelationship]:
    sql = NOW if moment == LIVE else THEN.format(span_then(moment, "r"))
    rows = await tx.rows(sql + condition, wanted | moment.parameters)
    return [StoredRelationship(*row) for row in rows]

"""Which twins and relationships differ between two moments, by the numbers of twins, a bounded part at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from gemel.base.clock import from_us
from gemel.base.errors import InvalidError
from gemel.graph.loading import twin_not_found
from gemel.graph.names import check_twin_id
from gemel.history.moment import END_US
from gemel.store.database import ReadTransaction, Row

__all__ = [
    "SCOPE_MAX",
    "Between",
    "Place",
    "RelationshipDifference",
    "Standing",
    "TwinPresence",
    "read_neighbourhood",
    "read_presences",
    "read_relationship_differences",
]

SCOPE_MAX = 10_000
"""Twins of a neighbourhood; the whole graph has no such limit, for it is gone through in parts."""

# A span that is known now, or was then, of either moment.
KNOWN = "tenant = current_tenant() AND recorded_to = 'infinity'"
KNOWN_THEN = "tenant = current_tenant() AND recorded_from <= %(known_at)s AND recorded_to > %(known_at)s"
IN_FROM, IN_TO = (f"(valid_from <= %({name})s AND valid_to > %({name})s)" for name in ("from", "to"))
THEN = f"{KNOWN} AND ({IN_FROM} OR {IN_TO})"

OF_ID = f"SELECT DISTINCT twin_no FROM twin_span WHERE {THEN} AND twin_id = %(id)s"
EVER = """
SELECT 1 FROM twin_span
WHERE tenant = current_tenant() AND twin_id = %(id)s AND recorded_from <= %(known_at)s LIMIT 1"""
# By their ids: a twin that was deleted and made anew is of the scope both times.
NEIGHBOURS = f"""
SELECT DISTINCT o.twin_no FROM (
    SELECT target_no AS twin_no FROM relationship_span WHERE {THEN} AND source_no = ANY(%(nos)s)
    UNION
    SELECT source_no FROM relationship_span WHERE {THEN} AND target_no = ANY(%(nos)s)
    LIMIT {SCOPE_MAX + 1}) AS n
CROSS JOIN LATERAL (
    SELECT twin_id FROM twin_span WHERE tenant = current_tenant() AND twin_no = n.twin_no LIMIT 1) AS s
CROSS JOIN LATERAL (SELECT twin_no FROM twin_span WHERE {THEN} AND twin_id = s.twin_id OFFSET 0) AS o"""

ALL = f"""
SELECT DISTINCT twin_no FROM twin_span WHERE {THEN} AND twin_no >= %(start)s ORDER BY twin_no LIMIT %(limit)s"""
OWN = (
    "SELECT n AS twin_no FROM unnest(%(nos)s::bigint[]) AS n WHERE n >= %(start)s ORDER BY n LIMIT %(limit)s"
)
PRESENCES = f"""
SELECT p.twin_no, s.twin_id, s.model_id, s.lifecycle, s.in_from, s.in_to FROM ({{part}}) AS p
LEFT JOIN LATERAL (
    SELECT twin_id, model_id, lifecycle, {IN_FROM} AS in_from, {IN_TO} AS in_to, valid_from FROM twin_span
    WHERE {THEN} AND twin_no = p.twin_no) AS s ON true
ORDER BY p.twin_no, s.valid_from"""

# A span that was so at both moments is no difference.
DIFFERS = f"{THEN} AND NOT ({IN_FROM} AND {IN_TO})"
VERSION = f"source_no, relationship_id, name, target_no, properties, {IN_FROM} AS in_from, valid_from"
# Relationships that lead from outside into the scope come with the first of its twins that they lead to, and
# with where else they lead. In the whole graph there is no outside.
RELATIONSHIPS = f"""
SELECT r.owner_no, r.source_no, r.relationship_id, s.twin_id, t.twin_id, r.name, r.properties, r.in_from
FROM (
    SELECT * FROM (
        SELECT n AS owner_no, o.* FROM unnest(%(part)s::bigint[]) AS n
        CROSS JOIN LATERAL (SELECT {VERSION} FROM relationship_span WHERE {DIFFERS} AND source_no = n) AS o
        UNION ALL
        SELECT n, v.* FROM unnest(%(incoming)s::bigint[]) AS n
        CROSS JOIN LATERAL (
            SELECT DISTINCT source_no, relationship_id FROM relationship_span
            WHERE {DIFFERS} AND target_no = n AND source_no <> ALL(%(scope)s)) AS i
        CROSS JOIN LATERAL (
            SELECT {VERSION} FROM relationship_span
            WHERE {DIFFERS} AND source_no = i.source_no AND relationship_id = i.relationship_id OFFSET 0) AS v
        WHERE NOT EXISTS (
            SELECT 1 FROM relationship_span
            WHERE {DIFFERS} AND source_no = i.source_no AND relationship_id = i.relationship_id
              AND target_no < n AND target_no = ANY(%(scope)s))) AS each
    WHERE (owner_no, source_no, relationship_id COLLATE "C") > (%(owner)s, %(source)s, %(id)s)
    ORDER BY owner_no, source_no, relationship_id COLLATE "C", valid_from LIMIT %(limit)s) AS r
CROSS JOIN LATERAL (
    SELECT twin_id FROM twin_span WHERE tenant = current_tenant() AND twin_no = r.source_no LIMIT 1) AS s
CROSS JOIN LATERAL (
    SELECT twin_id FROM twin_span WHERE tenant = current_tenant() AND twin_no = r.target_no LIMIT 1) AS t
ORDER BY r.owner_no, r.source_no, r.relationship_id COLLATE "C", r.valid_from"""


Place = tuple[int, int, str]
"""Where a difference stands: the twin of the scope whose it is, the source of the relationship, its id."""


class Between(NamedTuple):
    """Two moments of source time in µs, and by what was recorded by when; each state includes what is so at it."""

    from_us: int
    to_us: int
    known_at_us: int = END_US

    @property
    def parameters(self) -> dict[str, datetime]:
        """The moments as SQL of this module names them."""
        moments = {"from": self.from_us, "to": self.to_us, "known_at": self.known_at_us}
        return {name: from_us(time_us) for name, time_us in moments.items()}

    def known(self, text: str) -> str:
        """Return SQL of this module by what was known then: of what is known now there is an index."""
        return text if self.known_at_us == END_US else text.replace(KNOWN, KNOWN_THEN)


class Standing(NamedTuple):
    """A twin's model and lifecycle at a moment."""

    model: str
    lifecycle: str


class TwinPresence(NamedTuple):
    """A twin that was there at one of two moments or at both, and how it stood; None where it was not there."""

    twin_no: int
    twin_id: str
    before: Standing | None
    after: Standing | None


class RelationshipDifference(NamedTuple):
    """A relationship that differs, with its name and target; None where it was not there."""

    place: Place
    relationship_id: str
    source: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


async def read_neighbourhood(tx: ReadTransaction, twin_id: str, depth: int, between: Between) -> list[int]:
    """Return the numbers of the twins of an id and of those within `depth` relationships, either way, in order.

    They are those of either moment. Raises NotFoundError (DigitalTwinNotFound) where the id never named a twin,
    InvalidError (LimitExceeded) for more than SCOPE_MAX twins.
    """
    check_twin_id(twin_id)
    if await tx.row(EVER, between.parameters | {"id": twin_id}) is None:
        raise twin_not_found(twin_id)
    rows = await tx.rows(between.known(OF_ID), between.parameters | {"id": twin_id})
    found = rim = {row[0] for row in rows}
    for _ in range(depth):
        if not rim:
            break
        neighbours = await tx.rows(between.known(NEIGHBOURS), between.parameters | {"nos": list(rim)})
        rim = {row[0] for row in neighbours} - found
        found = found | rim
        if len(found) > SCOPE_MAX:
            raise InvalidError(
                "LimitExceeded",
                f"There are more than {SCOPE_MAX} twins within {depth} relationships of {twin_id}.",
                "Ask for a smaller depth, or for the whole graph.",
            )
    return sorted(found)


async def read_presences(
    tx: ReadTransaction, scope: Collection[int] | None, between: Between, start: int, limit: int
) -> tuple[list[TwinPresence], int | None]:
    """Return the next twins of a scope (None: the whole graph) from a number on, and where to go on, if anywhere."""
    part = PRESENCES.format(part=ALL if scope is None else OWN)
    wanted = {"start": start, "limit": limit, "nos": list(scope or ())}
    rows = await tx.rows(between.known(part), between.parameters | wanted)
    found: list[TwinPresence] = []
    numbers: list[int] = []
    for number, own in groupby(rows, key=lambda row: int(row[0])):
        numbers.append(number)
        spans = [row[1:] for row in own if row[1] is not None]
        before = next((Standing(model, state) for _, model, state, in_from, _ in spans if in_from), None)
        after = next((Standing(model, state) for _, model, state, _, in_to in spans if in_to), None)
        if spans:
            found.append(TwinPresence(number, spans[0][0], before, after))
    return found, numbers[-1] + 1 if len(numbers) == limit else None


async def read_relationship_differences(
    tx: ReadTransaction,
    part: Sequence[int],
    scope: Collection[int] | None,
    between: Between,
    beyond: Place,
    limit: int,
) -> tuple[list[RelationshipDifference], Place | None]:
    """Return some of the next differences of the relationships of twins of a scope, and where to go on, if anywhere.

    They are beyond a place, and at most `limit`; there may be none and still more to come.
    """
    wanted = {
        "part": list(part),
        "incoming": [] if scope is None else list(part),
        "scope": list(scope or ()),
        "owner": beyond[0],
        "source": beyond[1],
        "id": beyond[2],
        # At most two versions of each differ, and one more row shows whether the last has both.
        "limit": 2 * limit + 1,
    }
    rows = await tx.rows(between.known(RELATIONSHIPS), between.parameters | wanted)
    groups = [(place, list(own)) for place, own in groupby(rows, key=lambda row: (row[0], row[1], row[2]))]
    more = len(groups) > limit or len(rows) > 2 * limit
    kept = groups[:limit]
    found = [_difference(place, versions) for place, versions in kept]
    return [each for each in found if each.before != each.after], kept[-1][0] if more else None


def _difference(place: Place, versions: Sequence[Row]) -> RelationshipDifference:
    before = after = None
    for _, _, _, _, target, name, properties, in_from in versions:
        content = {"$relationshipName": name, "$targetId": target, **properties}
        if in_from:
            before = content
        else:
            after = content
    return RelationshipDifference(place, place[2], versions[0][3], before, after)

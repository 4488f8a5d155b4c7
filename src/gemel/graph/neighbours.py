"""The relationships of twins, grouped and counted in the database; and whether a twin may change its model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, NamedTuple

from gemel.base.errors import Detail, InvalidError
from gemel.graph.context import GraphContext
from gemel.graph.link_rules import Links, Multiplicities, of_any_version, outgoing_faults, wrong_target
from gemel.graph.relating import property_faults
from gemel.graph.writing import existing_type
from gemel.models import TwinType
from gemel.store.database import ReadTransaction

__all__ = [
    "Related",
    "check_model_change",
    "count_named",
    "links_from",
    "model_change_faults",
    "related_with_properties",
]

DETAILS_MAX = 20
ROWS_MAX = 5_000

# A group is of a twin's relationships of one name to twins of one model. OFFSET 0 keeps each look-up one by key,
# whatever the planner thinks of how many there are.
LINKS_FROM = """
SELECT w.no, r.name, t.model_id, count(*), min(r.relationship_id)
FROM unnest(%s::bigint[]) AS w (no)
CROSS JOIN LATERAL (
    SELECT name, target_no, relationship_id FROM relationship
    WHERE tenant = current_tenant() AND source_no = w.no OFFSET 0) AS r
CROSS JOIN LATERAL (
    SELECT model_id FROM twin WHERE tenant = current_tenant() AND twin_no = r.target_no OFFSET 0) AS t
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
LINKS_TO = """
SELECT w.no, r.name, s.model_id, count(*), min(concat_ws('/', s.twin_id, r.relationship_id))
FROM unnest(%s::bigint[]) AS w (no)
CROSS JOIN LATERAL (
    SELECT name, source_no, relationship_id FROM relationship
    WHERE tenant = current_tenant() AND target_no = w.no OFFSET 0) AS r
CROSS JOIN LATERAL (
    SELECT twin_id, model_id FROM twin WHERE tenant = current_tenant() AND twin_no = r.source_no OFFSET 0) AS s
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
WITH_PROPERTIES = """
SELECT w.no, r.relationship_id, r.name, r.properties
FROM unnest(%(nos)s::bigint[]) AS w (no)
CROSS JOIN LATERAL (
    SELECT relationship_id, name, properties FROM relationship
    WHERE tenant = current_tenant() AND source_no = w.no AND properties <> '{}'
      AND (source_no, relationship_id) > (%(no)s, %(id)s) ORDER BY relationship_id LIMIT %(limit)s) AS r
ORDER BY 1, 2 LIMIT %(limit)s"""
COUNT_NAMED = """
SELECT w.source_no, w.name, c.count FROM unnest(%s::bigint[], %s::text[]) AS w (source_no, name)
CROSS JOIN LATERAL (
    SELECT count(*) FROM relationship
    WHERE tenant = current_tenant() AND source_no = w.source_no AND name = w.name OFFSET 0) AS c"""


class Related(NamedTuple):
    """A relationship that has properties."""

    source_no: int
    relationship_id: str
    name: str
    properties: dict[str, Any]


async def count_named(tx: ReadTransaction, wanted: Collection[tuple[int, str]]) -> Multiplicities:
    """Count the relationships of twins (by number) that have a name, all in one query."""
    if not wanted:
        return Multiplicities({})
    numbers, names = zip(*wanted, strict=True)
    rows = await tx.rows(COUNT_NAMED, (list(numbers), list(names)))
    return Multiplicities({(row[0], row[1]): row[2] for row in rows})


async def links_from(tx: ReadTransaction, twin_nos: Collection[int]) -> dict[int, list[Links]]:
    """Return the relationships that leave twins, in groups, by the twin's number."""
    found: defaultdict[int, list[Links]] = defaultdict(list)
    for twin_no, *group in await tx.rows(LINKS_FROM, (list(twin_nos),)):
        found[twin_no].append(Links(*group))
    return found


async def related_with_properties(tx: ReadTransaction, twin_nos: Collection[int]) -> AsyncIterator[Related]:
    """Yield the relationships that leave twins and have properties, by twin and id; ROWS_MAX are held at once."""
    pending, last_no, last_id = list(twin_nos), -1, ""
    while True:
        bounds = {"nos": pending, "no": last_no, "id": last_id, "limit": ROWS_MAX}
        rows = await tx.rows(WITH_PROPERTIES, bounds)
        for row in rows:
            yield Related(*row)
        if len(rows) < ROWS_MAX:
            return
        last_no, last_id = rows[-1][:2]
        pending = [twin_no for twin_no in pending if twin_no >= last_no]


async def model_change_faults(
    tx: ReadTransaction, context: GraphContext, changes: Mapping[int, TwinType]
) -> dict[int, InvalidError]:
    """Return why twins (by number) cannot get other types: those whose relationships would not fit any more.

    Whether an end is of another version of the model that is wanted there is passed over: else twins that
    refer to each other could never be moved to a new version. InvalidError has the code ValidationFailed.
    """
    if not changes:
        return {}
    models = await context.library.models(tx)
    fits = of_any_version(models)
    faults: defaultdict[int, list[str]] = defaultdict(list)
    for twin_no, links in (await links_from(tx, changes)).items():
        faults[twin_no] += [fault.message for fault in outgoing_faults(links, changes[twin_no], fits)]
    async for related in related_with_properties(tx, changes):
        relationship = changes[related.source_no].relationships.get(related.name)
        if relationship is not None:
            wrong = property_faults(related.properties, related.name, relationship)
            faults[related.source_no] += [f"{related.relationship_id}: {each}" for each in wrong]
    for twin_no, name, source_model, count, example in await tx.rows(LINKS_TO, (list(changes),)):
        source_type = await existing_type(tx, context.library, source_model)
        relationship = source_type.relationships.get(name)
        if relationship is not None and wrong_target(relationship, changes[twin_no].model, fits):
            more = "" if count == 1 else f" and {count - 1} more"
            said = f"The relationship {name} leads to twins of {relationship.target}: {example}{more}."
            faults[twin_no].append(said)
    return {twin_no: _refusal(found, changes[twin_no]) for twin_no, found in faults.items() if found}


async def check_model_change(
    tx: ReadTransaction, context: GraphContext, twin_no: int, after: TwinType
) -> None:
    """Raise InvalidError (ValidationFailed) where a twin cannot get another type, as `model_change_faults` says."""
    for fault in (await model_change_faults(tx, context, {twin_no: after})).values():
        raise fault


def _refusal(faults: list[str], after: TwinType) -> InvalidError:
    return InvalidError(
        "ValidationFailed",
        f"The twin cannot become one of {after.model}: its relationships would not fit any more.",
        "Delete them first, or lead them elsewhere.",
        tuple(Detail("InvalidRelationship", fault) for fault in faults[:DETAILS_MAX]),
    )

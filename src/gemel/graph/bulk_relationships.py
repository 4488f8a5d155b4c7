"""Many relationships at once, by the rules of a single PUT, written in a few statements.

An item that breaks a rule gets its error; the others are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gemel.base import clock
from gemel.base.clock import from_us
from gemel.base.errors import GemelError
from gemel.graph import relating
from gemel.graph.absence import Absence, hashes_of, is_absent, note_made
from gemel.graph.context import GraphContext
from gemel.graph.ends import KnownEnds
from gemel.graph.link_rules import Multiplicities
from gemel.graph.loading import MICROSECONDS, twin_not_found
from gemel.graph.names import check_relationship_id, check_twin_id
from gemel.graph.neighbours import count_named
from gemel.graph.overlap import judge_and_write
from gemel.graph.relating import (
    VALID_FROM,
    allowed,
    check_properties,
    ends_of,
    refuse_loop,
    start_of,
    target_not_found,
)
from gemel.graph.relationship_reading import StoredRelationship, TwinEnd
from gemel.graph.relationship_spans import end_relationships, open_relationships
from gemel.graph.told import told_relationship
from gemel.graph.writing import existing_type
from gemel.history.changes import Parcel, append_parcels, pack, parcels, stamp_parcels
from gemel.history.samples import Ints
from gemel.history.unstamped import UNSTAMPED_US, stamp_array
from gemel.models import Relationship, TwinType
from gemel.models.model_set import ModelSet
from gemel.store.columns import BigintArray, TextArray, TimestampArray, bigints, labels, texts, timestamps
from gemel.store.database import Epochs, ReadTransaction, WriteTransaction

__all__ = [
    "ForeseenRelationships",
    "RelationshipItem",
    "TakenRelationships",
    "foresee_relationships",
    "look_ahead",
    "put_foreseen",
    "put_relationships",
    "relationship_columns",
]

# What lives has a span that is open on both axes, so one look there says both what is there, and until when an
# earlier relationship had the id.
EXISTING = f"""
SELECT w.source_no, w.id, s.name, s.floor
FROM unnest(%s::bigint[], %s::text[]) AS w (source_no, id)
CROSS JOIN LATERAL (
    SELECT max(name) FILTER (WHERE valid_to = 'infinity') AS name,
           max({MICROSECONDS.format("valid_to")}) FILTER (WHERE valid_to < 'infinity') AS floor
    FROM relationship_span
    WHERE tenant = current_tenant() AND source_no = w.source_no AND relationship_id = w.id
      AND recorded_to = 'infinity') AS s
WHERE s.name IS NOT NULL OR s.floor IS NOT NULL"""
ANY_KNOWN = """
SELECT EXISTS (
    SELECT FROM unnest(%s::bigint[], %s::text[]) AS w (source_no, id)
    WHERE EXISTS (SELECT FROM relationship_span
                  WHERE tenant = current_tenant() AND source_no = w.source_no AND relationship_id = w.id OFFSET 0))"""
INSERT = """
INSERT INTO relationship (tenant, source_no, relationship_id, name, target_no, properties, valid_from, recorded)
SELECT (SELECT current_tenant()), source_no, id, name, target_no, properties::jsonb, starts, recorded
FROM (SELECT %s::timestamptz AS recorded, unnest(%s::bigint[]) AS source_no, unnest(%s::text[]) AS id,
             unnest(%s::text[]) AS name, unnest(%s::bigint[]) AS target_no, unnest(%s::text[]) AS properties,
             unnest(%s::timestamptz[]) AS starts) AS w"""
PUT = f"""{INSERT}
ON CONFLICT (tenant, source_no, relationship_id) DO UPDATE SET name = excluded.name,
    target_no = excluded.target_no, properties = excluded.properties, valid_from = excluded.valid_from,
    recorded = excluded.recorded"""
# Nothing ends, so what is made says what its spans say.
CREATE = f"""
WITH made AS ({INSERT}
    RETURNING tenant, source_no, relationship_id, name, target_no, properties, valid_from, recorded)
INSERT INTO relationship_span (tenant, source_no, relationship_id, name, target_no, properties, valid_from, valid_to,
                               recorded_from)
SELECT tenant, source_no, relationship_id, name, target_no, properties, valid_from, 'infinity', recorded FROM made"""

HEADER = frozenset((*relating.HEADER, "$dtId"))
Key = tuple[int, str]
Others = tuple[BigintArray, TextArray, TextArray, BigintArray, TextArray]
"""Sources' numbers, ids, names, targets' numbers, and properties as JSON."""


class RelationshipItem(NamedTuple):
    """A relationship to put: the id of its source, its own, and its body as a PUT takes it.

    The body may also have the `$dtId` of its source, as the line of an import has.
    """

    source_id: str
    relationship_id: str
    body: Any


class _Stored(NamedTuple):
    """One relationship to be written, and what the change feed is told of it."""

    source_no: int
    relationship_id: str
    name: str
    target_no: int
    properties: str
    start_us: int
    replaces: bool
    told: bytes


class TakenRelationships(NamedTuple):
    """Relationships to be written, as columns, those of them that replace another, and what is told of them."""

    columns: tuple[Others, TimestampArray]
    replaced: Sequence[Key]
    told: Sequence[Parcel]


class ForeseenRelationships(NamedTuple):
    """What is written of items if none of their keys was ever a relationship's, and of each why it is not, or None.

    It holds for twins and models of `epochs`, while the sources (by number) have none of the names in `limited`.
    `absence` says when none of the keys was known, if that was so.
    """

    taken: TakenRelationships | None
    errors: list[GemelError | None]
    keys: tuple[BigintArray, TextArray]
    limited: Collection[tuple[int, str]]
    epochs: Epochs
    absence: Absence | None = None


@dataclass(slots=True)
class _Known:
    """What the database says of the twins and relationships that items name."""

    ends: Mapping[str, TwinEnd]
    types: Mapping[str, TwinType]
    models: ModelSet
    existing: Mapping[Key, str]
    floors_us: Mapping[Key, int]
    counts: Multiplicities
    stamp_us: int
    now_us: int
    errors: list[GemelError | None] = field(default_factory=list)
    allowed: dict[tuple[str, str, str], Relationship] = field(default_factory=dict)
    """Which relationship one of a name is from a model to a model, as found so far."""

    def judge(self, items: Sequence[RelationshipItem]) -> TakenRelationships | None:
        """Judge items in their order; note of each why it is not taken, or None."""
        taken = []
        for item in items:
            try:
                taken.append(self._stored(item))
                self.errors.append(None)
            except GemelError as error:
                self.errors.append(error)
        if not taken:
            return None
        source_nos, ids, names, target_nos, properties, starts_us, _, told = zip(*taken, strict=True)
        what = properties, np.array(starts_us, np.int64)
        columns = relationship_columns((source_nos, target_nos), (ids, names), what)
        replaced = [(each.source_no, each.relationship_id) for each in taken if each.replaces]
        return TakenRelationships(columns, replaced, parcels(told))

    def _stored(self, item: RelationshipItem) -> _Stored:
        source_id, relationship_id, body = item
        check_relationship_id(relationship_id)
        target_id, name = ends_of(body)
        source = self.ends.get(source_id)
        if source is None:
            check_twin_id(source_id)
            raise twin_not_found(source_id)
        if target_id == source_id:
            refuse_loop(relationship_id, source_id, target_id)
        target = self.ends.get(target_id)
        if target is None:
            check_twin_id(target_id)
            raise target_not_found(target_id)
        relationship = self._allowed(source.model_id, name, target.model_id)
        properties = None if body.keys() <= HEADER else _properties_of(body)
        if properties:
            check_properties(properties, name, relationship)
        key = (source.twin_no, relationship_id)
        before = self.existing.get(key)
        start_us = self.stamp_us
        if VALID_FROM in body and before is None:
            twins_us = max(source.valid_from_us, target.valid_from_us)
            start_us = start_of(body, self.now_us, twins_us, self.floors_us.get(key, 0))
        if before is not None or relationship.max_multiplicity is not None:
            self.counts.admit((source.twin_no, source_id), relationship, before)
        stored = StoredRelationship(
            relationship_id,
            source_id,
            target_id,
            name,
            properties or {},
            self.stamp_us,
            start_us,
            source.twin_no,
            target.twin_no,
        )
        kind = "relationship.created" if before is None else "relationship.updated"
        return _Stored(
            source.twin_no,
            relationship_id,
            name,
            target.twin_no,
            msgspec.json.encode(properties).decode() if properties else "{}",
            start_us,
            before is not None,
            pack(kind, told_relationship(stored)),
        )

    def _allowed(self, source_model: str, name: str, target_model: str) -> Relationship:
        key = source_model, name, target_model
        found = self.allowed.get(key)
        if found is None:
            found = self.allowed[key] = allowed(self.types[source_model], name, target_model, self.models)
        return found


async def put_relationships(
    tx: WriteTransaction,
    context: GraphContext,
    items: Sequence[RelationshipItem],
    ends: KnownEnds,
    foreseen: ForeseenRelationships | None = None,
) -> list[GemelError | None]:
    """Create or replace relationships, each key once, all at one recorded moment.

    Return of each why it was not taken, or None; errors are those of `put_relationship`. `ends` holds twins from one
    batch to the next; `foreseen` is of the same items.
    """
    if foreseen is not None and await put_foreseen(tx, foreseen):
        return foreseen.errors
    known = await _known(tx, context, items, ends)
    await judge_and_write(items, known.judge, lambda taken: _write(tx, taken, known.stamp_us))
    return known.errors


async def put_foreseen(tx: WriteTransaction, foreseen: ForeseenRelationships) -> bool:
    """Write what was foreseen, all at one recorded moment, if it is so; say whether it is."""
    if not await _holds(tx, foreseen):
        return False
    before_no = tx.change_no
    await _write(tx, foreseen.taken, tx.stamp())
    if foreseen.absence is not None:
        note_made(tx, foreseen.absence.hashes, before_no)
    return True


async def look_ahead(
    tx: ReadTransaction, foreseen: ForeseenRelationships, keys: Iterable[Key]
) -> ForeseenRelationships:
    """Look whether any of the keys is known, so that it need not be done while others wait."""
    hashes = await asyncio.to_thread(hashes_of, keys, len(foreseen.errors))
    known = await _any_known(tx, foreseen.keys)
    return foreseen if known else foreseen._replace(absence=Absence.seen(tx, hashes))


async def _any_known(tx: ReadTransaction, keys: tuple[BigintArray, TextArray]) -> bool:
    # A plan that was kept from when there were few would look through all of them for each.
    [[known]] = await tx.rows(ANY_KNOWN, keys, keeps_plan=False)
    return bool(known)


async def foresee_relationships(
    tx: ReadTransaction, context: GraphContext, items: Sequence[RelationshipItem], ends: KnownEnds
) -> ForeseenRelationships:
    """Put together what is written of items, each key once, if all of them are new, before the lock is taken."""
    found, types = await _find_ends(tx, context, items, ends)
    models = await context.library.models(tx)
    return await asyncio.to_thread(_foresee, items, (found, types, models), tx.epochs)


def _foresee(
    items: Sequence[RelationshipItem],
    among: tuple[Mapping[str, TwinEnd], Mapping[str, TwinType], ModelSet],
    epochs: Epochs,
) -> ForeseenRelationships:
    found, types, models = among
    limited = _limited(items, found, types)
    known = _Known(found, types, models, {}, {}, Multiplicities({}), UNSTAMPED_US, clock.now_us())
    taken = known.judge(items)
    # One that is refused as a new one may be there.
    keys = _keys(items, found) if taken is None or any(known.errors) else taken.columns[0][:2]
    return ForeseenRelationships(taken, known.errors, keys, limited, epochs)


async def _holds(tx: WriteTransaction, foreseen: ForeseenRelationships) -> bool:
    if tx.epochs != foreseen.epochs:
        return False
    absent = foreseen.absence is not None and is_absent(tx, foreseen.absence)
    if not absent and await _any_known(tx, foreseen.keys):
        return False
    return (await count_named(tx, foreseen.limited)).none


async def _write(tx: WriteTransaction, taken: TakenRelationships | None, stamp_us: int) -> None:
    if taken is None:
        return
    now = from_us(stamp_us)
    others, starts = taken.columns
    columns = (*others, stamp_array(starts, stamp_us))
    async with tx.in_one_trip():
        if taken.replaced:
            await tx.execute(PUT, (now, *columns))
            await end_relationships(tx, taken.replaced, now)
            await open_relationships(tx, columns, now)
        else:
            await tx.execute(CREATE, (now, *columns))
        await append_parcels(tx, stamp_parcels(taken.told, stamp_us))


async def _find_ends(
    tx: ReadTransaction, context: GraphContext, items: Sequence[RelationshipItem], known_ends: KnownEnds
) -> tuple[Mapping[str, TwinEnd], dict[str, TwinType]]:
    """Return the twins that items name, and the types of these."""
    named = await asyncio.to_thread(_named, items)
    ends = await known_ends.find(tx, named)
    models = await asyncio.to_thread(lambda: {ends[each].model_id for each in named if each in ends})
    return ends, {model: await existing_type(tx, context.library, model) for model in models}


def _named(items: Sequence[RelationshipItem]) -> set[str]:
    targets = {_text_of(item.body, "$targetId") for item in items}
    return {item.source_id for item in items} | {each for each in targets if each is not None}


async def _known(
    tx: WriteTransaction, context: GraphContext, items: Sequence[RelationshipItem], known_ends: KnownEnds
) -> _Known:
    ends, types = await _find_ends(tx, context, items, known_ends)
    existing: dict[Key, str] = {}
    floors_us: dict[Key, int] = {}
    for source_no, relationship_id, name, floor_us in await tx.rows(EXISTING, _keys(items, ends)):
        if name is not None:
            existing[source_no, relationship_id] = name
        if floor_us is not None:
            floors_us[source_no, relationship_id] = floor_us
    counts = await count_named(tx, _limited(items, ends, types))
    models, stamp_us = await context.library.models(tx), tx.stamp()
    return _Known(ends, types, models, existing, floors_us, counts, stamp_us, stamp_us)


def _limited(
    items: Sequence[RelationshipItem], ends: Mapping[str, TwinEnd], types: Mapping[str, TwinType]
) -> set[tuple[int, str]]:
    """Return the sources and names of items of which there may only be so many."""
    names = {
        relationship.name
        for twin_type in types.values()
        for relationship in twin_type.relationships.values()
        if relationship.max_multiplicity is not None
    }
    limited = set()
    for item in items if names else ():
        name, end = _text_of(item.body, "$relationshipName"), ends.get(item.source_id)
        if name is None or name not in names or end is None:
            continue
        relationship = types[end.model_id].relationships.get(name)
        if relationship is not None and relationship.max_multiplicity is not None:
            limited.add((end.twin_no, name))
    return limited


def _keys(items: Sequence[RelationshipItem], ends: Mapping[str, TwinEnd]) -> tuple[BigintArray, TextArray]:
    numbers, ids = [], []
    for source_id, relationship_id, _ in items:
        end = ends.get(source_id)
        if end is not None and "\0" not in relationship_id:
            numbers.append(end.twin_no)
            ids.append(relationship_id)
    return bigints(np.array(numbers, np.int64)), texts(ids)


def _text_of(body: Any, name: str) -> str | None:
    text = body.get(name) if isinstance(body, dict) else None
    return text if isinstance(text, str) else None


def _properties_of(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in HEADER}


def relationship_columns(
    ends: tuple[Sequence[int], Sequence[int]],
    named: tuple[Sequence[str], Sequence[str]],
    what: tuple[Sequence[str], Ints],
) -> tuple[Others, TimestampArray]:
    """Return relationships as they are written: those of one source together, which are neighbours in the indexes.

    `ends` are numbers of sources and targets, `named` their ids and names, `what` properties and starts (µs).
    """
    source_nos, target_nos = (np.array(each, np.int64) for each in ends)
    order = np.argsort(source_nos, kind="stable")
    places = order.tolist()
    ids, names, properties = ([each[place] for place in places] for each in (*named, what[0]))
    others = (
        bigints(source_nos[order]),
        texts(ids),
        labels(names),
        bigints(target_nos[order]),
        labels(properties),
    )
    return others, timestamps(what[1][order])

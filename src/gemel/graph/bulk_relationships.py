"""Many relationships at once, by the rules of a single PUT, written in a few statements.

An item that breaks a rule gets its error; the others are written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gemel.base.clock import from_us
from gemel.base.errors import GemelError
from gemel.graph.context import GraphContext
from gemel.graph.ends import KnownEnds
from gemel.graph.link_rules import Multiplicities
from gemel.graph.loading import MICROSECONDS, twin_not_found
from gemel.graph.names import check_relationship_id, check_twin_id, is_twin_id
from gemel.graph.neighbours import count_named
from gemel.graph.overlap import judge_and_write
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
from gemel.graph.relationship_reading import StoredRelationship, TwinEnd
from gemel.graph.relationship_spans import end_relationships, open_relationships
from gemel.graph.told import told_relationship
from gemel.graph.writing import existing_type
from gemel.history.changes import append_all
from gemel.models import TwinType
from gemel.models.model_set import ModelSet
from gemel.store.columns import BigintArray, PgArray, TextArray, bigints, texts, timestamps
from gemel.store.database import WriteTransaction

__all__ = ["RelationshipItem", "put_relationships"]

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
INSERT = """
INSERT INTO relationship (tenant, source_no, relationship_id, name, target_no, properties, valid_from, recorded)
SELECT current_tenant(), w.source_no, w.id, w.name, w.target_no, w.properties::jsonb, w.starts, %s
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::timestamptz[])
    AS w (source_no, id, name, target_no, properties, starts)"""
PUT = f"""{INSERT}
ON CONFLICT (tenant, source_no, relationship_id) DO UPDATE SET name = excluded.name,
    target_no = excluded.target_no, properties = excluded.properties, valid_from = excluded.valid_from,
    recorded = excluded.recorded"""

Key = tuple[int, str]


class RelationshipItem(NamedTuple):
    """A relationship to put: the id of its source, its own, and its body as a PUT takes it."""

    source_id: str
    relationship_id: str
    body: Any


class _Taken(NamedTuple):
    """Relationships to be written, as columns too, and what the change feed is told of each."""

    stored: Sequence[StoredRelationship]
    columns: tuple[PgArray, ...]
    told: Sequence[dict[str, Any]]


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
    errors: list[GemelError | None] = field(default_factory=list)

    def judge(self, items: Sequence[RelationshipItem]) -> _Taken:
        """Judge items in their order; note of each why it is not taken, or None."""
        taken = []
        for item in items:
            try:
                taken.append(self._stored(item))
                self.errors.append(None)
            except GemelError as error:
                self.errors.append(error)
        return _Taken(taken, _columns(taken), [told_relationship(stored) for stored in taken])

    def _stored(self, item: RelationshipItem) -> StoredRelationship:
        source_id, relationship_id, body = item
        check_relationship_id(relationship_id)
        target_id, name = ends_of(body)
        check_twin_id(source_id)
        source = self.ends.get(source_id)
        if source is None:
            raise twin_not_found(source_id)
        refuse_loop(relationship_id, source_id, target_id)
        check_twin_id(target_id)
        target = self.ends.get(target_id)
        if target is None:
            raise target_not_found(target_id)
        relationship = allowed(self.types[source.model_id], name, target.model_id, self.models)
        properties = properties_of(body)
        check_properties(properties, name, relationship)
        key = (source.twin_no, relationship_id)
        start_us = self.stamp_us
        if VALID_FROM in body and key not in self.existing:
            twins_us = max(source.valid_from_us, target.valid_from_us)
            start_us = start_of(body, self.stamp_us, twins_us, self.floors_us.get(key, 0))
        self.counts.admit((source.twin_no, source_id), relationship, self.existing.get(key))
        return StoredRelationship(
            relationship_id,
            source_id,
            target_id,
            name,
            properties,
            self.stamp_us,
            start_us,
            source.twin_no,
            target.twin_no,
        )


async def put_relationships(
    tx: WriteTransaction, context: GraphContext, items: Sequence[RelationshipItem], ends: KnownEnds
) -> list[GemelError | None]:
    """Create or replace relationships, each key once, all at one recorded moment.

    Return of each why it was not taken, or None; errors are those of `put_relationship`. `ends` holds twins from one
    batch to the next.
    """
    known = await _known(tx, context, items, ends)
    await judge_and_write(items, known.judge, lambda taken: _write(tx, known, taken))
    return known.errors


async def _write(tx: WriteTransaction, known: _Known, taken: _Taken) -> None:
    if not taken.stored:
        return
    now = from_us(known.stamp_us)
    replaced = [stored for stored in taken.stored if _key(stored) in known.existing] if known.existing else []
    await tx.execute(PUT if replaced else INSERT, (now, *taken.columns))
    if replaced:
        await end_relationships(tx, [_key(stored) for stored in replaced], now)
    await open_relationships(tx, taken.columns, now)
    kinds = (_kind(stored, known.existing) for stored in taken.stored)
    await append_all(tx, list(zip(kinds, taken.told, strict=True)))


async def _known(
    tx: WriteTransaction, context: GraphContext, items: Sequence[RelationshipItem], known_ends: KnownEnds
) -> _Known:
    named = {each for item in items for each in (item.source_id, _target_of(item.body))}
    ends = await known_ends.find(tx, [each for each in named if each is not None and is_twin_id(each)])
    models = {end.model_id for end in ends.values()}
    types = {model: await existing_type(tx, context.library, model) for model in models}
    existing: dict[Key, str] = {}
    floors_us: dict[Key, int] = {}
    for source_no, relationship_id, name, floor_us in await tx.rows(EXISTING, _keys(items, ends)):
        if name is not None:
            existing[source_no, relationship_id] = name
        if floor_us is not None:
            floors_us[source_no, relationship_id] = floor_us
    counts = await count_named(tx, _limited(items, ends, types))
    return _Known(ends, types, await context.library.models(tx), existing, floors_us, counts, tx.stamp())


def _limited(
    items: Sequence[RelationshipItem], ends: Mapping[str, TwinEnd], types: Mapping[str, TwinType]
) -> set[tuple[int, str]]:
    """Return the sources and names of items of which there may only be so many."""
    limited = set()
    for item in items:
        end, name = ends.get(item.source_id), _name_of(item.body)
        relationship = None if end is None or name is None else types[end.model_id].relationships.get(name)
        if end is not None and relationship is not None and relationship.max_multiplicity is not None:
            limited.add((end.twin_no, relationship.name))
    return limited


def _keys(items: Sequence[RelationshipItem], ends: Mapping[str, TwinEnd]) -> tuple[BigintArray, TextArray]:
    numbers, ids = [], []
    for source_id, relationship_id, _ in items:
        end = ends.get(source_id)
        if end is not None and "\0" not in relationship_id:
            numbers.append(end.twin_no)
            ids.append(relationship_id)
    return bigints(np.array(numbers, np.int64)), texts(ids)


def _target_of(body: Any) -> str | None:
    target = body.get("$targetId") if isinstance(body, dict) else None
    return target if isinstance(target, str) else None


def _name_of(body: Any) -> str | None:
    name = body.get("$relationshipName") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None


def _key(stored: StoredRelationship) -> Key:
    return stored.source_no, stored.relationship_id


def _kind(stored: StoredRelationship, existing: Collection[Key]) -> str:
    return "relationship.updated" if existing and _key(stored) in existing else "relationship.created"


def _columns(taken: Sequence[StoredRelationship]) -> tuple[PgArray, ...]:
    return (
        bigints(np.array([each.source_no for each in taken], np.int64)),
        texts([each.relationship_id for each in taken]),
        texts([each.name for each in taken]),
        bigints(np.array([each.target_no for each in taken], np.int64)),
        texts([msgspec.json.encode(each.properties).decode() for each in taken]),
        timestamps(np.array([each.valid_from_us for each in taken], np.int64)),
    )

"""Relationships as imports mostly have them, read and judged by columns: new, without properties, all of them right.

It is all or nothing: where one of a batch is any different, None is returned, and `gemel.graph.bulk_relationships`
looks at each by itself, and says what is wrong with it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import eq
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from gemel.base import clock
from gemel.base.errors import InvalidError
from gemel.graph.bulk_relationships import (
    ForeseenRelationships,
    TakenRelationships,
    look_ahead,
    relationship_columns,
)
from gemel.graph.content import parse_time_us
from gemel.graph.context import GraphContext
from gemel.graph.ends import KnownEnds
from gemel.graph.names import are_ids
from gemel.graph.relating import allowed
from gemel.graph.relationship_reading import TwinEnd
from gemel.graph.writing import existing_type
from gemel.history.changes import pack, parcels
from gemel.history.samples import Ints
from gemel.history.unstamped import UNSTAMPED_US
from gemel.models import TwinType
from gemel.models.model_set import ModelSet
from gemel.store.database import ReadTransaction

__all__ = ["PlainRelationships", "foresee_plain", "read_plain"]

Triple = tuple[str, str, str]
"""The model of the source, the name, and the model of the target."""


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    source_id: str = msgspec.field(name="$dtId")
    relationship_id: str = msgspec.field(name="$relationshipId")
    target_id: str = msgspec.field(name="$targetId")
    name: str = msgspec.field(name="$relationshipName")
    valid_from: str | UnsetType = msgspec.field(name="$validFrom", default=UNSET)


class _Told(msgspec.Struct, gc=False):
    """As `told_relationship` tells of a new one, which takes twice as long."""

    twin: str
    no: int
    relationship: str
    name: str
    target: str
    properties: dict[str, Any]
    version: int


@dataclass(frozen=True, slots=True)
class PlainRelationships:
    """What lines ask, as columns; no two ask for the same relationship. `starts_us` is UNSTAMPED_US for now."""

    source_ids: list[str]
    ids: list[str]
    names: list[str]
    target_ids: list[str]
    starts_us: Ints


_decoder = msgspec.json.Decoder(_Line)


def read_plain(lines: Sequence[bytes]) -> PlainRelationships | None:
    """Return what the lines of an import ask, or None where some are not plain."""
    try:
        read = list(map(_decoder.decode, lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    source_ids = [each.source_id for each in read]
    ids = [each.relationship_id for each in read]
    target_ids = [each.target_id for each in read]
    starts = [each.valid_from for each in read]
    start_us = {text: UNSTAMPED_US if text is UNSET else parse_time_us(text) for text in set(starts)}
    if None in start_us.values() or not are_ids(ids) or any(map(eq, source_ids, target_ids)):
        return None
    if len(set(zip(source_ids, ids, strict=True))) < len(read):
        return None
    starts_us = np.array([start_us[text] for text in starts], np.int64)
    return PlainRelationships(source_ids, ids, [each.name for each in read], target_ids, starts_us)


async def foresee_plain(
    tx: ReadTransaction, context: GraphContext, plain: PlainRelationships, ends: KnownEnds
) -> ForeseenRelationships | None:
    """Put together what is written of relationships if all of them are new, or None where not all would be taken.

    `ends` holds twins from one batch to the next.
    """
    named = await asyncio.to_thread(lambda: {*plain.source_ids, *plain.target_ids})
    found = await ends.find(tx, named)
    try:
        twins = [found[each] for each in plain.source_ids], [found[each] for each in plain.target_ids]
    except KeyError:
        return None
    models = await context.library.models(tx)
    sources, _ = twins
    types = {
        model: await existing_type(tx, context.library, model) for model in {one.model_id for one in sources}
    }
    limited = await asyncio.to_thread(_limited, plain, twins, (types, models))
    if limited is None:
        return None
    taken = await asyncio.to_thread(_taken, plain, twins)
    if taken is None:
        return None
    foreseen = ForeseenRelationships(taken, [None] * len(plain.ids), taken.columns[0][:2], limited, tx.epochs)
    keys = zip((source.twin_no for source in sources), plain.ids, strict=True)
    return await look_ahead(tx, foreseen, keys)


def _limited(
    plain: PlainRelationships,
    twins: tuple[Sequence[TwinEnd], Sequence[TwinEnd]],
    known: tuple[Mapping[str, TwinType], ModelSet],
) -> set[tuple[int, str]] | None:
    """Return the sources (by number) and names of which there may only be so many; None where a rule is broken."""
    sources, targets = twins
    types, models = known
    triples = [
        (source.model_id, name, target.model_id)
        for source, name, target in zip(sources, plain.names, targets, strict=True)
    ]
    most: dict[Triple, int] = {}
    try:
        for triple in set(triples):
            source_model, name, target_model = triple
            number = allowed(types[source_model], name, target_model, models).max_multiplicity
            if number is not None:
                most[triple] = number
    except InvalidError:
        return None
    if not most:
        return set()
    counts: Counter[tuple[int, str]] = Counter()
    for source, triple in zip(sources, triples, strict=True):
        if triple in most:
            key = source.twin_no, triple[1]
            counts[key] += 1
            if counts[key] > most[triple]:
                return None
    return set(counts)


def _taken(
    plain: PlainRelationships, twins: tuple[Sequence[TwinEnd], Sequence[TwinEnd]]
) -> TakenRelationships | None:
    """Return what is written, or None where one would start before its twins or later than now."""
    sources, targets = twins
    source_nos = [source.twin_no for source in sources]
    target_nos = [target.twin_no for target in targets]
    given = plain.starts_us != UNSTAMPED_US
    if given.any():
        twins_us = np.maximum(
            np.array([source.valid_from_us for source in sources], np.int64),
            np.array([target.valid_from_us for target in targets], np.int64),
        )
        fits = (plain.starts_us >= np.maximum(twins_us, 0)) & (plain.starts_us <= clock.now_us())
        if not fits[given].all():
            return None
    columns = zip(plain.source_ids, source_nos, plain.ids, plain.names, plain.target_ids, strict=True)
    told = [pack("relationship.created", _Told(*each, {}, UNSTAMPED_US)) for each in columns]
    what = ["{}"] * len(told), plain.starts_us
    written = relationship_columns((source_nos, target_nos), (plain.ids, plain.names), what)
    return TakenRelationships(written, (), parcels(told))

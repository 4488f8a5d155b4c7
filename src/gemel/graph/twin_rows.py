"""Write twins that a PUT made or left, however many at once: rows, spans, values and the change feed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from gemel.base.clock import from_us
from gemel.graph.changing import Outcome
from gemel.graph.context import GraphContext
from gemel.graph.live import LiveTwin, TwinRow
from gemel.graph.newborn import Newborns
from gemel.graph.spans import open_spans
from gemel.graph.timeline import Standing
from gemel.graph.told import told_twin
from gemel.graph.writing import number_paths, write_properties, write_row
from gemel.history.changes import append_all, append_packed
from gemel.history.write import copy_first_samples, tell_first_samples
from gemel.models import TwinType
from gemel.store.columns import bigints, texts, timestamps
from gemel.store.database import WriteTransaction

__all__ = ["new_places", "write_created", "write_replaced"]

INLINE_MAX = 500
"""Samples that are put together on the event loop; of more, a thread does it."""

NEXT = """
SELECT nextval('twin_no'), coalesce((
    SELECT max((extract(epoch FROM s.valid_to) * 1000000)::bigint) FROM twin_span AS s
    WHERE s.tenant = current_tenant() AND s.twin_id = w.id
      AND s.recorded_to = 'infinity' AND s.valid_to < 'infinity'), 0)
FROM unnest(%s::text[]) WITH ORDINALITY AS w (id, place) ORDER BY w.place"""
INSERT = """
INSERT INTO twin (tenant, twin_no, twin_id, model_id, components, lifecycle, valid_from, created, recorded)
SELECT current_tenant(), t.no, t.id, t.model, t.components::jsonb, t.lifecycle, t.starts, t.created, t.created
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    AS t (no, id, model, components, lifecycle, starts, created)"""
RESTAMP = """
UPDATE twin SET recorded = t.recorded FROM unnest(%s::bigint[], %s::timestamptz[]) AS t (no, recorded)
WHERE twin.tenant = current_tenant() AND twin.twin_no = t.no"""


async def new_places(tx: WriteTransaction, twin_ids: Sequence[str]) -> list[tuple[int, int]]:
    """Return, for each id of a twin to be made, its number, and until when (µs) the id was another's."""
    return [(int(row[0]), int(row[1])) for row in await tx.rows(NEXT, (texts(twin_ids),))]


async def write_created(tx: WriteTransaction, context: GraphContext, born: Newborns) -> None:
    """Write new twins and tell of them."""
    rows = born.rows
    if not rows:
        return
    numbers: dict[str, int] = {}
    for twin_type in born.types.values():
        known = await number_paths(tx, context, twin_type)
        numbers |= {path: number for (path, role), number in known.items() if role == "property"}
    if born.paths:
        large = len(born.paths) > INLINE_MAX
        batch = await asyncio.to_thread(born.samples, numbers) if large else born.samples(numbers)
        await copy_first_samples(tx, batch)
    standings = [Standing(row.model_id, born.types[row.model_id].components, row.lifecycle) for row in rows]
    places = [(row.twin_no, row.twin_id, row.valid_from_us) for row in rows]
    tx.touch_graph()
    async with tx.in_one_trip():
        await tx.execute(INSERT, _columns(rows, born.types))
        await open_spans(tx, places, standings, born.stamp_us)
        await append_packed(tx, born.told)
        if born.paths:
            await tell_first_samples(tx, batch)


def _columns(rows: Sequence[TwinRow], types: Mapping[str, TwinType]) -> tuple[object, ...]:
    components = {
        model: msgspec.json.encode(dict(twin_type.components)).decode() for model, twin_type in types.items()
    }
    return (
        bigints(np.array([row.twin_no for row in rows], np.int64)),
        texts([row.twin_id for row in rows]),
        texts([row.model_id for row in rows]),
        texts([components[row.model_id] for row in rows]),
        texts([row.lifecycle for row in rows]),
        timestamps(np.array([row.valid_from_us for row in rows], np.int64)),
        timestamps(np.array([row.created_us for row in rows], np.int64)),
    )


async def write_replaced(
    tx: WriteTransaction, context: GraphContext, replacements: Sequence[tuple[LiveTwin, Outcome]]
) -> None:
    """Write twins that were there before, each as it was and as it is left, and tell of them."""
    if not replacements:
        return
    restamped = []
    for before, outcome in replacements:
        old, new = before.row, outcome.twin.row
        if new.model_id != old.model_id or new.valid_from_us < old.valid_from_us:
            await write_row(tx, context, before, outcome.twin)
        else:
            restamped.append(new)
    moments = [from_us(row.recorded_us) for row in restamped]
    await tx.execute(RESTAMP, ([row.twin_no for row in restamped], moments))
    await append_all(tx, [("twin.updated", _told(before, outcome.twin)) for before, outcome in replacements])
    await write_properties(tx, context, [sample for _, outcome in replacements for sample in outcome.samples])


def _told(before: LiveTwin, after: LiveTwin) -> dict[str, Any]:
    if after.row.model_id == before.row.model_id:
        return told_twin(after)
    return told_twin(after) | {"previousModel": before.row.model_id}

"""Write twins that a PUT made or left, however many at once: rows, spans, values and the change feed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gemel.base.clock import from_us
from gemel.graph.changing import Outcome
from gemel.graph.context import GraphContext
from gemel.graph.live import LiveTwin
from gemel.graph.newborn import Newborns, PackedTwins
from gemel.graph.relationship_reading import TwinEnd
from gemel.graph.told import told_twin
from gemel.graph.writing import number_paths, write_properties, write_row
from gemel.history.changes import append_all, append_parcels, stamp_parcels
from gemel.history.unstamped import UNSTAMPED_US, stamp_array
from gemel.history.write import copy_first_samples, tell_first_samples
from gemel.store.columns import TextArray, texts
from gemel.store.database import Database, ReadTransaction, WriteTransaction

__all__ = ["any_known", "new_numbers", "new_places", "write_created", "write_packed", "write_replaced"]

INLINE_MAX = 500
"""Samples that are put together on the event loop; of more, a thread does it."""

NUMBERS = "SELECT nextval('twin_no') FROM generate_series(1, %s)"
ANY_KNOWN = """
SELECT EXISTS (
    SELECT FROM unnest(%s::text[]) AS w (id)
    WHERE EXISTS (SELECT FROM twin WHERE tenant = current_tenant() AND twin_id = w.id OFFSET 0)
       OR EXISTS (SELECT FROM twin_span WHERE tenant = current_tenant() AND twin_id = w.id OFFSET 0))"""
NEXT = """
SELECT nextval('twin_no'), coalesce((
    SELECT max((extract(epoch FROM s.valid_to) * 1000000)::bigint) FROM twin_span AS s
    WHERE s.tenant = current_tenant() AND s.twin_id = w.id
      AND s.recorded_to = 'infinity' AND s.valid_to < 'infinity'), 0)
FROM unnest(%s::text[]) WITH ORDINALITY AS w (id, place) ORDER BY w.place"""
# Of twins that are made nobody has said why, so that their rows say what their spans say.
CREATE = """
WITH made AS (
    INSERT INTO twin (tenant, twin_no, twin_id, model_id, components, lifecycle, valid_from, created, recorded)
    SELECT (SELECT current_tenant()), no, id, model, components::jsonb, lifecycle, starts, stamp, stamp
    FROM (SELECT %s::timestamptz AS stamp, unnest(%s::bigint[]) AS no, unnest(%s::text[]) AS id,
                 unnest(%s::timestamptz[]) AS starts, unnest(%s::text[]) AS model, unnest(%s::text[]) AS components,
                 unnest(%s::text[]) AS lifecycle) AS t
    RETURNING tenant, twin_no, twin_id, model_id, components, lifecycle, valid_from, recorded)
INSERT INTO twin_span (tenant, twin_no, twin_id, valid_from, valid_to, recorded_from, model_id, components, lifecycle)
SELECT tenant, twin_no, twin_id, valid_from, 'infinity', recorded, model_id, components, lifecycle FROM made"""
RESTAMP = """
UPDATE twin SET recorded = t.recorded FROM unnest(%s::bigint[], %s::timestamptz[]) AS t (no, recorded)
WHERE twin.tenant = current_tenant() AND twin.twin_no = t.no"""


async def new_numbers(database: Database, tenant: int, count: int) -> list[int]:
    """Return numbers of twins that no others have, outside of any transaction."""
    rows = await database.query(tenant, NUMBERS, (count,), read_only=False)
    return [int(row[0]) for row in rows]


async def any_known(tx: ReadTransaction, twin_ids: TextArray) -> bool:
    """Say whether any of the ids is that of a twin, or was."""
    # A plan that was kept from when there were few would look through all of them for each.
    [[known]] = await tx.rows(ANY_KNOWN, (twin_ids,), keeps_plan=False)
    return bool(known)


async def new_places(tx: WriteTransaction, twin_ids: Sequence[str]) -> list[tuple[int, int]]:
    """Return, for each id of a twin to be made, its number, and until when (µs) the id was another's."""
    return [(int(row[0]), int(row[1])) for row in await tx.rows(NEXT, (texts(twin_ids),))]


async def write_created(tx: WriteTransaction, context: GraphContext, born: Newborns) -> Mapping[str, TwinEnd]:
    """Write new twins that are made at a known stamp, and tell of them; return them as ends of relationships."""
    if not born.rows:
        return {}
    numbers: dict[str, int] = {}
    for twin_type in born.types.values():
        known = await number_paths(tx, context, twin_type)
        numbers |= {path: number for (path, role), number in known.items() if role == "property"}
    large = len(born.paths) > INLINE_MAX
    stamp_us = born.stamp_us
    packed = (
        await asyncio.to_thread(born.packed, numbers, stamp_us) if large else born.packed(numbers, stamp_us)
    )
    return await write_packed(tx, packed, stamp_us)


async def write_packed(tx: WriteTransaction, packed: PackedTwins, stamp_us: int) -> Mapping[str, TwinEnd]:
    """Write new twins that lie ready, and tell of them, at a stamp; return them as ends of relationships."""
    starts = stamp_array(packed.starts, stamp_us)
    places = packed.numbers, packed.ids, starts
    models, components, lifecycles, *_ = packed.standings
    if packed.samples is not None:
        await copy_first_samples(tx, packed.samples, stamp_us)
    tx.touch_graph()
    async with tx.in_one_trip():
        await tx.execute(CREATE, (from_us(stamp_us), *places, models, components, lifecycles))
        await append_parcels(tx, stamp_parcels(packed.told, stamp_us))
        if packed.samples is not None:
            await tell_first_samples(tx, packed.samples, stamp_us)
    return {
        twin_id: end._replace(valid_from_us=stamp_us) if end.valid_from_us == UNSTAMPED_US else end
        for twin_id, end in packed.ends.items()
    }


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

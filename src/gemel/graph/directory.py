"""Twins as ingest sees them: number, start and bound type by id, held in memory while the graph stays as it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec
import numpy as np

from gemel.base.clock import from_us
from gemel.graph.context import GraphContext
from gemel.graph.library import ModelLibrary
from gemel.graph.lifecycle import ACTIVE
from gemel.graph.live import LiveTwin, TwinRow
from gemel.graph.loading import DECOMMISSIONED, FLOOR, MICROSECONDS
from gemel.graph.names import check_twin_id, is_twin_id
from gemel.graph.spans import move_starts, open_spans, standing_columns
from gemel.graph.timeline import Standing
from gemel.graph.told import told_whole_twin
from gemel.graph.writing import existing_type, number_paths, usable_type
from gemel.history.changes import append_all
from gemel.history.paths import PATHS_MAX, Paths
from gemel.models import Slot, TwinType
from gemel.store.columns import bigints, texts, timestamps
from gemel.store.database import Epochs, ReadTransaction, WriteTransaction

__all__ = [
    "ENTRIES_MAX",
    "BoundSlot",
    "BoundType",
    "Directory",
    "DirectoryView",
    "TwinRef",
    "create_missing",
    "extend_start",
]

ENTRIES_MAX = 150_000
"""How many ids a process holds, of all tenants together; about 200 bytes each."""

FIND = f"""
SELECT t.twin_id, t.twin_no, t.model_id, {MICROSECONDS.format("t.valid_from")}, {FLOOR}, {DECOMMISSIONED}
FROM twin AS t WHERE t.tenant = current_tenant() AND t.twin_id = ANY(%s)"""
CREATE = """
INSERT INTO twin (tenant, twin_no, twin_id, model_id, components, valid_from, created, recorded)
SELECT current_tenant(), nextval('twin_no'), n.id, %s, %s::jsonb, greatest(n.starts, n.floor), %s, %s
FROM (
    SELECT w.id, w.starts, to_timestamp(0) + ({floor}) * interval '1 microsecond' AS floor
    FROM unnest(%s::text[], %s::timestamptz[]) AS w (id, starts)
) AS n
WHERE NOT EXISTS (SELECT 1 FROM twin WHERE tenant = current_tenant() AND twin_id = n.id)
RETURNING twin_no, twin_id, {starts}""".format(
    floor=FLOOR.replace("s.twin_id = t.twin_id AND s.twin_no <> t.twin_no", "s.twin_id = w.id"),
    starts=MICROSECONDS.format("valid_from"),
)


class BoundSlot(NamedTuple):
    """A property or telemetry of a type, and the number of its path."""

    path_no: int
    slot: Slot


@dataclass(frozen=True, slots=True)
class BoundType:
    """A type of twins whose paths are numbered."""

    twin_type: TwinType
    slots: dict[str, BoundSlot]


@dataclass(frozen=True, slots=True)
class TwinRef:
    """A live twin. Samples before `valid_from_us` extend it back, but none before `floor_us` are its own.

    From `decommissioned_us` on it takes none.
    """

    twin_no: int
    twin_type: BoundType
    valid_from_us: int
    floor_us: int
    decommissioned_us: int


@dataclass(frozen=True, slots=True)
class DirectoryView:
    """The twins that exist out of those asked for, by id, as of the epochs."""

    twins: dict[str, TwinRef]
    epochs: Epochs


@dataclass(slots=True)
class _Known:
    """What is held of one tenant; None stands for an id that no twin has."""

    epochs: Epochs
    refs: dict[str, TwinRef | None] = field(default_factory=dict)
    types: dict[str, BoundType] = field(default_factory=dict)


class Directory:
    """Resolves ids of twins. Holds at most `entries_max` ids; gives up the tenants used longest ago."""

    def __init__(self, library: ModelLibrary, paths: Paths, entries_max: int = ENTRIES_MAX) -> None:
        self._library = library
        self._paths = paths
        self._entries_max = entries_max
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def cached(self, tenant: int, twin_ids: Collection[str]) -> DirectoryView | None:
        """Return what is held of the ids, if it is all held; whether it still holds, its epochs say."""
        known = self._known.get(tenant)
        if known is None:
            return None
        refs = known.refs
        try:
            found = {twin_id: refs[twin_id] for twin_id in twin_ids}
        except KeyError:
            return None
        self._known.move_to_end(tenant)
        return _view(found, known.epochs)

    async def resolve(self, tx: ReadTransaction, twin_ids: Collection[str]) -> DirectoryView:
        """Return those of the ids that are twins, as this transaction sees them; in one query where not held."""
        epochs = tx.epochs
        held = self._known.get(tx.tenant)
        known = held if held is not None and held.epochs == epochs else _Known(epochs)
        missing = [twin_id for twin_id in twin_ids if twin_id not in known.refs]
        fresh = await self._find(tx, known, missing) if missing else _Known(epochs)
        view = {i: fresh.refs[i] if i in fresh.refs else known.refs[i] for i in twin_ids}
        if isinstance(tx, WriteTransaction):
            # Not before the commit: until then nobody else may see it, and a rollback takes it back.
            tx.on_commit(lambda: self._keep(tx.tenant, fresh))
        else:
            self._keep(tx.tenant, fresh)
        return _view(view, epochs)

    async def with_models(
        self, tx: ReadTransaction, view: DirectoryView, models: Mapping[str, str]
    ) -> DirectoryView:
        """Return a view in which twins of some models have others, by model id: what an upgrade would make of them.

        Raises InvalidError (ValidationFailed for a model that is not there, ModelDecommissioned).
        """
        types = {}
        for before, after in models.items():
            await usable_type(tx, self._library, after)
            types[before] = await self._bind(tx, after, foreseen=True)
        twins = {
            twin_id: replace(ref, twin_type=types.get(ref.twin_type.twin_type.model, ref.twin_type))
            for twin_id, ref in view.twins.items()
        }
        return DirectoryView(twins, view.epochs)

    async def _find(self, tx: ReadTransaction, known: _Known, twin_ids: list[str]) -> _Known:
        fresh = _Known(known.epochs, dict.fromkeys(twin_ids))
        askable = [twin_id for twin_id in twin_ids if is_twin_id(twin_id)]
        for twin_id, twin_no, model_id, *times_us in await tx.rows(FIND, (askable,)):
            bound = known.types.get(model_id) or fresh.types.get(model_id)
            if bound is None:
                bound = fresh.types[model_id] = await self._bind(tx, model_id)
            fresh.refs[twin_id] = TwinRef(twin_no, bound, *times_us)
        return fresh

    async def _bind(self, tx: ReadTransaction, model_id: str, *, foreseen: bool = False) -> BoundType:
        """Return a model's type with the numbers of its paths.

        Of one `foreseen` that no twin has had, some have none yet: those get stand-ins that no path has.
        """
        twin_type = await existing_type(tx, self._library, model_id)
        numbers = await self._paths.numbers(tx, [(slot.path, slot.role) for slot in twin_type.slots.values()])
        if foreseen:
            fresh = [
                key for slot in twin_type.slots.values() if (key := (slot.path, slot.role)) not in numbers
            ]
            numbers |= {key: PATHS_MAX - 1 - place for place, key in enumerate(fresh)}
        slots = {
            path: BoundSlot(numbers[slot.path, slot.role], slot) for path, slot in twin_type.slots.items()
        }
        return BoundType(twin_type, slots)

    def _keep(self, tenant: int, fresh: _Known) -> None:
        known = self._known.get(tenant)
        if known is None or _older(known.epochs, fresh.epochs):
            known = self._known[tenant] = _Known(fresh.epochs)
        if known.epochs == fresh.epochs:
            known.refs.update(fresh.refs)
            known.types.update(fresh.types)
            self._known.move_to_end(tenant)
        while sum(len(each.refs) for each in self._known.values()) > self._entries_max:
            self._known.popitem(last=False)


async def create_missing(
    tx: WriteTransaction, context: GraphContext, model_id: str, starts_us: Mapping[str, int]
) -> list[str]:
    """Create twins of a model, with empty components, out of the ids that no twin has; return those created.

    `starts_us` says since when each has been there; where an earlier twin of the id was deleted later than
    that, since then. Raises InvalidError (InvalidArgument, ValidationFailed, ModelDecommissioned).
    """
    for twin_id in starts_us:
        check_twin_id(twin_id)
    twin_type = await usable_type(tx, context.library, model_id)
    await number_paths(tx, context, twin_type)  # first: what it refuses must leave nothing behind
    stamp_us = tx.stamp()
    now = from_us(stamp_us)
    starts = [from_us(min(time_us, stamp_us)) for time_us in starts_us.values()]
    parts = dict(twin_type.components)
    components = msgspec.json.encode(parts).decode()
    rows = await tx.rows(CREATE, (model_id, components, now, now, list(starts_us), starts))
    if not rows:
        return []
    standing = Standing(model_id, twin_type.components, ACTIVE)
    numbers, ids, spans_us = zip(*rows, strict=True)
    places = bigints(np.array(numbers, np.int64)), texts(ids), timestamps(np.array(spans_us, np.int64))
    await open_spans(tx, places, standing_columns([standing] * len(rows)), stamp_us)
    tx.touch_graph()
    born = (
        TwinRow(no, twin_id, model_id, parts, start_us, stamp_us, stamp_us, 0)
        for no, twin_id, start_us in rows
    )
    await append_all(tx, [("twin.created", told_whole_twin(LiveTwin(row))) for row in born])
    return [str(row[1]) for row in rows]


async def extend_start(tx: WriteTransaction, starts_us: Mapping[int, int]) -> None:
    """Move the starts of twins (by number) back to source times (µs) they were told of; never forward."""
    await move_starts(tx, starts_us)


def _view(found: Mapping[str, TwinRef | None], epochs: Epochs) -> DirectoryView:
    return DirectoryView({twin_id: ref for twin_id, ref in found.items() if ref is not None}, epochs)


def _older(one: Epochs, other: Epochs) -> bool:
    return (one.graph, one.models) < (other.graph, other.models)

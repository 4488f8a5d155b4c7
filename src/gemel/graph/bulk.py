"""Many twins at once, by the rules of a single PUT: read ahead of the lock, written in a few statements.

An item that breaks a rule gets its error; the others are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gemel.base.errors import GemelError, InvalidError
from gemel.graph.changing import Limits, Outcome
from gemel.graph.content import model_of
from gemel.graph.context import GraphContext
from gemel.graph.ends import KnownEnds
from gemel.graph.live import LiveTwin
from gemel.graph.loading import load_twins
from gemel.graph.names import check_twin_id
from gemel.graph.neighbours import model_change_faults
from gemel.graph.newborn import Newborns
from gemel.graph.overlap import judge_and_write
from gemel.graph.putting import Put, created, created_plainly, foresee_values, read_put, replaced
from gemel.graph.relationship_reading import TwinEnd
from gemel.graph.twin_rows import new_places, write_created, write_replaced
from gemel.graph.writing import decommissioned_models, refuse_decommissioned, unknown_model
from gemel.models import TwinType
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["TwinItem", "TwinPuts", "put_twins", "read_twin_puts"]

TwinItem = tuple[str, Any]
"""The id of a twin and its body, as a PUT takes them."""


@dataclass(frozen=True, slots=True)
class TwinPuts:
    """What items ask, or why they are refused, in their order; read with the models of one epoch."""

    items: Sequence[TwinItem]
    puts: Sequence[Put | GemelError]
    models_epoch: int

    @property
    def times_us(self) -> list[int]:
        """The source times that are named: for `GraphContext.prepare`, before the transaction opens."""
        puts = [put for put in self.puts if isinstance(put, Put)]
        starts = [put.valid_from_us for put in puts if put.valid_from_us is not None]
        return [*starts, *(time_us for put in puts for time_us in put.change.times_us.values())]


@dataclass(slots=True)
class _Taken:
    """What is to be written of items that are taken."""

    created: Newborns
    replaced: list[tuple[LiveTwin, Outcome]] = field(default_factory=list)


@dataclass(slots=True)
class _Judge:
    """Applies the rules at one moment; notes of each item why it is not taken, or None."""

    before: Mapping[str, LiveTwin]
    places: Mapping[str, tuple[int, int]]
    decommissioned: frozenset[str]
    unfit: Mapping[int, GemelError]
    stamp_us: int
    limits: Limits
    errors: list[GemelError | None] = field(default_factory=list)

    def run(self, puts: Sequence[Put | GemelError]) -> _Taken:
        """Judge items in their order."""
        taken = _Taken(Newborns(self.stamp_us))
        self.errors += [put if isinstance(put, GemelError) else self._judge(put, taken) for put in puts]
        return taken

    def _judge(self, put: Put, taken: _Taken) -> GemelError | None:
        twin_type = put.change.twin_type
        before = self.before.get(put.twin_id)
        try:
            if before is None or before.row.model_id != twin_type.model:
                refuse_decommissioned(twin_type.model, self.decommissioned)
            if before is not None:
                if before.row.twin_no in self.unfit:
                    return self.unfit[before.row.twin_no]
                taken.replaced.append((before, replaced(put, before, self.stamp_us, self.limits)))
                return None
            self._create(put, taken.created)
        except GemelError as error:
            return error
        return None

    def _create(self, put: Put, born: Newborns) -> None:
        place, twin_type = self.places[put.twin_id], put.change.twin_type
        if put.stored is None:
            born.add(created(put, *place, self.stamp_us, self.limits), twin_type)
        else:
            twin, values, time_us = created_plainly(put, place, self.stamp_us, self.limits)
            born.add_plain(twin, twin_type, values, time_us)


async def read_twin_puts(tx: ReadTransaction, context: GraphContext, items: Sequence[TwinItem]) -> TwinPuts:
    """Read bodies of twins, each id once, against the models of this moment."""
    epoch = tx.epochs.models
    wanted = {model for _, body in items if (model := _model_named(body)) is not None}
    types = {model: await context.library.twin_type(tx, model) for model in wanted}
    puts = await asyncio.to_thread(lambda: [_read(twin_id, body, types) for twin_id, body in items])
    return TwinPuts(items, puts, epoch)


async def put_twins(
    tx: WriteTransaction, context: GraphContext, read: TwinPuts, ends: KnownEnds | None = None
) -> list[GemelError | None]:
    """Create or replace twins, all at one recorded moment; return of each why it was not taken, or None.

    Await `context.prepare(read.times_us)` before the transaction opens. `ends` learn of twins that are made, for
    the relationships that follow.
    """
    found_epoch = tx.epochs.graph
    if tx.epochs.models != read.models_epoch:
        read = await read_twin_puts(tx, context, read.items)
    puts = {put.twin_id: put for put in read.puts if isinstance(put, Put)}
    before = await load_twins(tx, context, list(puts))
    fresh = [twin_id for twin_id in puts if twin_id not in before]
    places = dict(zip(fresh, await new_places(tx, fresh), strict=True)) if fresh else {}
    closed = await decommissioned_models(tx, {put.change.twin_type.model for put in puts.values()})
    moved = {
        before[twin_id].row.twin_no: put.change.twin_type
        for twin_id, put in puts.items()
        if twin_id in before and before[twin_id].row.model_id != put.change.twin_type.model
    }
    unfit = await model_change_faults(tx, context, moved)
    stamp_us = tx.stamp()
    judge = _Judge(before, places, closed, unfit, stamp_us, context.limits(tx, stamp_us))
    made: dict[str, TwinEnd] = {}

    async def write(taken: _Taken) -> None:
        await write_created(tx, context, taken.created)
        made.update(taken.created.ends)
        await write_replaced(tx, context, taken.replaced)

    await judge_and_write(read.puts, judge.run, write)
    if ends is not None:
        epochs = (found_epoch, tx.epochs.graph)
        tx.on_commit(lambda: ends.learn(epochs, made, before))
    return judge.errors


def _model_named(body: Any) -> str | None:
    try:
        return model_of(body)
    except InvalidError:
        return None


def _read(twin_id: str, body: Any, types: Mapping[str, TwinType | None]) -> Put | GemelError:
    try:
        check_twin_id(twin_id)
        model_id = model_of(body)
        twin_type = types[model_id]
        return (
            unknown_model(model_id)
            if twin_type is None
            else foresee_values(read_put(twin_id, body, twin_type))
        )
    except GemelError as error:
        return error

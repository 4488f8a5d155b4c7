"""Many twins at once, by the rules of a single PUT: read ahead of the lock, written in a few statements.

An item that breaks a rule gets its error; the others are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gemel.base import clock
from gemel.base.errors import GemelError, InvalidError
from gemel.graph.absence import Absence, hashes_of, is_absent, note_made
from gemel.graph.changing import Limits, Outcome
from gemel.graph.content import model_of
from gemel.graph.context import GraphContext
from gemel.graph.ends import KnownEnds
from gemel.graph.live import LiveTwin
from gemel.graph.loading import load_twins
from gemel.graph.names import check_twin_id
from gemel.graph.neighbours import model_change_faults
from gemel.graph.newborn import Newborns, PackedTwins
from gemel.graph.overlap import judge_and_write
from gemel.graph.plain import PlainReader
from gemel.graph.putting import Put, born, created, foresee_values, read_put, replaced
from gemel.graph.relationship_reading import TwinEnd
from gemel.graph.twin_rows import any_known, new_places, write_created, write_packed, write_replaced
from gemel.graph.writing import decommissioned_models, refuse_decommissioned, unknown_model
from gemel.history.unstamped import UNSTAMPED_US
from gemel.history.weeks import in_one_week
from gemel.models import TwinType
from gemel.store.columns import TextArray, texts
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["TwinItem", "TwinPuts", "foresee_twins", "put_twins", "read_twin_puts"]

TwinItem = tuple[str, Any]
"""The id of a twin and its body, as a PUT takes them."""


class Foreseen(NamedTuple):
    """What is written of items if none of their ids was ever a twin's, and of each item why it is not, or None.

    It was put together at `now_us`, when history was kept from `line_us` on, and when all was so, as `absence` says.
    """

    twins: PackedTwins | None
    ids: TextArray
    errors: list[GemelError | None]
    now_us: int
    line_us: int | None
    absence: Absence


@dataclass(frozen=True, slots=True)
class TwinPuts:
    """What items ask, or why they are refused, in their order; read with the models of one epoch.

    `numbers` are those of the paths of all their types, or None where some path has none yet.
    """

    items: Sequence[TwinItem]
    puts: Sequence[Put | GemelError]
    models_epoch: int
    line_us: int | None = None
    numbers: Mapping[str, int] | None = None
    foreseen: Foreseen | None = None

    @property
    def models(self) -> set[str]:
        """The models that twins are asked of."""
        return {put.change.twin_type.model for put in self.puts if isinstance(put, Put)}

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

    def _create(self, put: Put, newborns: Newborns) -> None:
        place, twin_type = self.places[put.twin_id], put.change.twin_type
        if put.stored is None:
            newborns.add(created(put, *place, self.stamp_us, self.limits), twin_type)
        else:
            row, time_us = born(put, place, self.stamp_us, self.limits)
            newborns.add_plain(row, twin_type, put.stored, time_us)


async def read_twin_puts(
    tx: ReadTransaction,
    context: GraphContext,
    items: Sequence[TwinItem],
    readers: dict[str, PlainReader] | None = None,
) -> TwinPuts:
    """Read bodies of twins, each id once, against the models of this moment.

    `readers` are kept by model from one batch to the next.
    """
    epoch = tx.epochs.models
    wanted = {model for _, body in items if (model := _model_named(body)) is not None}
    types = {model: await context.library.twin_type(tx, model) for model in wanted}
    numbers = await _numbers(tx, context, [each for each in types.values() if each is not None])
    known = {} if readers is None else readers
    puts = await asyncio.to_thread(lambda: _read_all(items, types, known))
    return TwinPuts(items, puts, epoch, tx.line_us, numbers)


async def foresee_twins(tx: ReadTransaction, read: TwinPuts, twin_nos: Sequence[int]) -> TwinPuts:
    """Put together what is written of items if all of them make new twins, which take these numbers.

    `put_twins` then has little to do while others wait. Where one of them is there, or it cannot be known what it will
    be at a later moment, nothing is foreseen.
    """
    now_us = clock.now_us()
    if read.numbers is None or max(read.times_us, default=0) > now_us:
        return read
    ids = [put.twin_id for put in read.puts if isinstance(put, Put)]
    named = texts(ids)
    judging = asyncio.create_task(asyncio.to_thread(_foresee, read, twin_nos, now_us))
    try:
        usable = not await decommissioned_models(tx, read.models) and not await any_known(tx, named)
    finally:
        # A look that fails must not leave a thread behind.
        await asyncio.gather(judging, return_exceptions=True)
    if not usable:
        return read
    packed, errors = judging.result()
    absence = Absence.seen(tx, hashes_of(ids, len(ids)))
    foreseen = Foreseen(packed, named, errors, now_us, read.line_us, absence)
    return replace(read, foreseen=foreseen)


def _foresee(
    read: TwinPuts, twin_nos: Sequence[int], now_us: int
) -> tuple[PackedTwins | None, list[GemelError | None]]:
    ids = [put.twin_id for put in read.puts if isinstance(put, Put)]
    places = {twin_id: (twin_no, 0) for twin_id, twin_no in zip(ids, twin_nos, strict=False)}
    limits = Limits(read.line_us or 0, now_us)
    judge = _Judge({}, places, frozenset(), {}, UNSTAMPED_US, limits)
    made = judge.run(read.puts).created
    packed = made.packed(read.numbers or {}, now_us) if made.rows else None
    return packed, judge.errors


async def _numbers(
    tx: ReadTransaction, context: GraphContext, types: Sequence[TwinType]
) -> Mapping[str, int] | None:
    wanted = {(slot.path, slot.role) for each in types for slot in each.slots.values()}
    known = await context.paths.find(tx, wanted)
    return (
        {path: no for (path, role), no in known.items() if role == "property"}
        if len(known) == len(wanted)
        else None
    )


async def put_twins(
    tx: WriteTransaction, context: GraphContext, read: TwinPuts, ends: KnownEnds | None = None
) -> list[GemelError | None]:
    """Create or replace twins, all at one recorded moment; return of each why it was not taken, or None.

    Await `context.prepare(read.times_us)` before the transaction opens. `ends` learn of twins that are made, for
    the relationships that follow.
    """
    found_epoch = tx.epochs.graph
    stamp_us = tx.stamp()
    if read.foreseen is not None and await _holds(tx, read, read.foreseen, stamp_us):
        return await _put_foreseen(tx, read.foreseen, stamp_us, ends)
    if tx.epochs.models != read.models_epoch:
        read = await read_twin_puts(tx, context, read.items)
    puts = {put.twin_id: put for put in read.puts if isinstance(put, Put)}
    before = await load_twins(tx, context, list(puts))
    fresh = [twin_id for twin_id in puts if twin_id not in before]
    places = dict(zip(fresh, await new_places(tx, fresh), strict=True)) if fresh else {}
    closed = await decommissioned_models(tx, read.models)
    moved = {
        before[twin_id].row.twin_no: put.change.twin_type
        for twin_id, put in puts.items()
        if twin_id in before and before[twin_id].row.model_id != put.change.twin_type.model
    }
    unfit = await model_change_faults(tx, context, moved)
    judge = _Judge(before, places, closed, unfit, stamp_us, context.limits(tx, stamp_us))
    made: dict[str, TwinEnd] = {}

    async def write(taken: _Taken) -> None:
        made.update(await write_created(tx, context, taken.created))
        await write_replaced(tx, context, taken.replaced)

    await judge_and_write(read.puts, judge.run, write)
    _learn(tx, ends, found_epoch, made, before)
    return judge.errors


async def _holds(tx: WriteTransaction, read: TwinPuts, foreseen: Foreseen, stamp_us: int) -> bool:
    """Say whether what was foreseen is so at a stamp."""
    if tx.epochs.models != read.models_epoch or tx.line_us != foreseen.line_us:
        return False
    if not in_one_week(foreseen.now_us, stamp_us):
        return False
    if is_absent(tx, foreseen.absence):
        return True
    # One that is refused as a new one may be there.
    return not await decommissioned_models(tx, read.models) and not await any_known(tx, foreseen.ids)


async def _put_foreseen(
    tx: WriteTransaction, foreseen: Foreseen, stamp_us: int, ends: KnownEnds | None
) -> list[GemelError | None]:
    found_epoch, before_no = tx.epochs.graph, tx.change_no
    if foreseen.twins is not None:
        _learn(tx, ends, found_epoch, await write_packed(tx, foreseen.twins, stamp_us), ())
        note_made(tx, foreseen.absence.hashes, before_no)
    return foreseen.errors


def _learn(
    tx: WriteTransaction,
    ends: KnownEnds | None,
    found_epoch: int,
    made: Mapping[str, TwinEnd],
    changed: Collection[str],
) -> None:
    if ends is not None:
        epochs = (found_epoch, tx.epochs.graph)
        tx.on_commit(lambda: ends.learn(epochs, made, changed))


def _model_named(body: Any) -> str | None:
    try:
        return model_of(body)
    except InvalidError:
        return None


def _read_all(
    items: Sequence[TwinItem], types: Mapping[str, TwinType | None], readers: dict[str, PlainReader]
) -> list[Put | GemelError]:
    for model, twin_type in types.items():
        known = readers.get(model)
        if twin_type is None:
            readers.pop(model, None)
        elif known is None or known.twin_type is not twin_type:
            readers[model] = PlainReader(twin_type)
    return [_read(twin_id, body, readers) for twin_id, body in items]


def _read(twin_id: str, body: Any, readers: Mapping[str, PlainReader]) -> Put | GemelError:
    try:
        check_twin_id(twin_id)
        model_id = model_of(body)
        reader = readers.get(model_id)
        if reader is None:
            return unknown_model(model_id)
        plain = reader.read(twin_id, body)
        return foresee_values(read_put(twin_id, body, reader.twin_type)) if plain is None else plain
    except GemelError as error:
        return error

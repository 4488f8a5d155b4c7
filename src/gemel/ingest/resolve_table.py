"""A table of events to columns of samples: by column for each model and path, without an object for a sample.

Only what certainly fits is taken so. Any other row is made into its Event and goes the one way that JSON goes, which
says what is wrong with it, or takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gemel.base.errors import Detail
from gemel.graph.directory import DirectoryView
from gemel.history.samples import Ints, SampleBatch
from gemel.history.values import DOUBLE
from gemel.ingest.columns import Slots, Twins, earliest_starts, slot_columns, twin_columns
from gemel.ingest.events import Event
from gemel.ingest.resolve import QUALITY_NO, Resolved, TimeRules, encode_fitting, resolve
from gemel.ingest.resolve_plain import resolve_plain
from gemel.ingest.table import Cells, EventTable, Flags

__all__ = ["resolve_batch"]

REVISION_MAX = 2**31 - 1
PLAIN_MIN = 100
"""Of fewer events, each is looked at by itself sooner."""
NOT_ONE = -1


def resolve_batch(events: Sequence[Event | Detail], view: DirectoryView, rules: TimeRules) -> Resolved:
    """Resolve, validate and encode events in order of arrival, in a list or as a table."""
    if isinstance(events, EventTable):
        return _resolve_table(events, view, rules)
    made = resolve_plain(events, view, rules) if len(events) >= PLAIN_MIN else None
    return made or resolve(events, view, rules)


@dataclass(slots=True)
class _Fitted:
    """Samples of one column that fit: their rows, series, and values as stored."""

    rows: Ints
    series: Ints
    num: npt.NDArray[np.float64]
    kind: npt.NDArray[np.int16]
    docs: npt.NDArray[np.object_] | None

    def take(self, mask: Flags) -> _Fitted:
        docs = None if self.docs is None else self.docs[mask]
        return _Fitted(self.rows[mask], self.series[mask], self.num[mask], self.kind[mask], docs)


def _resolve_table(table: EventTable, view: DirectoryView, rules: TimeRules) -> Resolved:
    twins = twin_columns([view.twins.get(twin_id or "") for twin_id in table.twins.values])
    code = table.twins.codes
    time_us = np.where(table.timed, table.time_us, rules.received_us + np.arange(len(table)))
    good = table.named & twins.known[code] & (time_us >= twins.from_us[code]) & (time_us < twins.to_us[code])
    good &= ~table.timed | ((time_us <= rules.latest_us) & (time_us >= rules.retention_us))
    good &= (table.revisions >= 0) & (table.revisions <= REVISION_MAX)
    quality_of = np.array(
        [QUALITY_NO.get(value or "", NOT_ONE) for value in table.qualities.values], np.int16
    )
    quality = quality_of[table.qualities.codes]
    good &= quality >= 0
    fitted = [_fit(cells, code, twins, good) for cells in table.cells]
    has_value = np.zeros(len(table), np.bool_)
    for each in fitted:
        has_value[each.rows] = True
    good &= has_value
    fitted = [each if good[each.rows].all() else each.take(good[each.rows]) for each in fitted]
    made = _columns(fitted, time_us, table.revisions, quality)
    starts = earliest_starts(twins, code, time_us, good)
    slow = np.flatnonzero(~good)
    return (
        _with_slow(table, view, rules, slow, Resolved(*made, {}, starts))
        if len(slow)
        else Resolved(*made, {}, starts)
    )


def _fit(cells: Cells, code: Ints, twins: Twins, good: Flags) -> _Fitted:
    """Return the cells of good rows as stored; a row with one that may not fit is good no more."""
    slots = slot_columns(twins.types, cells.paths)
    rows, twin = cells.rows, code[cells.rows]
    place = twins.type_no[twin] * len(cells.paths) + cells.path
    mine = np.flatnonzero(good[rows])
    if len(mine) < len(rows):
        rows, twin, place = rows[mine], twin[mine], place[mine]
    if not len(rows):
        return _Fitted(rows, rows, np.zeros(0), np.zeros(0, np.int16), None)
    num = np.full(len(rows), np.nan) if cells.numbers is None else cells.numbers[mine].astype(np.float64)
    fitted = _Fitted(rows, twins.base[twin] | slots.path_no[place], num, slots.kind[place], None)
    surely = _surely(cells, mine, slots, place)
    if not surely.all():
        surely |= _by_value(cells, mine, slots, place, ~surely, fitted)
        good[rows[~surely]] = False
    return fitted


def _surely(cells: Cells, mine: Ints, slots: Slots, place: Ints) -> Flags:
    if cells.numbers is None:
        return np.zeros(len(mine), np.bool_)
    numbers = cells.numbers[mine]
    if numbers.dtype == np.int64:
        return np.asarray((numbers >= slots.whole_least[place]) & (numbers <= slots.whole_most[place]))
    return np.asarray((numbers >= slots.least[place]) & (numbers <= slots.most[place]))


def _by_value(cells: Cells, mine: Ints, slots: Slots, place: Ints, unsure: Flags, fitted: _Fitted) -> Flags:
    """Check and encode each different value once for each slot; return which of the cells fit after all."""
    chosen = np.flatnonzero(unsure)
    values, codes = cells.values(mine[chosen])
    keys, inverse = np.unique(place[chosen] * max(len(values), 1) + codes, return_inverse=True)
    found = []
    for key in keys.tolist():
        slot, value = slots.slots[key // len(values)], values[key % len(values)]
        found.append(None if slot is None else encode_fitting(slot, value))
    fits = np.array([each is not None for each in found], np.bool_)[inverse]
    stored = [each or (None, DOUBLE, None) for each in found]
    fitted.num[chosen] = np.array([np.nan if num is None else num for num, _, _ in stored])[inverse]
    fitted.kind[chosen] = np.array([kind for _, kind, _ in stored], np.int16)[inverse]
    fitted.docs = np.full(len(place), None, object)
    fitted.docs[chosen] = np.array([doc for _, _, doc in stored], object)[inverse]
    result = np.zeros(len(place), np.bool_)
    result[chosen] = fits
    return result


def _columns(
    fitted: Sequence[_Fitted], time_us: Ints, revisions: Ints, quality: npt.NDArray[np.int16]
) -> tuple[SampleBatch, Ints]:
    """Return the samples of all columns, row by row."""
    owner = np.concatenate([each.rows for each in fitted]) if fitted else np.zeros(0, np.int64)
    order = np.argsort(owner, kind="stable") if len(fitted) > 1 else slice(None)
    owner = owner[order]
    docs = None
    if any(each.docs is not None for each in fitted):
        parts = [np.full(len(each.rows), None, object) if each.docs is None else each.docs for each in fitted]
        docs = list(np.concatenate(parts)[order])
    empty = _Fitted(owner[:0], owner[:0], np.zeros(0), np.zeros(0, np.int16), None)
    parts_of = fitted or (empty,)
    batch = SampleBatch(
        series=np.concatenate([each.series for each in parts_of])[order],
        time_us=time_us[owner],
        recorded_us=np.zeros(len(owner), np.int64),
        num=np.concatenate([each.num for each in parts_of])[order],
        kind=np.concatenate([each.kind for each in parts_of])[order],
        revision=revisions[owner].astype(np.int32),
        quality=quality[owner],
        docs=docs,
    )
    return batch, owner


def _with_slow(
    table: EventTable, view: DirectoryView, rules: TimeRules, slow: Ints, made: Resolved
) -> Resolved:
    """Add what the other rows are as events: faults, and samples where one is taken after all."""
    receipts = (rules.received_us + slow).tolist()
    own = resolve([table[row] for row in slow.tolist()], view, rules._replace(receipts_us=receipts))
    made.faults = {int(slow[index]): fault for index, fault in own.faults.items()}
    if len(own.batch):
        for twin_no, time_us in own.starts.items():
            made.starts[twin_no] = min(time_us, made.starts.get(twin_no, time_us))
        owner = np.concatenate((made.owner, slow[own.owner]))
        order = np.argsort(owner, kind="stable")
        made.owner = owner[order]
        made.batch = SampleBatch.concatenate((made.batch, own.batch)).take(order)
    return made

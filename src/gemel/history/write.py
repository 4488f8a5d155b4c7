"""Write a batch of samples under the tenant's write transaction: state, history, superseded, change feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gemel.base.clock import from_us
from gemel.history.changes import CURRENT, FIRST, append_chunks, append_samples, pack_samples
from gemel.history.cold import mark_new, stage_keys, thaw
from gemel.history.gaps import find_refused
from gemel.history.heading import HeadRows, copy_head, pack_head
from gemel.history.lasts import forget_lasts, note_lasts, recall_lasts
from gemel.history.ordering import ACCEPTED, NEVER_US, Known, Plan, plan
from gemel.history.promoted import write_promoted
from gemel.history.samples import Ints, Sample, SampleBatch
from gemel.history.stale import mark_stale
from gemel.history.stored import KEYS, stored_samples, unpack
from gemel.history.unstamped import stamp_array, stamp_stream, stamp_times
from gemel.history.values import JSON, Encoded, Rank, canonical_json, rank
from gemel.history.weeks import leaf_of, week_of
from gemel.store.columns import (
    COPY_HEADER,
    COPY_TRAILER,
    PG_EPOCH_US,
    PgArray,
    TimestampArray,
    bigints,
    copy_fixed,
    doubles,
    integers,
    smallints,
    texts,
    timestamps,
)
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "FirstSamples",
    "copy_first_samples",
    "foresee_samples",
    "pack_first_samples",
    "restate",
    "tell_first_samples",
    "write_samples",
]

Flags = npt.NDArray[np.bool_]

COPIED_MIN = 1_000
COPIED_WEEKS_MAX = 4
"""The state of so many first samples at least, of so few weeks, is taken from what was copied: each is a look."""
INLINE_MAX = 2_000
T = TypeVar("T")
"""Samples that are classified on the event loop; more go to a thread, for repeats cost some µs each."""

# A series whose samples were all deleted stands in the state as removed, with no revision: whatever comes is newer.
LAST = f"""
SELECT series, CASE WHEN revision < 0 THEN {NEVER_US + 1} ELSE (extract(epoch FROM source_time) * 1000000)::bigint END,
       NULL::bigint
FROM latest WHERE tenant = current_tenant() AND series = ANY(%(series)s)
UNION ALL
SELECT series, (extract(epoch FROM low) * 1000000)::bigint, (extract(epoch FROM high) * 1000000)::bigint
FROM sample_gap WHERE tenant = current_tenant() AND series = ANY(%(series)s)"""

HELD = f"""
SELECT k.series, k.time_us, s.num, s.kind, s.doc, s.revision, s.quality,
       (extract(epoch FROM s.recorded) * 1000000)::bigint
FROM unnest(%(series)s::bigint[], %(times)s::timestamptz[], %(times_us)s::bigint[]) AS k (series, source_time, time_us)
CROSS JOIN LATERAL (SELECT * FROM {stored_samples(*KEYS)} AS held OFFSET 0) AS s"""

LOST = """
SELECT k.series, k.time_us, s.num, s.kind, s.doc, s.revision, s.quality
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) AS k (series, source_time, time_us)
JOIN sample_superseded AS s
  ON s.tenant = current_tenant() AND s.series = k.series AND s.source_time = k.source_time"""

COLUMNS = "series, source_time, recorded, num, revision, quality, kind, doc"

COLUMN_TYPES = """
%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::float8[], %s::int[], %s::smallint[], %s::smallint[],
%s::text[]"""
ROWS = f"unnest({COLUMN_TYPES}) AS r (series, source_time, recorded, num, revision, quality, kind, doc)"

# Arrays that are unnested in FROM are each stored first, and the tenant is asked for once: a fifth less for each row.
INSERT_LATEST = f"""
INSERT INTO latest (tenant, {COLUMNS})
SELECT (SELECT current_tenant()), series, source_time, recorded, nullif(num, 'NaN'), revision, quality, kind, doc::jsonb
FROM (SELECT unnest(%s::bigint[]) AS series, unnest(%s::timestamptz[]) AS source_time,
             unnest(%s::timestamptz[]) AS recorded, unnest(%s::float8[]) AS num, unnest(%s::int[]) AS revision,
             unnest(%s::smallint[]) AS quality, unnest(%s::smallint[]) AS kind, unnest(%s::text[]) AS doc) AS r"""

# What was copied into one week's leaf once more: it need not be sent again.
INSERT_COPIED = f"""
INSERT INTO latest (tenant, {COLUMNS})
SELECT tenant, {COLUMNS} FROM sample
WHERE tenant = current_tenant() AND series BETWEEN %s AND %s AND source_time BETWEEN %s AND %s
    AND recorded BETWEEN %s AND %s"""

# Half of what ON CONFLICT would cost: which series are there is known.
UPDATE_LATEST = f"""
UPDATE latest SET source_time = r.source_time, recorded = r.recorded, num = nullif(r.num, 'NaN'),
    revision = r.revision, quality = r.quality, kind = r.kind, doc = r.doc::jsonb
FROM {ROWS} WHERE latest.tenant = current_tenant() AND latest.series = r.series"""
# Of plain numbers alone: half of the columns.
UPDATE_NUMBERS = """
UPDATE latest SET source_time = r.source_time, recorded = r.recorded, num = r.num,
    revision = 0, quality = 0, kind = 0, doc = NULL
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::float8[])
    AS r (series, source_time, recorded, num)
WHERE latest.tenant = current_tenant() AND latest.series = r.series"""

REPLACE = f"""
UPDATE sample SET recorded = r.recorded, num = nullif(r.num, 'NaN'), revision = r.revision,
    quality = r.quality, kind = r.kind, doc = r.doc::jsonb
FROM {ROWS}
WHERE sample.tenant = current_tenant() AND sample.series = r.series AND sample.source_time = r.source_time
    AND sample.source_time BETWEEN %s AND %s"""

SUPERSEDE = f"""
INSERT INTO sample_superseded (tenant, superseded, {COLUMNS})
SELECT current_tenant(), superseded, series, source_time, recorded, nullif(num, 'NaN'), revision, quality, kind,
       doc::jsonb
FROM unnest({COLUMN_TYPES}, %s::timestamptz[])
    AS r (series, source_time, recorded, num, revision, quality, kind, doc, superseded)"""


@dataclass(frozen=True, slots=True)
class FirstSamples:
    """First samples of new series, what each leaf takes of them, and the columns of the state that they are.

    There are no columns where the state is taken from what was copied.
    """

    batch: SampleBatch
    streams: Sequence[tuple[str, bytes]]
    columns: Sequence[PgArray]


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a batch of samples is to be written as: its plan, and what each statement takes of it."""

    plan: Plan
    head: HeadRows
    streams: Sequence[tuple[str, bytes]]
    state: SampleBatch
    new: Flags
    """Which samples of the state are the first of their series."""
    told: SampleBatch
    chunks: Sequence[bytes]


async def write_samples(tx: WriteTransaction, batch: SampleBatch) -> npt.NDArray[np.int8]:
    """Write samples by the time rules and tell the change feed; return the outcome of each, int8[n].

    Outcomes are those of gemel.history.ordering. Values for one key need recorded times of their own, by which
    their origins are found. The weeks of the samples must exist (gemel.history.weeks).
    """
    if not len(batch):
        return np.zeros(0, np.int8)
    await thaw(tx, batch.series, batch.time_us, batch.time_us)
    last_us, gaps = await _last(tx, batch.series)
    refused = await find_refused(tx, batch, gaps) if gaps else None
    if refused is None:
        return await _write(tx, batch, last_us, gaps)
    outcomes, taken = refused.outcomes, ~refused.mask
    if refused.lost:
        await _supersede(tx, [(sample, sample.recorded_us) for sample in refused.lost])
    if taken.any():
        outcomes[taken] = await _write(tx, batch.take(taken), last_us[taken], gaps)
    return outcomes


async def _write(
    tx: WriteTransaction, batch: SampleBatch, last_us: Ints, gaps: Collection[int]
) -> npt.NDArray[np.int8]:
    known = await _known(tx, batch, last_us)
    tx.laps.end("lookup")
    change_no, traces = tx.change_no + 1, list(tx.traces)
    ready = await _off_loop(len(batch), lambda: _make_ready(batch, last_us, known, change_no, traces))
    tx.laps.end("order")
    await copy_head(tx, ready.head)
    for leaf, data in ready.streams:
        await _copy_into(tx, leaf, data)
    async with tx.in_one_trip():
        await _correct(tx, batch, ready.plan)
        await _update_state(tx, ready.state, ready.new, gaps)
        await mark_stale(tx, ready.told.series, ready.told.time_us)
        await append_chunks(tx, ready.chunks)
    tx.laps.end("write")
    return ready.plan.outcomes


def _make_ready(
    batch: SampleBatch, last_us: Ints, known: Known, change_no: int, traces: Sequence[tuple[int, str]]
) -> _Ready:
    made = plan(batch, last_us, known)
    fresh, late = batch.take(made.fresh), made.late[made.fresh]
    head = pack_head(fresh, late, change_no)
    loose = ~head.taken
    rows = fresh if loose.all() else fresh.take(loose)
    state = made.state[np.argsort(batch.series[made.state])]
    effective = np.sort(np.concatenate((made.fresh, np.array(made.winners, np.int64))))
    told = batch.take(effective)
    return _Ready(
        plan=made,
        head=head,
        streams=_streams(rows, late[loose], 0) if len(rows) else (),
        state=batch.take(state),
        new=last_us[state] == NEVER_US,
        told=told,
        chunks=pack_samples(told, _effects(batch, made, last_us)[effective], traces),
    )


async def _off_loop(samples: int, work: Callable[[], T]) -> T:
    """Do work in a thread where it is long enough to be worth one."""
    return work() if samples < INLINE_MAX else await asyncio.to_thread(work)


def pack_first_samples(batch: SampleBatch, now_us: int) -> FirstSamples:
    """Put samples together that are each the first of a series that is new.

    Times may be UNSTAMPED_US; the recorded time that will take its place must be of the week of `now_us`.
    """
    streams = _streams(batch, np.zeros(len(batch), np.bool_), now_us)
    sent = len(batch) < COPIED_MIN or len(streams) > COPIED_WEEKS_MAX
    return FirstSamples(batch, streams, _columns(batch) if sent else ())


async def copy_first_samples(tx: WriteTransaction, first: FirstSamples, stamp_us: int) -> None:
    """Write samples into history; `tell_first_samples` does the rest.

    The weeks of the samples must exist (gemel.history.weeks).
    """
    for leaf, data in first.streams:
        await _copy_into(tx, leaf, stamp_stream(data, stamp_us))


async def tell_first_samples(tx: WriteTransaction, first: FirstSamples, stamp_us: int) -> None:
    """Write the state that first samples of new series are, and tell the change feed of them."""
    times_us, recorded_us = (
        stamp_times(each, stamp_us) for each in (first.batch.time_us, first.batch.recorded_us)
    )
    batch = replace(first.batch, time_us=times_us, recorded_us=recorded_us)
    if first.columns:
        await tx.execute(INSERT_LATEST, [_stamped(column, stamp_us) for column in first.columns])
    else:
        await _take_copied(tx, batch)
    await write_promoted(tx, batch)
    await mark_stale(tx, batch.series, times_us)
    await mark_new(tx, batch.series, times_us)
    await append_samples(tx, batch, np.full(len(batch), CURRENT | FIRST, np.uint8))


async def _take_copied(tx: WriteTransaction, batch: SampleBatch) -> None:
    """Make samples the state of their series that this transaction copied: no other has their recorded times."""
    series = int(batch.series.min()), int(batch.series.max())
    recorded = _bounds(batch.recorded_us)
    weeks = week_of(batch.time_us)
    for week in np.unique(weeks):
        await tx.execute(INSERT_COPIED, (*series, *_bounds(batch.time_us[weeks == week]), *recorded))


def _stamped(column: PgArray, stamp_us: int) -> PgArray:
    return stamp_array(column, stamp_us) if isinstance(column, TimestampArray) else column


async def _update_state(tx: WriteTransaction, state: SampleBatch, new: Flags, gaps: Collection[int]) -> None:
    """Make samples the state of their series, which they are in the order of; `new` bool[n] series have none yet.

    The last times of series with deleted keys (`gaps`) are not remembered: these are looked up with them.
    """
    if not len(state):
        return
    if new.any():
        await tx.execute(INSERT_LATEST, _columns(state.take(new)))
    if not new.all():
        known = state.take(~new)
        if (known.kind | known.quality | known.revision).any():
            await tx.execute(UPDATE_LATEST, _columns(known))
        else:
            await tx.execute(UPDATE_NUMBERS, _columns(known)[:4])
    whole = ~np.isin(state.series, np.array(sorted(gaps), np.int64))
    note_lasts(tx, state.series[whole], state.time_us[whole])
    await write_promoted(tx, state)


async def foresee_samples(tx: ReadTransaction, batch: SampleBatch) -> npt.NDArray[np.int8]:
    """Return the outcome that each sample would have, int8[n], and write nothing."""
    if not len(batch):
        return np.zeros(0, np.int8)
    await stage_keys(tx, batch.series, batch.time_us)
    last_us, gaps = await _last(tx, batch.series)
    refused = await find_refused(tx, batch, gaps) if gaps else None
    taken = np.ones(len(batch), np.bool_) if refused is None else ~refused.mask
    outcomes = np.zeros(len(batch), np.int8) if refused is None else refused.outcomes
    if taken.any():
        rest, rest_us = batch.take(taken), last_us[taken]
        made = await asyncio.to_thread(plan, rest, rest_us, await _known(tx, rest, rest_us))
        outcomes[taken] = made.outcomes
    return outcomes


async def _last(tx: ReadTransaction, series: Ints) -> tuple[Ints, dict[int, tuple[int, int]]]:
    """Return the last source time of each sample's series, and by series the stretch of its deleted keys."""
    wanted, inverse = await _off_loop(len(series), lambda: np.unique(series, return_inverse=True))
    last = np.full(len(wanted), NEVER_US, np.int64)
    gaps: dict[int, tuple[int, int]] = {}
    asked = wanted
    if isinstance(tx, WriteTransaction):
        held, held_us = recall_lasts(tx, wanted)
        last[held] = held_us
        asked = np.delete(wanted, held)
    rows = await tx.rows(LAST, {"series": bigints(asked)}) if len(asked) else []
    if rows and any(row[2] is not None for row in rows):
        gaps = {number: (low, high) for number, low, high in rows if high is not None}
        rows = [row for row in rows if row[2] is None]
    if rows:
        found = np.array([row[:2] for row in rows], np.int64)
        last[np.searchsorted(wanted, found[:, 0])] = found[:, 1]
    return last[inverse], gaps


async def _known(tx: ReadTransaction, batch: SampleBatch, last_us: Ints) -> Known:
    """Look up what is stored under the keys that are not newer than their series' last."""
    old = np.flatnonzero(batch.time_us <= last_us)
    if not len(old):
        return Known()
    keys = np.unique(np.stack((batch.series[old], batch.time_us[old]), axis=1), axis=0)
    held: dict[tuple[int, int], Sample] = {}
    wanted = dict(zip(("series", "times", "times_us"), _keys(keys), strict=True))
    wanted |= dict(zip(("first", "last"), _bounds(keys[:, 1]), strict=True))
    for series, time_us, num, kind, doc, revision, quality, recorded_us in await tx.rows(HELD, wanted):
        held[series, time_us] = Sample(
            series, time_us, _stored(num, kind, doc), revision, quality, recorded_us
        )
    lost: dict[tuple[int, int], set[Rank]] = {}
    if held:
        for series, time_us, num, kind, doc, revision, quality in await tx.rows(
            LOST, _keys(np.array(sorted(held), np.int64))
        ):
            lost.setdefault((series, time_us), set()).add(rank(revision, _stored(num, kind, doc), quality))
    return Known(held, lost)


def _effects(batch: SampleBatch, made: Plan, last_us: Ints) -> npt.NDArray[np.uint8]:
    effects = np.where(made.outcomes == ACCEPTED, CURRENT, 0).astype(np.uint8)
    effects[made.state] |= CURRENT
    new = np.flatnonzero(last_us == NEVER_US)
    if len(new):
        _, first = np.unique(batch.series[new], return_index=True)
        effects[new[first]] |= FIRST
    return effects


def _stored(num: float | None, kind: int, doc: object) -> Encoded:
    return Encoded(num, kind, canonical_json(doc) if kind == JSON else None)


def _keys(keys: Ints) -> tuple[object, ...]:
    return bigints(keys[:, 0]), timestamps(keys[:, 1]), bigints(keys[:, 1])


def _bounds(time_us: Ints) -> tuple[datetime, datetime]:
    """Return the first and last time: with them leaves are passed over when a statement is planned."""
    return from_us(int(time_us.min())), from_us(int(time_us.max()))


async def _copy_into(tx: WriteTransaction, leaf: str, data: bytes) -> None:
    await tx.copy(f"COPY {leaf} (late, {COLUMNS}) FROM STDIN (FORMAT binary)", data, "gemel_copy")


def _streams(batch: SampleBatch, late: Flags, now_us: int) -> list[tuple[str, bytes]]:
    """Return what each leaf takes of samples; `now_us` says of which week those are that have no time yet."""
    weeks = week_of(stamp_times(batch.time_us, now_us))
    streams = []
    for week in np.unique(weeks):
        own = weeks == week
        data = _stream(batch, late) if own.all() else _stream(batch.take(own), late[own])
        streams.append((leaf_of(int(week)), data))
    return streams


def _stream(batch: SampleBatch, late: Flags) -> bytes:
    """Return samples as a COPY stream, in their order."""
    documents = batch.kind == JSON
    empty = np.isnan(batch.num) & ~documents
    plain = ~documents & ~empty
    if plain.all():
        return b"".join((COPY_HEADER, _fixed(batch, late, with_num=True), COPY_TRAILER))
    docs = batch.docs or ()
    told = [(docs[position] or "null").encode() for position in np.flatnonzero(documents).tolist()]
    heads, tails = np.empty(len(batch), np.object_), np.full(len(batch), b"", np.object_)
    for chosen, with_num in ((plain, True), (empty, False)):
        heads[chosen] = _split(_fixed(batch.take(chosen), late[chosen], with_num=with_num), chosen)
    if told:
        packed = _fixed(batch.take(documents), late[documents], with_num=False)
        heads[documents] = _split(_before_json(packed, told), documents)
        tails[documents] = told
    rows = np.stack((heads, tails), axis=1).reshape(-1).tolist()
    return b"".join((COPY_HEADER, *rows, COPY_TRAILER))


def _before_json(packed: bytes, told: Sequence[bytes]) -> bytes:
    """Return rows of `_fixed` whose last column is jsonb in place of null, each up to its text."""
    rows = np.frombuffer(packed, np.uint8).reshape(len(told), -1)
    sizes = np.fromiter(map(len, told), np.int64, len(told)) + 1
    # Its length, then a version byte of 1.
    jsonb = np.ones((len(told), 5), np.uint8)
    jsonb[:, :4] = sizes.astype(">i4").view(np.uint8).reshape(-1, 4)
    return np.hstack((rows[:, :-4], jsonb)).tobytes()


def _split(packed: bytes, chosen: Flags) -> list[bytes]:
    """Return the rows of what `_fixed` packed."""
    count = int(np.count_nonzero(chosen))
    return np.frombuffer(packed, f"V{len(packed) // count}").tolist() if count else []


def _fixed(batch: SampleBatch, late: Flags, *, with_num: bool) -> bytes:
    fields = (
        (late, "?"),
        (batch.series, ">i8"),
        (batch.time_us - PG_EPOCH_US, ">i8"),
        (batch.recorded_us - PG_EPOCH_US, ">i8"),
        (batch.num, ">f8") if with_num else None,
        (batch.revision, ">i4"),
        (batch.quality, ">i2"),
        (batch.kind, ">i2"),
        None,
    )
    return copy_fixed(fields, len(batch))


async def _correct(tx: WriteTransaction, batch: SampleBatch, made: Plan) -> None:
    """Write winners over what they oust, and keep what lost: until when it held its key, or as it came, for none.

    So at every recorded time a key has the one value that had been recorded and not yet superseded.
    """
    if made.winners:
        winners = batch.take(np.array(made.winners, np.int64))
        await unpack(tx, winners.series, winners.time_us, winners.time_us)
        await tx.execute(REPLACE, (*_columns(winners), *_bounds(winners.time_us)))
    if made.lost:
        await _supersede(tx, made.lost)


async def _supersede(tx: WriteTransaction, lost: Sequence[tuple[Sample, int]]) -> None:
    """Keep samples that lost their keys, each with the recorded time (µs) of what it lost to."""
    batch = SampleBatch.of([sample for sample, _ in lost])
    superseded_us = np.array([lost_us for _, lost_us in lost], np.int64)
    await tx.execute(SUPERSEDE, (*_columns(batch), timestamps(superseded_us)))


async def restate(tx: WriteTransaction, fallen: SampleBatch, emptied: SampleBatch) -> None:
    """Make older samples the state of their series again, and tell the feed; `emptied` stands for series without any.

    What falls back is recorded anew, as `fallen` says: from then on it is so again. `emptied` are removals of
    revision -1 at the last time that there was.
    """
    state = SampleBatch.concatenate([fallen, emptied])
    if not len(state):
        return
    if len(fallen):
        await tx.execute(REPLACE, (*_columns(fallen), *_bounds(fallen.time_us)))
    forget_lasts(tx)
    await tx.execute(UPDATE_LATEST, _columns(state))
    await write_promoted(tx, state)
    state.revision = np.maximum(state.revision, 0)
    await append_samples(tx, state, np.full(len(state), CURRENT, np.uint8))


def _columns(batch: SampleBatch) -> tuple[PgArray, ...]:
    return (
        bigints(batch.series),
        timestamps(batch.time_us),
        timestamps(batch.recorded_us),
        doubles(batch.num),
        integers(batch.revision),
        smallints(batch.quality),
        smallints(batch.kind),
        texts(batch.docs if batch.docs is not None else [None] * len(batch)),
    )

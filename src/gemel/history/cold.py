"""What transactions need of frozen weeks: read from their files and carried by the transaction, or thawed for a change.

A read transaction may write nothing and sees its own snapshot alone, so what is staged for it travels in settings that
end with it: `stored_samples` reads them beside the rows. Files never change, and those that a snapshot names are kept.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from gemel.base.clock import from_us
from gemel.base.errors import InvalidError, UnavailableError
from gemel.history.cold_file import read_cold
from gemel.history.cold_rows import ColdRows, insert_packs, insert_rows
from gemel.history.moment import END_US, Moment
from gemel.history.paths import PATH_BITS
from gemel.history.samples import Ints
from gemel.history.stored import COLD_SLOTS
from gemel.history.values import BAD, INTEGER
from gemel.history.weeks import WEEK_US
from gemel.store.blobs import Blobs, open_blobs
from gemel.store.columns import bigints, texts
from gemel.store.database import Database, ReadTransaction, WriteTransaction

__all__ = [
    "EveryTwin",
    "Page",
    "is_frozen",
    "mark_new",
    "stage_between",
    "stage_keys",
    "stage_last",
    "stage_state",
    "thaw",
    "thaw_ahead",
]

STAGED_MAX = 200_000
"""How many samples of files a transaction carries."""

PIECE_ROWS = 64
"""How many of them are parsed together."""

THAWED_SAMPLES = 25_000
"""About how many samples of files come back in one commit, where that can be done ahead: others wait for its end."""

US = "(extract(epoch FROM {}) * 1000000)::bigint"
WEEKS = f"""
SELECT {US.format("week")}, name, {US.format("recorded")} FROM cold_week
WHERE tenant = current_tenant() AND week > %s AND week <= %s ORDER BY week"""
THAWED = "SELECT series FROM cold_thawed WHERE tenant = current_tenant() AND week = %(week)s"
THAWED_OF = f"{THAWED} AND series = ANY(%(series)s)"
# The first and the last sample of what a file has of a series are rows: between these alone it is asked.
AROUND = """
SELECT k.series FROM unnest(%(series)s::bigint[]) AS k (series)
WHERE EXISTS (SELECT FROM sample WHERE tenant = current_tenant() AND sample.series = k.series
              AND source_time >= %(week)s AND source_time < %(end)s AND source_time <= %(high)s)
  AND EXISTS (SELECT FROM sample WHERE tenant = current_tenant() AND sample.series = k.series
              AND source_time >= %(week)s AND source_time < %(end)s AND source_time >= %(low)s)"""
SERIES = """
SELECT l.series FROM unnest(%s::bigint[], %s::bigint[]) AS t (low, high)
CROSS JOIN LATERAL (
    SELECT series FROM latest WHERE tenant = current_tenant() AND series >= t.low AND series < t.high
    UNION ALL
    SELECT series FROM latest_ended WHERE tenant = current_tenant() AND series >= t.low AND series < t.high
    OFFSET 0) AS l"""
SET = "SELECT set_config('gemel.cold_' || name, told, true) FROM unnest(%s::text[], %s::text[]) AS k (name, told)"
MARK = """
INSERT INTO cold_thawed (tenant, week, series, samples)
SELECT current_tenant(), %s, * FROM unnest(%s::bigint[], %s::bigint[])
ON CONFLICT DO NOTHING"""

Choice = Callable[[ColdRows], Ints]
"""The positions of those of a file's rows that are wanted."""


class Page(NamedTuple):
    """How many samples of all series together are asked for, and whether the newest."""

    limit: int
    newest_first: bool = False


class EveryTwin(NamedTuple):
    """The series of all twins that are of some paths, by the paths' numbers; None for all paths."""

    path_nos: frozenset[int] | None


Wanted = Iterable[int] | EveryTwin
"""Series, by their numbers or by their paths."""


class _Week(NamedTuple):
    start_us: int
    name: str
    recorded_us: int

    @property
    def end_us(self) -> int:
        return self.start_us + WEEK_US


@dataclass(slots=True)
class _Staged:
    """What a transaction carries: keys, lists of pieces as JSON by slot; and of which moments all last samples."""

    keys: set[tuple[int, int]] = field(default_factory=set)
    slots: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    pieces: int = 0
    moments: set[tuple[int, int, EveryTwin]] = field(default_factory=set)

    def add(self, rows: ColdRows, positions: Ints) -> dict[str, str]:
        """Take some rows, in the order of series and time; return the settings that change, by name."""
        settings: dict[str, str] = {}
        series, time_us = rows.samples.series[positions], rows.samples.time_us[positions]
        self.keys.update(zip(series.tolist(), time_us.tolist(), strict=True))
        place = _places(series)[0]
        starts = np.flatnonzero(place % PIECE_ROWS == 0).tolist()
        touched = set()
        for start, end in pairwise([*starts, len(positions)]):
            number = int(series[start])
            slot = (number ^ (number >> PATH_BITS)) & (COLD_SLOTS - 1)
            ends = {"a": int(time_us[start]), "z": int(time_us[end - 1])}
            self.slots[slot].append(msgspec.json.encode({"s": number, "p": self.pieces} | ends).decode())
            told = [_told(rows, position) for position in positions[start:end].tolist()]
            settings[f"piece_{self.pieces}"] = msgspec.json.encode(told).decode()
            self.pieces += 1
            touched.add(slot)
        return settings | {str(slot): f"[{','.join(self.slots[slot])}]" for slot in touched}


async def stage_between(
    tx: ReadTransaction,
    series: Wanted,
    span_us: tuple[int, int],
    known_at_us: int = END_US,
    page: Page | None = None,
) -> None:
    """Carry what is frozen of some series between two source times (µs, inclusive).

    It goes as far as a page of them needs; with a page, also the one before each of its samples, where that is in
    the same week.
    Raises InvalidError (ColdReadTooLarge), UnavailableError (ColdStoreUnavailable, ColdFileMissing).
    """
    low_us, high_us = span_us
    weeks = await _weeks(tx, low_us, high_us)
    if page is not None and page.newest_first:
        weeks.reverse()
    wanted = _wanted(series)
    taken = 0
    for week in weeks:
        back = page is not None and page.newest_first
        begin_us = week.start_us if back else max(low_us, week.start_us)
        taken += await _stage(tx, week, wanted, span_us, _choice(known_at_us, page), begin_us)
        if page is not None and taken >= page.limit:
            return


async def stage_last(
    tx: ReadTransaction,
    series: Wanted,
    at_us: int,
    known_at_us: int = END_US,
    *,
    good: bool = False,
    depth: int = 1,
) -> None:
    """Carry what the last samples of some series up to a source time (µs, inclusive) need of frozen weeks.

    `good`: the last that are not bad; `depth`: how many of each series, at most 2.
    Raises as `stage_between` does.
    """
    # Of a week that ended before, the last is a row. That may be one that was not known yet: then it is looked for.
    low_us = at_us if known_at_us >= END_US else 0
    staged: _Staged = tx.notes.setdefault(_Staged, _Staged())
    if isinstance(series, EveryTwin):
        if (at_us, known_at_us, series) in staged.moments:
            return
        staged.moments.add((at_us, known_at_us, series))
    weeks = [
        week
        for week in await _weeks(tx, low_us, at_us)
        if week.end_us > at_us or week.recorded_us > known_at_us
    ]
    wanted = _wanted(series)
    for week in weeks:
        settled = week.recorded_us <= known_at_us
        span_us = (at_us if settled else week.start_us, at_us)
        await _stage(tx, week, wanted, span_us, _last_of_each(known_at_us, depth, good=good), week.start_us)


def is_frozen(tx: ReadTransaction, moment: Moment) -> bool:
    """Say whether a moment may need files: else there is nothing to be staged for it."""
    return tx.frozen_us is not None and (moment.as_of_us < tx.frozen_us or moment.known_at_us < END_US)


async def stage_state(tx: ReadTransaction, twin_nos: Iterable[int], moment: Moment) -> None:
    """Carry what the state of twins (by number) at a moment needs of frozen weeks. Raises as `stage_between` does."""
    if not is_frozen(tx, moment):
        return
    numbers = np.array(sorted(set(twin_nos)), np.int64) << PATH_BITS
    rows = await tx.rows(SERIES, (bigints(numbers), bigints(numbers + (1 << PATH_BITS))))
    await stage_last(tx, [row[0] for row in rows], moment.as_of_us, moment.known_at_us)


async def stage_keys(tx: ReadTransaction, series: Ints, time_us: Ints) -> None:
    """Carry what is frozen under some keys (int64[n] each). Raises as `stage_between` does."""
    if not len(series):
        return
    keys = set(zip(series.tolist(), time_us.tolist(), strict=True))

    def chosen(rows: ColdRows) -> Ints:
        near = np.flatnonzero(np.isin(rows.samples.time_us, time_us))
        own = zip(rows.samples.series[near].tolist(), rows.samples.time_us[near].tolist(), strict=True)
        return near[np.array([key in keys for key in own], np.bool_)]

    for week in await _weeks(tx, int(time_us.min()), int(time_us.max())):
        own = (time_us >= week.start_us) & (time_us < week.end_us)
        if own.any():
            span_us = (int(time_us[own].min()), int(time_us[own].max()))
            await _stage(tx, week, np.unique(series[own]), span_us, chosen, span_us[0])


async def thaw(tx: WriteTransaction, series: Ints, low_us: Ints, high_us: Ints) -> None:
    """Bring back what is frozen of some series in the weeks of source times (µs, inclusive), for a change.

    Raises as `stage_between` does.
    """
    if tx.frozen_us is None or not len(series) or int(low_us.min()) >= tx.frozen_us:
        return
    for week in await _weeks(tx, int(low_us.min()), int(high_us.max())):
        own = np.unique(series[(low_us < week.end_us) & (high_us >= week.start_us)])
        own = np.setdiff1d(own, await _thawed(tx, week, own))
        if not len(own):
            continue
        rows = await _read(tx, week, own, (week.start_us, week.end_us - 1), week.start_us)
        # Those of which the file has nothing are marked as well: so the week is frozen anew with them.
        found, sizes = np.unique(rows.samples.series, return_counts=True)
        counts = np.zeros_like(own)
        counts[np.searchsorted(own, found)] = sizes
        await tx.execute(MARK, (from_us(week.start_us), bigints(own), bigints(counts)))
        for statement, given in await asyncio.to_thread(_statements, rows):
            await tx.execute(statement, given)


async def mark_new(tx: WriteTransaction, series: Ints, time_us: Ints) -> None:
    """Mark that frozen weeks have samples of new series, of which no file has any: they are frozen anew with them."""
    if tx.frozen_us is None or int(time_us.min(initial=END_US)) >= tx.frozen_us:
        return
    for week in await _weeks(tx, int(time_us.min()), int(time_us.max())):
        own = np.unique(series[(time_us >= week.start_us) & (time_us < week.end_us)])
        await tx.execute(MARK, (from_us(week.start_us), bigints(own), bigints(np.zeros_like(own))))


async def thaw_ahead(db: Database, tenant: int, series: Ints, time_us: Ints) -> None:
    """Bring back what a write of some keys (int64[n] each, µs) is going to, where it is much: in commits of its own.

    So those who write to the same tenant wait for a part of it at a time, not for all. Raises as `thaw` does.
    """
    async with db.read(tenant) as tx:
        parts = [
            part
            for week in await _weeks(tx, int(time_us.min()), int(time_us.max()))
            for part in await _thaw_parts(
                tx, week, series[(time_us >= week.start_us) & (time_us < week.end_us)]
            )
        ]
    for part, start_us in parts:
        async with db.write(tenant) as tx:
            times_us = np.full(len(part), start_us)
            await thaw(tx, part, times_us, times_us)


async def _thaw_parts(tx: ReadTransaction, week: _Week, series: Ints) -> list[tuple[Ints, int]]:
    own = np.unique(series)
    own = np.setdiff1d(own, await _thawed(tx, week, own))
    rows = await _read(tx, week, own, (week.start_us, week.end_us - 1), week.start_us)
    numbers, counts = np.unique(rows.samples.series, return_counts=True)
    if counts.sum() <= THAWED_SAMPLES:
        return []
    number = np.cumsum(counts) // THAWED_SAMPLES
    return [(numbers[number == each], week.start_us) for each in np.unique(number)]


async def _weeks(tx: ReadTransaction, low_us: int, high_us: int) -> list[_Week]:
    if tx.frozen_us is None or low_us >= tx.frozen_us or high_us < 0:
        return []
    high_us = min(high_us, tx.frozen_us)
    rows = await tx.rows(WEEKS, (from_us(max(0, low_us) - WEEK_US), from_us(high_us)))
    return [_Week(*row) for row in rows]


async def _stage(
    tx: ReadTransaction,
    week: _Week,
    series: Ints | EveryTwin,
    span_us: tuple[int, int],
    choice: Choice,
    begin_us: int,
) -> int:
    """Carry chosen rows of a week from `begin_us` to the end of a span, of series that have some in it.

    Return how many of them are in the span.
    """
    rows = await _read(tx, week, series, span_us, begin_us)
    if not len(rows):
        return 0
    positions = choice(rows)
    staged: _Staged = tx.notes.setdefault(_Staged, _Staged())
    keys = zip(rows.samples.series[positions].tolist(), rows.samples.time_us[positions].tolist(), strict=True)
    new = positions[np.array([key not in staged.keys for key in keys], np.bool_)]
    if len(staged.keys) + len(new) > STAGED_MAX:
        raise InvalidError(
            "ColdReadTooLarge",
            f"This needs more than {STAGED_MAX:,} samples of cold weeks at once.",
            "Ask for fewer series, or a shorter time.",
        )
    if len(new):
        settings = await asyncio.to_thread(staged.add, rows, new)
        tx.carries = True
        await tx.rows(SET, (texts(list(settings)), texts(list(settings.values()))))
    return int((rows.samples.time_us[positions] >= span_us[0]).sum())


async def _read(
    tx: ReadTransaction,
    week: _Week,
    series: Ints | EveryTwin,
    span_us: tuple[int, int],
    from_time_us: int,
) -> ColdRows:
    low_us, high_us = span_us
    if isinstance(series, EveryTwin):
        thawed = await _thawed(tx, week, None)
        rows = await asyncio.to_thread(_read_file, _store(tx), week.name, None, (from_time_us, high_us))
        own = ~np.isin(rows.samples.series, thawed)
        if series.path_nos is not None:
            paths = rows.samples.series & ((1 << PATH_BITS) - 1)
            own &= np.isin(paths, np.array(sorted(series.path_nos), np.int64))
        return rows.take(own)
    given = {"series": bigints(series), "low": from_us(low_us), "high": from_us(high_us)}
    given |= {"week": from_us(week.start_us), "end": from_us(week.end_us)}
    near = np.array([row[0] for row in await tx.rows(AROUND, given)], np.int64)
    near = np.setdiff1d(near, await _thawed(tx, week, near)) if len(near) else near
    if not len(near):
        return ColdRows.none()
    return await asyncio.to_thread(_read_file, _store(tx), week.name, near, (from_time_us, high_us))


async def _thawed(tx: ReadTransaction, week: _Week, series: Ints | None) -> Ints:
    """Return which series, of some or of all, the week's file does not count for."""
    given: dict[str, object] = {"week": from_us(week.start_us)}
    if series is None:
        rows = await tx.rows(THAWED, given)
    else:
        rows = await tx.rows(THAWED_OF, given | {"series": bigints(series)})
    return np.array([row[0] for row in rows], np.int64)


def _wanted(series: Wanted) -> Ints | EveryTwin:
    return series if isinstance(series, EveryTwin) else np.array(sorted(series), np.int64)


def _statements(rows: ColdRows) -> list[tuple[str, dict[str, object]]]:
    """Return what puts rows back: plain numbers packed, which takes a twentieth of the time."""
    batch = rows.samples
    plain = (batch.kind <= INTEGER) & (batch.revision == 0) & (batch.quality == 0) & ~rows.late
    parts = ((insert_packs, rows.take(plain)), (insert_rows, rows.take(~plain)))
    return [insert(part) for insert, part in parts if len(part)]


def _store(tx: ReadTransaction) -> Blobs:
    if not tx.cold_url:
        raise UnavailableError(
            "ColdStoreUnavailable", "Weeks are frozen, and it is not set where.", "Set GEMEL_COLD_STORE."
        )
    return _opened(tx.cold_url)


@functools.cache
def _opened(url: str) -> Blobs:
    return open_blobs(url)


def _read_file(blobs: Blobs, name: str, series: Ints | None, span_us: tuple[int, int]) -> ColdRows:
    with blobs.open(name) as file:
        return read_cold(file, series, *span_us).rows


def _choice(known_at_us: int, page: Page | None) -> Choice:
    def chosen(rows: ColdRows) -> Ints:
        known: Ints = np.flatnonzero(rows.samples.recorded_us <= known_at_us)
        if page is None or not len(known):
            return known
        # In the order of series and time: of each so many as the page may have of it, and one more.
        part: Ints = known[_places(rows.samples.series[known])[int(page.newest_first)] <= page.limit]
        return part

    return chosen


def _last_of_each(known_at_us: int, depth: int, *, good: bool) -> Choice:
    def chosen(rows: ColdRows) -> Ints:
        known = np.flatnonzero(
            (rows.samples.recorded_us <= known_at_us) & ((rows.samples.quality < BAD) | (not good))
        )
        if not len(known):
            return known
        part: Ints = known[_places(rows.samples.series[known])[1] < depth]
        return part

    return chosen


def _places(series: Ints) -> tuple[Ints, Ints]:
    """Return the place of each of some sorted numbers among those that are equal, from the first and from the last."""
    _, first, counts = np.unique(series, return_index=True, return_counts=True)
    place = np.arange(len(series)) - np.repeat(first, counts)
    return place, np.repeat(counts, counts) - 1 - place


def _told(rows: ColdRows, position: int) -> dict[str, object]:
    sample = rows.samples.row(position)
    num, doc = sample.value.num, sample.value.doc
    return {
        "t": sample.time_us,
        "r": sample.recorded_us,
        "n": num if num is None or math.isfinite(num) else str(num),
        "k": sample.value.kind,
        "d": doc,
        "v": sample.revision,
        "q": sample.quality,
        "l": bool(rows.late[position]),
    }

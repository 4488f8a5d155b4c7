"""Values as they followed each other: each with the one before it, what lost its key to it, and how it came."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gemel.base.clock import from_us
from gemel.history.cold import Page, stage_between, stage_last
from gemel.history.moment import END_US, Moment, known_samples
from gemel.history.paths import PathKey, Paths, path_no_of, series_of
from gemel.history.stored import ROW, cold_samples, stored_samples
from gemel.history.stored import Stretch as Between
from gemel.history.values import JSON, QUALITIES, REMOVED, Encoded, Rank, canonical_json, decode, rank
from gemel.store.carried import when_carried
from gemel.store.columns import BigintArray, bigints, timestamps
from gemel.store.database import ReadTransaction, Row

__all__ = ["Lost", "Move", "Place", "Stretch", "read_last", "read_moves", "read_series"]

LOST_MAX = 20
"""How many of the values that lost a key are given, the last to lose first."""

US = "(extract(epoch FROM {}) * 1000000)::bigint"
SERIES_MAX = 2**63 - 1

SERIES = """
SELECT l.series FROM unnest(%s::bigint[], %s::bigint[]) AS t (low, high)
CROSS JOIN LATERAL (
    SELECT series FROM latest WHERE tenant = current_tenant() AND series >= t.low AND series < t.high
    UNION ALL
    SELECT series FROM latest_ended WHERE tenant = current_tenant() AND series >= t.low AND series < t.high
    OFFSET 0) AS l"""

# The window comes as plain timestamps beside what is computed from a cursor: only by them can the planner pass
# over the leaves outside. Series at the cursor's time are passed over up to its own.
MOVES = f"""
SELECT s.series, {US.format("s.source_time")}, {US.format("s.recorded")}, s.num, s.kind, s.doc, s.revision,
       s.quality, {{late}}, {US.format("b.source_time")}, b.num, b.kind, b.doc
FROM (
    SELECT s.* FROM unnest(%(series)s::bigint[]) AS k (series)
    CROSS JOIN LATERAL {{own}} AS s
    ORDER BY s.source_time {{order}}, s.series {{order}} LIMIT %(limit)s) AS s
LEFT JOIN LATERAL {{before}} AS b ON true
ORDER BY s.source_time {{order}}, s.series {{order}}"""
WITHIN = "source_time >= %(from)s AND source_time <= %(to)s AND source_time "
AT = "to_timestamp(0) + (%(at)s {} (k.series {} %(past)s)::int) * interval '1 microsecond'"
ONWARD, BACKWARD = f">= {AT.format('+', '<=')}", f"<= {AT.format('-', '>=')}"
BEFORE = ("s.series", Between(None, "s.source_time"), "source_time < s.source_time", "DESC", "1")
COLD_OF_S = cold_samples("s.series", "source_time = s.source_time", "late")
CARRIED_LATE = when_carried(f", (SELECT h.late FROM {COLD_OF_S} AS h)")
# Whether the first value for a key came late is kept with the one that holds it now, or that a deletion took it from.
# What is packed did not.
LATE = f"""coalesce((
    SELECT h.late FROM sample_superseded AS h
    WHERE h.tenant = current_tenant() AND h.series = s.series AND h.source_time = s.source_time
      AND h.late IS NOT NULL AND h.superseded > %(known_at)s
    ORDER BY h.superseded LIMIT 1), (
    SELECT h.late FROM sample AS h
    WHERE h.tenant = current_tenant() AND h.series = s.series AND h.source_time = s.source_time)
    {CARRIED_LATE}, false)"""

LOST = f"""
SELECT k.series, {US.format("k.source_time")}, {US.format("l.recorded")}, {US.format("l.superseded")}, l.num, l.kind,
       l.doc, l.revision, l.quality
FROM unnest(%s::bigint[], %s::timestamptz[]) AS k (series, source_time)
CROSS JOIN LATERAL (
    SELECT * FROM sample_superseded WHERE tenant = current_tenant()
      AND sample_superseded.series = k.series AND sample_superseded.source_time = k.source_time
      AND superseded <= %s
      ORDER BY superseded DESC, recorded DESC LIMIT {LOST_MAX}) AS l
ORDER BY l.superseded DESC, l.recorded DESC"""


class Place(NamedTuple):
    """Where reading goes on: beyond this time (µs), and at it beyond this series."""

    time_us: int
    series: int


class Stretch(NamedTuple):
    """Which source times (µs, both inclusive), whether the newest come first, and by what was recorded by when."""

    from_us: int
    to_us: int
    newest_first: bool
    known_at_us: int = END_US


class Lost(NamedTuple):
    """A value that lost its key: when it was recorded, when it lost (at once where both are the same)."""

    value: Any
    removed: bool
    quality: str
    revision: int
    recorded_us: int
    superseded_us: int
    rank: Rank


class Move(NamedTuple):
    """A value that holds its key, or held it then, the one before it in time, and those that lost the key.

    `before` and `before_us` are None where it is the first. `late`: when a value for this time first came, a
    newer one was there.
    """

    path: str
    role: str
    series: int
    time_us: int
    recorded_us: int
    value: Any
    removed: bool
    quality: str
    revision: int
    late: bool
    before: Any
    before_us: int | None
    rank: Rank
    lost: Sequence[Lost]


async def read_series(tx: ReadTransaction, paths: Paths, twin_nos: Collection[int]) -> dict[int, PathKey]:
    """Return path and role of every series that twins (by number) have or had a sample of."""
    low = [series_of(twin_no, 0) for twin_no in twin_nos]
    high = [series_of(twin_no + 1, 0) for twin_no in twin_nos]
    found = [row[0] for row in await tx.rows(SERIES, (low, high))]
    keys = await paths.keys(tx, {path_no_of(series) for series in found})
    return {series: keys[path_no_of(series)] for series in found}


async def read_moves(
    tx: ReadTransaction,
    series: Mapping[int, PathKey],
    stretch: Stretch,
    limit: int,
    place: Place | None = None,
) -> list[Move]:
    """Return at most `limit` moves of some series in a stretch, by time and series, beyond a place if given."""
    if not series or stretch.from_us > stretch.to_us:
        return []
    await _stage(tx, series, stretch, limit, place)
    wanted = _parameters(stretch, place) | {"series": _numbers(series), "each": limit, "limit": limit}
    return await _finished(tx, series, stretch.known_at_us, await tx.rows(_sql(stretch), wanted))


async def read_last(tx: ReadTransaction, series: Mapping[int, PathKey], moment: Moment) -> list[Move]:
    """Return the last move of each series at a moment, by series."""
    stretch = Stretch(0, moment.as_of_us, newest_first=True, known_at_us=moment.known_at_us)
    await stage_last(tx, series, moment.as_of_us, moment.known_at_us, depth=2)
    wanted = _parameters(stretch, None) | {"series": _numbers(series), "each": 1, "limit": len(series)}
    moves = await _finished(tx, series, moment.known_at_us, await tx.rows(_sql(stretch), wanted))
    return sorted(moves, key=lambda move: move.series)


async def _stage(
    tx: ReadTransaction, series: Mapping[int, PathKey], stretch: Stretch, limit: int, place: Place | None
) -> None:
    first_us, last_us, newest_first, known_at_us = stretch
    if place is not None:
        first_us, last_us = (
            (first_us, min(last_us, place.time_us)) if newest_first else (place.time_us, last_us)
        )
    await stage_between(tx, series, (first_us, last_us), known_at_us, Page(limit, newest_first))
    if not newest_first:
        await stage_last(tx, series, first_us - 1, known_at_us)


def _sql(stretch: Stretch) -> str:
    order, beyond = ("DESC", BACKWARD) if stretch.newest_first else ("ASC", ONWARD)
    now = stretch.known_at_us >= END_US
    own = ("k.series", Between("%(from)s", "%(to)s"), WITHIN + beyond, order, "%(each)s")
    return MOVES.format(
        order=order,
        late="s.late" if now else LATE,
        own=stored_samples(*own, f"{ROW}, late") if now else known_samples(stretch.known_at_us, *own),
        before=known_samples(stretch.known_at_us, *BEFORE),
    )


def _parameters(stretch: Stretch, place: Place | None) -> dict[str, Any]:
    first, last, newest_first, known_at_us = stretch
    if place is None:
        place = Place(last, SERIES_MAX) if newest_first else Place(first, -1)
    if newest_first:
        last = min(last, place.time_us)
    else:
        first = max(first, place.time_us)
    bounds = {"from": from_us(first), "to": from_us(last), "known_at": from_us(known_at_us)}
    return bounds | {"at": place.time_us, "past": place.series}


def _numbers(series: Mapping[int, PathKey]) -> BigintArray:
    return bigints(np.array(sorted(series), np.int64))


async def _finished(
    tx: ReadTransaction, series: Mapping[int, PathKey], known_at_us: int, rows: Sequence[Row]
) -> list[Move]:
    lost = await _lost(tx, rows, known_at_us)
    return [_move(row, series[row[0]], lost.get((row[0], row[1]), ())) for row in rows]


async def _lost(
    tx: ReadTransaction, rows: Sequence[Row], known_at_us: int
) -> dict[tuple[int, int], list[Lost]]:
    keys = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
    found: dict[tuple[int, int], list[Lost]] = {}
    for series, time_us, recorded_us, superseded_us, *value in await tx.rows(
        LOST, (bigints(keys[:, 0]), timestamps(keys[:, 1]), from_us(known_at_us))
    ):
        found.setdefault((series, time_us), []).append(
            Lost(*_value(*value), recorded_us, superseded_us, _rank(*value))
        )
    return found


def _move(row: Row, key: PathKey, lost: Sequence[Lost]) -> Move:
    series, time_us, recorded_us, *stored = row[:8]
    late, before_us, *before = row[8:]
    value, removed, quality, revision = _value(*stored)
    known = None if before_us is None else decode(*before)
    times = (time_us, recorded_us)
    return Move(
        *key, series, *times, value, removed, quality, revision, late, known, before_us, _rank(*stored), lost
    )


def _value(num: float | None, kind: int, doc: Any, revision: int, quality: int) -> tuple[Any, bool, str, int]:
    return decode(num, kind, doc), kind == REMOVED, QUALITIES[quality], revision


def _rank(num: float | None, kind: int, doc: Any, revision: int, quality: int) -> Rank:
    return rank(revision, Encoded(num, kind, canonical_json(doc) if kind == JSON else None), quality)

"""Aggregates by bucket of what is known now: from roll-ups where they are good, else from samples.

A roll-up is good where it is there and its day is not marked as stale: whoever changes samples under it marks it in
the same transaction. So the answer is that of the samples of the reader's snapshot, whatever was folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gemel.base.clock import from_us
from gemel.history.cold import stage_between, stage_keys
from gemel.history.moment import END_US
from gemel.history.rollups import MINUTES, NUMBER, SAMPLES_MIN
from gemel.history.stale import DAY_US, EVERY_SERIES
from gemel.history.stored import Stretch, sample_at, stored_samples
from gemel.history.values import BAD, JSON
from gemel.store.columns import bigints, smallints, timestamps
from gemel.store.database import ReadTransaction, Row, Statement

__all__ = ["Stretches", "read_rolled"]

MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000
CUTS_MAX = 5_000
"""Of how many buckets the edges are looked up, where they lie within roll-ups."""
FITTING_MIN = {1440: 2, 60: 2, 1: 20}
"""How many roll-ups a bucket must be as wide as, where it cuts some: what is cut is read by the next narrower, of
minutes by the samples."""
US = "(extract(epoch FROM {}) * 1000000)::bigint"
STRETCHES = """unnest(%({0}_series)s::bigint[], %({0}_from)s::timestamptz[], %({0}_to)s::timestamptz[])
    AS k (series, start, until)"""

# Minutes are there where their hour is, and has enough samples. Neighbours become one stretch.
THERE = f"""
SELECT series, minutes, dense, {US.format("min(bucket)")}, {US.format("max(bucket)")} FROM (
    SELECT k.series, r.minutes, r.dense, r.bucket, r.bucket - row_number() OVER (
        PARTITION BY k.series, r.minutes, r.dense ORDER BY r.bucket) * r.minutes * interval '1 minute' AS island
    FROM {STRETCHES.format("own")} CROSS JOIN unnest(%(levels)s::smallint[]) AS l (level)
    CROSS JOIN LATERAL (
        SELECT minutes, bucket, minutes = 60 AND samples >= {60 * SAMPLES_MIN} AS dense FROM rollup
        WHERE tenant = current_tenant() AND rollup.series = k.series AND minutes = l.level
        AND bucket >= k.start AND bucket < k.until OFFSET 0) AS r) AS found
GROUP BY series, minutes, dense, island ORDER BY series, 4"""
STALE = f"""
SELECT series, {US.format("day")} FROM rollup_stale
WHERE tenant = current_tenant() AND series = ANY(%s) AND day >= %s AND day < %s"""
BIN = "date_bin(%(every)s * interval '1 microsecond', {}, to_timestamp(0))"
ROW = f"""{BIN.format("s.source_time")} AS bucket, 1::bigint AS samples, (number IS NOT NULL)::int AS numbers,
       number AS total, number AS low, number AS high, s.source_time AS first_time, s.source_time AS last_time"""
COUNTED = f"quality < {BAD} AND kind <= {JSON}"
COLUMNS = "source_time, num, doc"
NUMBERS = f"SELECT source_time, {NUMBER} AS number FROM"
RAW = stored_samples(
    "k.series",
    Stretch("k.start", "k.until"),
    f"source_time >= k.start AND source_time < k.until AND source_time >= %(low)s AND source_time < %(high)s"
    f" AND {COUNTED}",
    columns=COLUMNS,
)
FROM_SAMPLES = f"""
SELECT k.series, {ROW}
FROM {STRETCHES.format("raw")}
CROSS JOIN LATERAL ({NUMBERS} {RAW} AS own OFFSET 0) AS s"""
# By its bounds the planner passes over the leaves outside: worth it while they are few.
FEW = 6
ONE = stored_samples(
    "%(series_{0})s",
    Stretch("%(from_{0})s", "%(to_{0})s"),
    f"source_time >= %(from_{{0}})s AND source_time < %(to_{{0}})s AND {COUNTED}",
    columns=COLUMNS,
)
FROM_STRETCH = f"""
SELECT %(series_{{0}})s::bigint AS series, {ROW} FROM ({NUMBERS} {ONE} AS own) AS s"""
FROM_ROLLUPS = f"""
SELECT k.series, {BIN.format("r.bucket")} AS bucket, samples, numbers, total, low, high, first_time, last_time
FROM {STRETCHES.format("rolled_{0}")}
CROSS JOIN LATERAL (
    SELECT * FROM rollup WHERE tenant = current_tenant() AND rollup.series = k.series
    AND minutes = {{0}} AND bucket >= k.start AND bucket < k.until OFFSET 0) AS r"""
AGGREGATE = f"""
SELECT series, {US.format("bucket")}, sum(total) / nullif(sum(numbers), 0)::float8, min(low), max(high),
       {US.format("min(first_time)")}, {US.format("max(last_time)")}, sum(samples)::bigint
FROM ({{parts}}) AS parts
GROUP BY series, bucket ORDER BY bucket, series LIMIT %(limit)s"""
HELD = sample_at("k.series", "k.source_time", "source_time BETWEEN %(low)s AND %(high)s")
VALUES = f"""
SELECT k.series, k.time_us, s.num, s.kind, s.doc
FROM unnest(%(series)s::bigint[], %(times)s::timestamptz[], %(times_us)s::bigint[]) AS k (series, source_time, time_us)
CROSS JOIN LATERAL (SELECT * FROM {HELD} AS own OFFSET 0) AS s"""

Stretches = Mapping[int, tuple[int, int]]
"""By series its source times (µs) from the first up to but without the second."""


class _Piece(NamedTuple):
    series: int
    from_us: int
    to_us: int


async def read_rolled(
    tx: ReadTransaction, stretches: Stretches, every_us: int, limit: int, *, with_values: bool
) -> list[Row]:
    """Return aggregates by bucket and series, at most `limit` rows in this order.

    Each is series, bucket (µs), mean, least and greatest number, the first value and the last (num, kind and doc of
    each, None without `with_values`), and how many samples. Those of bad quality and removals do not count.
    """
    wanted = [
        _Piece(series, *stretch) for series, stretch in sorted(stretches.items()) if stretch[0] < stretch[1]
    ]
    if not wanted:
        return []
    rolled, raw = await _cover(tx, wanted, every_us)
    for piece in raw:
        await stage_between(tx, [piece.series], (piece.from_us, piece.to_us))
    given: dict[str, Any] = {"every": every_us, "limit": limit}
    parts = []
    for level, pieces in rolled.items():
        parts.append(FROM_ROLLUPS.format(level))
        given |= _given(f"rolled_{level}", pieces)
    if len(raw) <= FEW:
        for number, piece in enumerate(raw):
            parts.append(FROM_STRETCH.format(number))
            bounds = (piece.series, from_us(piece.from_us), from_us(piece.to_us))
            given |= dict(zip((f"series_{number}", f"from_{number}", f"to_{number}"), bounds, strict=True))
    else:
        parts.append(FROM_SAMPLES)
        low, high = min(each.from_us for each in raw), max(each.to_us for each in raw)
        given |= _given("raw", raw) | {"low": from_us(low), "high": from_us(high)}
    rows = await tx.rows(AGGREGATE.format(parts=" UNION ALL ".join(parts)), given, keeps_plan=False)
    values = await _values(tx, rows) if with_values and rows else {}
    none = (None, None, None)
    return [
        (*row[:5], *values.get((row[0], row[5]), none), *values.get((row[0], row[6]), none), row[7])
        for row in rows
    ]


async def _cover(
    tx: ReadTransaction, wanted: Sequence[_Piece], every_us: int
) -> tuple[dict[int, list[_Piece]], list[_Piece]]:
    """Return what is read of roll-ups, by their minutes, and what of samples: the widest roll-ups that fit a bucket."""
    levels = _levels(wanted, every_us)
    good = await _good(tx, wanted, levels) if levels else {}
    rolled: dict[int, list[_Piece]] = {}
    left = list(wanted)
    for level in levels:
        fits = list(_fitting(left, level * MINUTE_US, every_us, tx.line_us or 0))
        pieces = list(_without(fits, list(_without(fits, good[level]))))
        if pieces:
            rolled[level] = pieces
            left = list(_without(left, pieces))
    return rolled, left


def _levels(wanted: Sequence[_Piece], every_us: int) -> list[int]:
    """Return of which minutes roll-ups are looked at, the widest first.

    Those that buckets cut are worth it where many fit into a bucket, and their edges are not too many to look up.
    """
    cuts = sum((each.to_us - each.from_us) // every_us for each in wanted)
    return [
        level
        for level in reversed(MINUTES)
        if every_us % (level * MINUTE_US) == 0
        or (cuts <= CUTS_MAX and every_us >= FITTING_MIN[level] * level * MINUTE_US)
    ]


async def _good(
    tx: ReadTransaction, wanted: Sequence[_Piece], levels: Sequence[int]
) -> dict[int, list[_Piece]]:
    """Return by their minutes the stretches of which good roll-ups are there, by series and time."""
    around = [
        each._replace(from_us=each.from_us // HOUR_US * HOUR_US, to_us=-(-each.to_us // HOUR_US) * HOUR_US)
        for each in wanted
    ]
    days = (min(each.from_us for each in around) // DAY_US * DAY_US, max(each.to_us for each in around))
    numbers = bigints(np.array([EVERY_SERIES, *(each.series for each in around)], np.int64))
    looked_at = smallints(np.array(sorted({max(level, 60) for level in levels}), np.int16))
    found, stale = await tx.together(
        Statement(THERE, _given("own", around) | {"levels": looked_at}, keeps_plan=False),
        Statement(STALE, (numbers, from_us(days[0]), from_us(days[1])), keeps_plan=False),
    )
    every = {day for series, day in stale if series == EVERY_SERIES}
    own: dict[int, set[int]] = {}
    for series, day in stale:
        own.setdefault(series, set()).add(day)
    bad = [
        _Piece(each.series, day, day + DAY_US)
        for each in around
        for day in sorted(every | own.get(each.series, set()))
    ]
    there: dict[int, list[_Piece]] = {level: [] for level in MINUTES}
    for series, minutes, dense, first, last in found:
        piece = _Piece(series, first, last + minutes * MINUTE_US)
        there[minutes].append(piece)
        if dense:
            there[1].append(piece)
    return {level: list(_without(pieces, bad)) for level, pieces in there.items()}


def _fitting(pieces: Iterable[_Piece], width_us: int, every_us: int, line_us: int) -> Iterator[_Piece]:
    """Return of pieces, from the line on, whole buckets of roll-ups, none of which is in two buckets of the answer."""
    step_us = every_us if every_us % width_us else END_US
    for piece in pieces:
        from_us = max(piece.from_us, line_us)
        while from_us < piece.to_us:
            to_us = min(from_us // step_us * step_us + step_us, piece.to_us)
            inner = (-(-from_us // width_us) * width_us, to_us // width_us * width_us)
            if inner[0] < inner[1]:
                yield _Piece(piece.series, *inner)
            from_us = to_us


def _without(pieces: Iterable[_Piece], gone: Iterable[_Piece]) -> Iterator[_Piece]:
    """Return pieces less others; both are ordered by series and time, and those of each do not overlap."""
    by_series: dict[int, list[_Piece]] = {}
    for each in gone:
        by_series.setdefault(each.series, []).append(each)
    place = dict.fromkeys(by_series, 0)
    for piece in pieces:
        others = by_series.get(piece.series, ())
        start_us, at = piece.from_us, place.get(piece.series, 0)
        while at < len(others) and others[at].to_us <= start_us:
            at += 1
        place[piece.series] = at
        while at < len(others) and others[at].from_us < piece.to_us:
            if start_us < others[at].from_us:
                yield _Piece(piece.series, start_us, others[at].from_us)
            start_us = max(start_us, others[at].to_us)
            at += 1
        if start_us < piece.to_us:
            yield _Piece(piece.series, start_us, piece.to_us)


async def _values(tx: ReadTransaction, rows: Sequence[Row]) -> dict[tuple[int, int], Row]:
    keys = np.unique(np.array([(row[0], row[each]) for row in rows for each in (5, 6)], np.int64), axis=0)
    await stage_keys(tx, keys[:, 0], keys[:, 1])
    given = {
        "series": bigints(keys[:, 0]),
        "times": timestamps(keys[:, 1]),
        "times_us": bigints(keys[:, 1]),
        "low": from_us(int(keys[:, 1].min())),
        "high": from_us(int(keys[:, 1].max())),
    }
    return {(row[0], row[1]): row[2:] for row in await tx.rows(VALUES, given, keeps_plan=False)}


def _given(name: str, pieces: Sequence[_Piece]) -> dict[str, Any]:
    columns = np.array(pieces, np.int64)
    times = (timestamps(columns[:, 1]), timestamps(columns[:, 2]))
    return {f"{name}_series": bigints(columns[:, 0]), f"{name}_from": times[0], f"{name}_to": times[1]}

"""Aggregates by bucket of what is known now: from roll-ups where they are good, else from samples.

A roll-up is good where it is there and its day is not marked as stale: whoever changes samples under it marks it in
the same transaction. So the answer is that of the samples of the reader's snapshot, whatever was folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gemel.base.clock import from_us
from gemel.history.rollups import MINUTES, NUMBER, SAMPLES_MIN
from gemel.history.stale import DAY_US, EVERY_SERIES
from gemel.history.stored import Stretch, stored_samples
from gemel.history.values import BAD, JSON
from gemel.store.columns import bigints, timestamps
from gemel.store.database import ReadTransaction, Row, Statement

__all__ = ["Stretches", "read_rolled"]

MINUTE_US = 60_000_000
US = "(extract(epoch FROM {}) * 1000000)::bigint"
STRETCHES = """unnest(%({0}_series)s::bigint[], %({0}_from)s::timestamptz[], %({0}_to)s::timestamptz[])
    AS k (series, start, until)"""

# Minutes are there where their hour is, and has enough samples. Neighbours become one stretch.
THERE = f"""
SELECT series, {US.format("min(bucket)")}, {US.format("max(bucket)")} FROM (
    SELECT r.series, r.bucket, r.bucket
        - row_number() OVER (PARTITION BY r.series ORDER BY r.bucket) * %(width)s * interval '1 microsecond' AS island
    FROM {STRETCHES.format("own")}
    CROSS JOIN LATERAL (
        SELECT series, bucket FROM rollup WHERE tenant = current_tenant() AND rollup.series = k.series
        AND minutes = %(minutes)s AND bucket >= k.start AND bucket < k.until AND samples >= %(least)s
        OFFSET 0) AS r) AS found
GROUP BY series, island ORDER BY series, island"""
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
FROM {STRETCHES.format("rolled")}
CROSS JOIN LATERAL (
    SELECT * FROM rollup WHERE tenant = current_tenant() AND rollup.series = k.series
    AND minutes = %(level)s AND bucket >= k.start AND bucket < k.until OFFSET 0) AS r"""
AGGREGATE = f"""
SELECT series, {US.format("bucket")}, sum(total) / nullif(sum(numbers), 0)::float8, min(low), max(high),
       {US.format("min(first_time)")}, {US.format("max(last_time)")}, sum(samples)::bigint
FROM ({{parts}}) AS parts
GROUP BY series, bucket ORDER BY bucket, series LIMIT %(limit)s"""
HELD = stored_samples(
    "k.series",
    Stretch("k.source_time", "k.source_time"),
    "source_time = k.source_time AND source_time BETWEEN %(low)s AND %(high)s",
    columns="num, kind, doc",
)
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
    level = max((each for each in MINUTES if every_us % (each * MINUTE_US) == 0), default=0)
    rolled = await _rolled(tx, wanted, level) if level else []
    raw = list(_without(wanted, rolled))
    given: dict[str, Any] = {"every": every_us, "limit": limit, "level": level}
    parts = []
    if rolled:
        parts.append(FROM_ROLLUPS)
        given |= _given("rolled", rolled)
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


async def _rolled(tx: ReadTransaction, wanted: Sequence[_Piece], level: int) -> list[_Piece]:
    """Return the parts of stretches of which good roll-ups are there, by series and time."""
    line_us = tx.line_us or 0
    width_us, step_us = max(level, 60) * MINUTE_US, level * MINUTE_US
    whole = [
        _Piece(
            each.series, -(-max(each.from_us, line_us) // step_us) * step_us, each.to_us // step_us * step_us
        )
        for each in wanted
    ]
    whole = [each for each in whole if each.from_us < each.to_us]
    if not whole:
        return []
    around = [each._replace(from_us=each.from_us // width_us * width_us) for each in whole]
    days = (min(each.from_us for each in around) // DAY_US * DAY_US, max(each.to_us for each in around))
    least = 60 * SAMPLES_MIN if level < 60 else SAMPLES_MIN
    numbers = bigints(np.array([EVERY_SERIES, *(each.series for each in whole)], np.int64))
    there = _given("own", around) | {"width": width_us, "minutes": max(level, 60), "least": least}
    found, stale = await tx.together(
        Statement(THERE, there, keeps_plan=False),
        Statement(STALE, (numbers, from_us(days[0]), from_us(days[1])), keeps_plan=False),
    )
    bounds = {each.series: each for each in whole}
    islands = [
        _Piece(series, max(first, bounds[series].from_us), min(last + width_us, bounds[series].to_us))
        for series, first, last in found
    ]
    marked = {(series, day) for series, day in stale}
    every = {day for series, day in marked if series == EVERY_SERIES}
    bad = (
        _Piece(each.series, day, day + DAY_US)
        for each in whole
        for day in sorted(every | {day for series, day in marked if series == each.series})
    )
    return list(_without(islands, bad))


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

"""History read back: raw samples, or buckets with aggregates and last-observation-carried-forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from gemel.base.clock import from_us
from gemel.base.errors import InvalidError
from gemel.history.cold import Page as ColdPage
from gemel.history.cold import stage_between, stage_last
from gemel.history.moment import END_US, known_samples
from gemel.history.rolled import read_rolled
from gemel.history.rollups import NUMBER
from gemel.history.stored import Stretch
from gemel.history.values import BAD, JSON, QUALITIES, decode
from gemel.store.columns import bigints
from gemel.store.database import ReadTransaction

__all__ = [
    "AGGREGATES",
    "Bucket",
    "Buckets",
    "Cursor",
    "Page",
    "RawSample",
    "Window",
    "read_buckets",
    "read_raw",
]

AGGREGATES = ("mean", "min", "max", "first", "last", "count")

# Windows come as plain timestamps beside what is computed from a cursor: only by them can the planner pass over
# the leaves outside.
US = "(extract(epoch FROM {}) * 1000000)::bigint"
AT = "to_timestamp(0) + %({})s * interval '1 microsecond'"
OWN = ("k.series", Stretch("%(low)s", "%(high)s"))
WITHIN = f"""
source_time >= %(low)s AND source_time < %(high)s
AND source_time >= {AT.format("start")} + (k.series <= %(passed)s)::int * {{step}}"""

RAW = f"""
SELECT s.series, {US.format("s.source_time")}, {US.format("s.recorded")}, s.num, s.kind, s.doc, s.revision, s.quality
FROM unnest(%(series)s::bigint[]) AS k (series)
CROSS JOIN LATERAL {{samples}} AS s
ORDER BY s.source_time, s.series LIMIT %(limit)s"""
RAW_SAMPLES = (*OWN, WITHIN.format(step="interval '1 microsecond'"), "ASC", "%(limit)s")

BUCKETS = f"""
SELECT s.* FROM unnest(%(series)s::bigint[]) AS k (series)
CROSS JOIN LATERAL (
    SELECT k.series, {US.format("bucket")} AS bucket_us, avg({NUMBER}), min({NUMBER}), max({NUMBER}),
           (array_agg(num ORDER BY source_time))[1], (array_agg(kind ORDER BY source_time))[1],
           (array_agg(doc ORDER BY source_time))[1],
           (array_agg(num ORDER BY source_time DESC))[1], (array_agg(kind ORDER BY source_time DESC))[1],
           (array_agg(doc ORDER BY source_time DESC))[1], count(*)
    FROM (SELECT *, date_bin(%(every)s * interval '1 microsecond', source_time, to_timestamp(0)) AS bucket
          FROM {{samples}} AS known WHERE quality < {BAD} AND kind <= {JSON}) AS binned
    GROUP BY bucket ORDER BY bucket LIMIT %(limit)s) AS s
ORDER BY s.bucket_us, s.series LIMIT %(limit)s"""
BUCKET_SAMPLES = (*OWN, WITHIN.format(step="%(every)s * interval '1 microsecond'"))

AS_OF = f"""
SELECT k.series, s.num, s.kind, s.doc FROM unnest(%(series)s::bigint[]) AS k (series)
CROSS JOIN LATERAL {{samples}} AS s
WHERE s.kind <= {JSON}"""
LAST = ("k.series", Stretch(None, "%(high)s"), f"source_time < %(high)s AND quality < {BAD}", "DESC", "1")

T = TypeVar("T")


class Window(NamedTuple):
    """Source times from `from_us` up to but without `to_us`, with the values known at `known_at_us`."""

    from_us: int
    to_us: int
    known_at_us: int = END_US


class Cursor(NamedTuple):
    """The last row of a page: its time and series; rows are ordered by both."""

    time_us: int
    series: int


class RawSample(NamedTuple):
    """One sample; a removed property has the value None and `removed` true."""

    path: str
    time_us: int
    value: Any
    removed: bool
    quality: str
    revision: int
    recorded_us: int


class Bucket(NamedTuple):
    """The aggregates of one path over [time_us, time_us + every)."""

    path: str
    time_us: int
    values: dict[str, Any]


class Buckets(NamedTuple):
    """How to aggregate: the width in µs, which of AGGREGATES, and whether gaps carry the last value forward."""

    every_us: int
    aggregates: Sequence[str]
    carry_forward: bool = False


class _Rows(NamedTuple):
    """Buckets of which width, how many of them, and whether their first and last values are asked for."""

    every_us: int
    limit: int
    with_values: bool


class Page(NamedTuple, Generic[T]):
    """Some rows, and the cursor to go on from, or None at the end."""

    rows: list[T]
    after: Cursor | None


async def read_raw(
    tx: ReadTransaction, series: Mapping[int, str], window: Window, limit: int, after: Cursor | None = None
) -> Page[RawSample]:
    """Return samples of some series (series to path) by time, at most `limit`."""
    start = after or Cursor(window.from_us, -1)
    span_us = (max(window.from_us, start.time_us), window.to_us)
    await stage_between(tx, series, span_us, window.known_at_us, ColdPage(limit))
    sql = RAW.format(samples=known_samples(window.known_at_us, *RAW_SAMPLES))
    parameters = {"series": _array(series), "limit": limit} | _window(window, start)
    rows = [
        (
            row[0],
            RawSample(
                series[row[0]], row[1], decode(*row[3:6]), row[4] > JSON, QUALITIES[row[7]], row[6], row[2]
            ),
        )
        for row in await tx.rows(sql, parameters)
    ]
    last = Cursor(rows[-1][1].time_us, rows[-1][0]) if len(rows) == limit else None
    return Page([row for _, row in rows], last)


async def read_buckets(
    tx: ReadTransaction,
    series: Mapping[int, str],
    window: Window,
    buckets: Buckets,
    limit: int,
    after: Cursor | None = None,
) -> Page[Bucket]:
    """Return aggregates of some series (series to path) by bucket, at most `limit` rows.

    Buckets are aligned to 1970-01-01 UTC. Samples of bad quality and removals do not count. Mean, min and max
    are of numbers only. Raises InvalidError (InvalidArgument) for an unknown aggregate or width.
    """
    _check(buckets)
    if buckets.carry_forward:
        return await _carried(tx, series, window, buckets, limit, after)
    start = after or Cursor(window.from_us, -1)
    with_values = bool({"first", "last"} & set(buckets.aggregates))
    rows = await _bucket_rows(tx, series, window, _Rows(buckets.every_us, limit, with_values), start)
    found = [Bucket(series[row[0]], row[1], _values(row, buckets.aggregates)) for row in rows]
    last = Cursor(rows[-1][1], rows[-1][0]) if len(rows) == limit else None
    return Page(found, last)


def _check(buckets: Buckets) -> None:
    unknown = [name for name in buckets.aggregates if name not in AGGREGATES]
    if unknown or not buckets.aggregates:
        raise InvalidError("InvalidArgument", f"agg {unknown} is unknown; use {', '.join(AGGREGATES)}.")
    if buckets.every_us < 1:
        raise InvalidError("InvalidArgument", "every must be longer than nothing, such as 10s or 1h.")


async def _bucket_rows(
    tx: ReadTransaction,
    series: Mapping[int, str],
    window: Window,
    wanted: _Rows,
    start: Cursor,
) -> list[tuple[Any, ...]]:
    every_us, limit, with_values = wanted
    # A cursor names the start of a bucket: series up to its own go on one bucket later.
    if window.known_at_us >= END_US:
        low_us = max(window.from_us, start.time_us, 0)
        stretches = {
            each: (max(low_us, start.time_us + every_us * (each <= start.series)), window.to_us)
            for each in series
        }
        return await read_rolled(tx, stretches, every_us, limit, with_values=with_values)
    await stage_between(tx, series, (max(window.from_us, start.time_us), window.to_us), window.known_at_us)
    sql = BUCKETS.format(samples=known_samples(window.known_at_us, *BUCKET_SAMPLES))
    parameters = {"series": _array(series), "every": every_us, "limit": limit}
    return await tx.rows(sql, parameters | _window(window, start))


async def _carried(
    tx: ReadTransaction,
    series: Mapping[int, str],
    window: Window,
    buckets: Buckets,
    limit: int,
    after: Cursor | None,
) -> Page[Bucket]:
    """Return every bucket of the page's part of the window, gaps filled; pages are cut between buckets."""
    every_us = buckets.every_us
    first = (after.time_us + every_us) if after else window.from_us // every_us * every_us
    count = min(max(1, limit // len(series)), -(-(window.to_us - first) // every_us))
    end = min(first + count * every_us, window.to_us)
    start_us = max(first, window.from_us)
    part = window._replace(from_us=start_us, to_us=end)
    wanted = _Rows(every_us, count * len(series), with_values=True)
    rows = await _bucket_rows(tx, series, part, wanted, Cursor(start_us, -1))
    found = {(row[0], row[1]): row for row in rows}
    carried = await _last_before(tx, series, start_us, window.known_at_us)
    page: list[Bucket] = []
    for time_us in range(first, end, every_us):
        for number in sorted(series):
            row = found.get((number, time_us))
            if row is not None:
                carried[number] = decode(*row[8:11])
                page.append(Bucket(series[number], time_us, _values(row, buckets.aggregates)))
            elif number in carried:
                page.append(Bucket(series[number], time_us, _constant(carried[number], buckets.aggregates)))
    more = end < window.to_us
    return Page(page, Cursor(first + (count - 1) * every_us, max(series)) if more else None)


async def _last_before(
    tx: ReadTransaction, series: Mapping[int, str], time_us: int, known_at_us: int
) -> dict[int, Any]:
    await stage_last(tx, series, time_us - 1, known_at_us, good=True)
    sql = AS_OF.format(samples=known_samples(known_at_us, *LAST))
    parameters = {"series": _array(series), "high": _moment(time_us), "known_at": from_us(known_at_us)}
    return {row[0]: decode(*row[1:]) for row in await tx.rows(sql, parameters)}


def _window(window: Window, start: Cursor) -> dict[str, Any]:
    return {
        "low": _moment(max(window.from_us, start.time_us)),
        "high": _moment(window.to_us),
        "start": start.time_us,
        "passed": start.series,
        "known_at": from_us(window.known_at_us),
    }


def _moment(time_us: int) -> datetime:
    return from_us(max(0, time_us))  # no sample is older


def _array(series: Mapping[int, str]) -> Any:
    return bigints(np.array(sorted(series), np.int64))


def _values(row: Sequence[Any], aggregates: Sequence[str]) -> dict[str, Any]:
    mean, low, high = row[2:5]
    every = {
        "mean": mean,
        "min": low,
        "max": high,
        "first": None if row[6] is None else decode(*row[5:8]),
        "last": None if row[9] is None else decode(*row[8:11]),
        "count": row[11],
    }
    return {name: every[name] for name in aggregates}


def _constant(value: Any, aggregates: Sequence[str]) -> dict[str, Any]:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    every = {"mean": number, "min": number, "max": number, "first": value, "last": value, "count": 0}
    return {name: every[name] for name in aggregates}

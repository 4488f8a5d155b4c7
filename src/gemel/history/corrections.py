"""Deleting a range of samples: they lose their keys to nothing, and are kept for what was known before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gemel.base.clock import from_us, iso_us, to_us
from gemel.history.changes import append
from gemel.history.cold import Page, stage_between, thaw
from gemel.history.lasts import forget_lasts
from gemel.history.moves import Stretch
from gemel.history.paths import PathKey
from gemel.history.samples import Sample, SampleBatch
from gemel.history.stale import mark_stale
from gemel.history.stored import Stretch as Between
from gemel.history.stored import stored_samples, unpack
from gemel.history.values import JSON, REMOVED, Encoded, canonical_json
from gemel.history.write import restate
from gemel.store.columns import bigints
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = [
    "Correction",
    "Range",
    "cut_range",
    "delete_samples",
    "highest_revision",
    "read_corrections",
    "tell_correction",
]

US = "(extract(epoch FROM {}) * 1000000)::bigint"
COLUMNS = "series, source_time, recorded, num, revision, quality, kind, doc"
WITHIN = """
tenant = current_tenant() AND series = ANY(%(series)s) AND source_time >= %(from)s AND source_time < %(to)s"""

OWN = ("k.series", Between("%(from)s", "%(to)s"), "source_time >= %(from)s AND source_time < %(to)s")

# By series, each up to one more than the limit: no more rows are looked at than are asked for, whatever the range.
CUT = f"""
SELECT {US.format("s.source_time")} FROM unnest(%(series)s::bigint[]) AS k (series)
CROSS JOIN LATERAL {stored_samples(*OWN, "ASC", "%(limit)s + 1", "source_time")} AS s
ORDER BY 1 OFFSET %(limit)s LIMIT 1"""
DELETE = f"""
WITH gone AS (DELETE FROM sample WHERE {WITHIN} RETURNING {COLUMNS}, late),
kept AS (
    INSERT INTO sample_superseded (tenant, superseded, {COLUMNS}, late)
    SELECT current_tenant(), %(now)s, {COLUMNS}, late FROM gone)
SELECT series, count(*), min(source_time), max(source_time) FROM gone
GROUP BY series, date_bin('1 day', source_time, to_timestamp(0))"""
GAPS = """
INSERT INTO sample_gap (tenant, series, low, high)
SELECT current_tenant(), series, min(low), max(high)
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS k (series, low, high)
GROUP BY series ORDER BY series
ON CONFLICT (tenant, series) DO UPDATE SET low = least(sample_gap.low, excluded.low),
    high = greatest(sample_gap.high, excluded.high)"""
FALLEN = f"""
SELECT l.series, {US.format("l.source_time")}, {US.format("s.source_time")}, s.num, s.kind, s.doc, s.revision, s.quality
FROM latest AS l LEFT JOIN LATERAL {stored_samples("l.series", Between(), "true", "DESC", "1")} AS s ON true
WHERE l.tenant = current_tenant() AND l.series = ANY(%(series)s) AND l.revision >= 0
  AND l.source_time >= %(from)s AND l.source_time < %(to)s
ORDER BY l.series"""
KEEP_FALLEN = f"""
INSERT INTO sample_superseded (tenant, superseded, {COLUMNS})
SELECT current_tenant(), %s, {", ".join(f"s.{name}" for name in COLUMNS.split(", "))}
FROM unnest(%s::bigint[], %s::timestamptz[]) AS k (series, source_time)
CROSS JOIN LATERAL (
    SELECT * FROM sample WHERE tenant = current_tenant() AND sample.series = k.series
    AND sample.source_time = k.source_time OFFSET 0) AS s"""
REVISION = f"""
SELECT coalesce(max(revision), -1) FROM (
    SELECT max(s.revision) AS revision FROM unnest(%(series)s::bigint[]) AS k (series)
    CROSS JOIN LATERAL {stored_samples(*OWN, columns="revision")} AS s
    UNION ALL SELECT max(revision) FROM sample_superseded WHERE {WITHIN}) AS both_of"""
RECORD = """
INSERT INTO correction (tenant, twin_no, recorded, action, paths, valid_from, valid_to, deleted, added, reason, actor)
VALUES (current_tenant(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
READ = f"""
SELECT twin_no, {US.format("recorded")}, action, paths, {US.format("valid_from")}, {US.format("valid_to")}, deleted,
       added, reason, actor
FROM correction
WHERE tenant = current_tenant() AND twin_no = ANY(%s) AND valid_from <= %s AND valid_to > %s AND recorded <= %s
ORDER BY twin_no, recorded"""


class Range(NamedTuple):
    """Some series of a twin (series to path), and source times (µs) from `from_us` up to but without `to_us`."""

    series: Mapping[int, PathKey]
    from_us: int
    to_us: int

    @property
    def parameters(self) -> dict[str, object]:
        """The range as the statements here name it."""
        numbers = bigints(np.array(sorted(self.series), np.int64))
        return {"series": numbers, "from": from_us(self.from_us), "to": from_us(self.to_us)}


class Correction(NamedTuple):
    """A deletion or replacement as it was recorded; times in µs, `to_us` exclusive."""

    twin_no: int
    recorded_us: int
    action: str
    paths: Sequence[str]
    from_us: int
    to_us: int
    deleted: int
    added: int
    reason: str
    actor: str


async def cut_range(tx: ReadTransaction, wanted: Range, limit: int) -> int:
    """Return up to which source time (µs, exclusive) a range has at most `limit` samples; its own end where it has."""
    await stage_between(tx, wanted.series, (wanted.from_us, wanted.to_us), page=Page(limit + 1))
    row = await tx.row(CUT, wanted.parameters | {"limit": limit})
    return wanted.to_us if row is None else int(row[0])


async def highest_revision(tx: ReadTransaction, wanted: Range) -> int:
    """Return the highest revision of a range's samples, also of those that lost their keys; -1 where it has none."""
    if isinstance(tx, WriteTransaction):
        await _thaw(tx, wanted)
    else:
        await stage_between(tx, wanted.series, (wanted.from_us, wanted.to_us))
    row = await tx.row(REVISION, wanted.parameters)
    return -1 if row is None else int(row[0])


async def delete_samples(tx: WriteTransaction, wanted: Range) -> dict[int, int]:
    """Take the samples of a range out of history and state; return how many of each series there were.

    They are kept as superseded, so that what was known before stays as it was. Where the last sample of a series
    goes, the last that remains becomes the state.
    """
    forget_lasts(tx)
    await _thaw(tx, wanted)
    series = np.array(sorted(wanted.series), np.int64)
    await unpack(tx, series, *(np.full(len(series), us) for us in (wanted.from_us, wanted.to_us)))
    now = from_us(tx.stamp())
    rows = await tx.rows(DELETE, wanted.parameters | {"now": now})
    if not rows:
        return {}
    await tx.execute(GAPS, ([row[0] for row in rows], [row[2] for row in rows], [row[3] for row in rows]))
    days = np.array([(row[0], to_us(row[2])) for row in rows], np.int64)
    await mark_stale(tx, days[:, 0], days[:, 1])
    await _fall_back(tx, wanted)
    counts: Counter[int] = Counter()
    for series, count, *_ in rows:
        counts[series] += count
    return counts


async def tell_correction(tx: WriteTransaction, twin_id: str, told: Correction) -> None:
    """Record a correction and tell the change feed of it, so that whoever derived something can do it again."""
    times = (from_us(told.from_us), from_us(told.to_us))
    recorded = from_us(told.recorded_us)
    await tx.execute(
        RECORD,
        (told.twin_no, recorded, told.action, list(told.paths), *times, *told[6:]),
    )
    payload = {
        "twin": twin_id,
        "no": told.twin_no,
        "paths": list(told.paths),
        "from": iso_us(told.from_us),
        "to": iso_us(told.to_us),
        "deleted": told.deleted,
        "added": told.added,
        "reason": told.reason,
        "actor": told.actor,
    }
    await append(tx, f"history.{told.action}", payload)


async def read_corrections(
    tx: ReadTransaction, twin_nos: Collection[int], stretch: Stretch
) -> list[Correction]:
    """Return the corrections of twins (by number) that touch a stretch of source times, of those known by then."""
    times = (from_us(stretch.to_us), from_us(stretch.from_us), from_us(stretch.known_at_us))
    rows = await tx.rows(READ, (list(twin_nos), *times))
    return [Correction(*row) for row in rows]


async def _thaw(tx: WriteTransaction, wanted: Range) -> None:
    series = np.array(sorted(wanted.series), np.int64)
    await thaw(tx, series, *(np.full(len(series), us) for us in (wanted.from_us, wanted.to_us)))


async def _fall_back(tx: WriteTransaction, wanted: Range) -> None:
    rows = await tx.rows(FALLEN, wanted.parameters)
    if not rows:
        return
    stamp_us = tx.stamp()
    fallen = [_remaining(row, stamp_us) for row in rows if row[2] is not None]
    emptied = [
        Sample(row[0], row[1], Encoded(None, REMOVED, None), -1, 0, stamp_us)
        for row in rows
        if row[2] is None
    ]
    if fallen:
        keys = ([sample.series for sample in fallen], [from_us(sample.time_us) for sample in fallen])
        series, times_us = (
            np.array(each, np.int64) for each in zip(*(one[:2] for one in fallen), strict=True)
        )
        await unpack(tx, series, times_us, times_us)
        await tx.execute(KEEP_FALLEN, (from_us(stamp_us), *keys))
    await restate(tx, SampleBatch.of(fallen), SampleBatch.of(emptied))


def _remaining(row: Row, stamp_us: int) -> Sample:
    series, _, time_us, num, kind, doc, revision, quality = row
    value = Encoded(num, kind, canonical_json(doc) if kind == JSON else None)
    return Sample(series, time_us, value, revision, quality, stamp_us)

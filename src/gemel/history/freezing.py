"""Freezing: a whole old week of a tenant leaves the database for a file, but for what bounds each series in it.

The file is written, read back and compared before anything goes, and is named while it counts for no series: those in
it are marked as thawed. Then series by series, some in a transaction under the tenant's head, what lies in the database
is compared with what the file was made of; what is equal is deleted but for its bounds, and its mark with it. What was
written to meanwhile stays marked, for the next time. So writers wait for some thousand samples at most, and whatever
ends in between leaves a state that is whole. Runs on the owner's connection, which sees all tenants.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from gemel.base.clock import from_us
from gemel.base.errors import InternalError
from gemel.history.cold_file import Written, each_group, series_in, write_cold
from gemel.history.cold_rows import ColdRows, insert_rows
from gemel.history.samples import Ints, SampleBatch
from gemel.history.stale import EVERY_SERIES
from gemel.history.stored import EACH
from gemel.history.values import BAD
from gemel.store.blobs import Blobs
from gemel.store.columns import bigints

__all__ = ["KEPT_MIN", "Frozen", "freeze_week", "weeks_due"]

Flags = npt.NDArray[np.bool_]
T = TypeVar("T")

KEPT_MIN = 16
"""A series that has fewer samples in a week stays in the database with all of them."""
SLICE_SAMPLES = 20_000
"""About how many samples leave the database in a transaction: writers wait for its end."""
FETCH_ROWS = 50_000
"""About how many rows are in memory as they are read; more where one series alone has more."""
MARKS = 10_000
"""How many series are marked in a transaction."""
SHRINK_ROWS = 200_000
"""A leaf with more rows, of other tenants that is, is not written anew: whoever reads of it waits for that."""
SHRINK_BYTES = 1 << 20
"""So much larger than twice its rows a leaf is before it is."""
LOCK_TIMEOUT = "5s"
SHRINK_TIMEOUT = "200ms"
"""How long the exchange of a leaf waits for its readers, and the next readers for it, before it gives way."""
ATTEMPTS = 10

US = "(extract(epoch FROM {}) * 1000000)::bigint"
LIMITS = """
SELECT least(%(before)s, h.rolled), h.retention_line FROM tenant_head AS h WHERE tenant = %(tenant)s"""
WEEKS = """
SELECT w.week FROM (
    SELECT to_date(right(c.relname, 10), 'YYYY_MM_DD')::timestamp AT TIME ZONE 'UTC' AS week
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'sample'::regclass AND c.relname ~ '^sample_\\d{4}_\\d\\d_\\d\\d$') AS w
LEFT JOIN cold_week AS c ON c.tenant = %(tenant)s AND c.week = w.week
WHERE w.week + interval '168 hours' <= %(before)s AND (%(line)s::timestamptz IS NULL OR w.week >= %(line)s)
  AND (c.name IS NULL
       OR EXISTS (SELECT FROM cold_thawed AS t WHERE t.tenant = %(tenant)s AND t.week = w.week))
ORDER BY w.week"""
OWN_ROWS = "tenant = %(tenant)s AND source_time >= %(week)s AND source_time < %(end)s"
OWN_PACKS = "tenant = %(tenant)s AND first_time >= %(week)s AND first_time < %(end)s"
USED = f"""
SELECT EXISTS (SELECT FROM sample WHERE {OWN_ROWS}) OR EXISTS (SELECT FROM sample_pack WHERE {OWN_PACKS})"""
# What is in the head is packed within a minute; stale roll-ups are folded from what is here.
HELD = "EXISTS (SELECT FROM sample_head WHERE tenant = %(tenant)s AND first_time < %(end)s AND last_time >= %(week)s)"
STALE = "EXISTS (SELECT FROM rollup_stale WHERE tenant = %(tenant)s AND day >= %(week)s AND day < %(end)s {})"
UNSETTLED = f"SELECT {HELD} OR {STALE.format('')}"
# Days of some series may be stale here: these were written to.
HINDERED = f"SELECT {HELD} OR {STALE.format('AND series = %(every)s')}"
READ = f"""
SELECT * FROM (
    SELECT series, {US.format("source_time")}, {US.format("recorded")}, num, kind, revision, quality, doc::text, late
    FROM sample WHERE {OWN_ROWS}
    UNION ALL
    SELECT pk.series, {US.format("un.source_time")}, {US.format("un.recorded")}, un.num, coalesce(un.kind, 0), 0, 0,
           NULL, false
    FROM sample_pack AS pk CROSS JOIN LATERAL {EACH} WHERE {OWN_PACKS}) AS lying ORDER BY 1, 2"""
# Whatever changes a sample records it anew.
FINGERPRINTS = f"""
SELECT series, count(*), sum(mark)::text FROM (
    SELECT series, hash_record_extended(ROW(source_time, recorded), 0) AS mark FROM sample WHERE {OWN_ROWS} {{0}}
    UNION ALL
    SELECT series, hash_record_extended(ROW(source_times, recorded_times), 0)
    FROM sample_pack WHERE {OWN_PACKS} {{0}}) AS lying
GROUP BY series"""
AMONG = "AND series = ANY(%(series)s)"
# What others lost a key to stays beside them: they stay, too.
CORRECTED = f"SELECT DISTINCT series, {US.format('source_time')} FROM sample_superseded WHERE {OWN_ROWS}"
NAMED = "SELECT name FROM cold_week WHERE tenant = %(tenant)s AND week = %(week)s"
THAWED = "SELECT series FROM cold_thawed WHERE tenant = %(tenant)s AND week = %(week)s"
MARK = """
INSERT INTO cold_thawed AS t (tenant, week, series, samples)
SELECT %(tenant)s, %(week)s, * FROM unnest(%(series)s::bigint[], %(samples)s::bigint[])
ON CONFLICT (tenant, week, series) DO UPDATE SET samples = excluded.samples
WHERE t.samples <> excluded.samples"""
LOCK = "SELECT tenant FROM tenant_head WHERE tenant = %(tenant)s FOR NO KEY UPDATE"
NAME = """
INSERT INTO cold_week (tenant, week, name, digest, samples, bytes, recorded)
VALUES (%(tenant)s, %(week)s, %(name)s, %(digest)s, %(samples)s, %(bytes)s, %(recorded)s)
ON CONFLICT (tenant, week) DO UPDATE SET name = excluded.name, digest = excluded.digest, samples = excluded.samples,
    bytes = excluded.bytes, recorded = greatest(cold_week.recorded, excluded.recorded), frozen = clock_timestamp()"""
DRAW = "UPDATE tenant_head SET frozen = greatest(frozen, %(end)s) WHERE tenant = %(tenant)s"
DELETE_ROWS = f"DELETE FROM sample WHERE {OWN_ROWS} {AMONG}"
DELETE_PACKS = f"DELETE FROM sample_pack WHERE {OWN_PACKS} {AMONG}"
UNMARK = f"DELETE FROM cold_thawed WHERE tenant = %(tenant)s AND week = %(week)s {AMONG}"
CLEAR = sql.SQL("VACUUM (ANALYZE) {}")
SHRINK = sql.SQL("VACUUM (FULL) {}")
SIZE = "SELECT reltuples::bigint, pg_table_size(oid) FROM pg_class WHERE oid = %s::regclass"
ROW_BYTES = 150
SETTINGS = f"SET jit = off; SET work_mem = '32MB'; SET lock_timeout = '{LOCK_TIMEOUT}'"


class _StoppedError(Exception):
    """No more is to be begun."""


class Frozen(NamedTuple):
    """What became of a week of a tenant: samples and bytes of its file; or why it was left, for a later time.

    `behind` series stay in the database, because they were written to meanwhile, until the next time.
    """

    tenant: int
    week: str
    samples: int = 0
    bytes: int = 0
    behind: int = 0
    left: str | None = None


class Place(NamedTuple):
    """A week of a tenant, by its Monday."""

    tenant: int
    start: datetime

    @property
    def day(self) -> str:
        """The Monday, as YYYY-MM-DD."""
        return f"{self.start:%Y-%m-%d}"

    @property
    def given(self) -> dict[str, object]:
        """The parameters of statements."""
        end = self.start + timedelta(days=7)
        return {"tenant": self.tenant, "week": self.start, "end": end, "every": EVERY_SERIES}


@dataclass(slots=True)
class _Moving:
    """What may leave the database: what was seen of each series; of which how many go, and what stays of them."""

    seen: dict[int, tuple[int, str]]
    sizes: dict[int, int] = field(default_factory=dict)
    kept: list[ColdRows] = field(default_factory=list)
    recorded_us: int = 0


class _Old(NamedTuple):
    """The file that a week has, None for none, the series that are marked, and those for which the file counts."""

    name: str | None
    marked: Ints
    counts: Ints


def weeks_due(owner: psycopg.Connection, tenant: int, before: datetime) -> list[Place]:
    """Return a tenant's weeks that ended before a time, have samples, and are not frozen or were written to since."""
    owner.execute(SETTINGS)
    limits = owner.execute(LIMITS, {"tenant": tenant, "before": before}).fetchone()
    if limits is None or limits[0] is None:
        return []
    given = {"tenant": tenant, "before": limits[0], "line": limits[1]}
    places = [Place(tenant, row[0].astimezone(UTC)) for row in owner.execute(WEEKS, given)]
    return [place for place in places if _one(owner, USED, place)]


def freeze_week(
    owner: psycopg.Connection, blobs: Blobs, place: Place, go_on: Callable[[], bool] = lambda: True
) -> Frozen:
    """Freeze a week, as far as nobody writes to it meanwhile, until `go_on` says no."""
    try:
        return _freeze(owner, blobs, place, go_on)
    except _StoppedError:
        return Frozen(place.tenant, place.day, left="the server ends")
    except psycopg.errors.LockNotAvailable:
        return Frozen(place.tenant, place.day, left="others held it up; what went is frozen")


def _freeze(owner: psycopg.Connection, blobs: Blobs, place: Place, go_on: Callable[[], bool]) -> Frozen:
    with owner.transaction():
        owner.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if _one(owner, UNSETTLED, place):
            return Frozen(place.tenant, place.day, left="what came last is not settled yet")
        old = _read_old(owner, blobs, place)
        moving = _Moving(_fingerprints(owner, FINGERPRINTS.format(""), place.given))
        written = write_cold(_while(go_on, _parts(owner, blobs, place, old, moving)))
    name = _put(blobs, place, written)
    told = {"digest": written.digest, "samples": written.rows, "bytes": len(written.content)}
    numbers = sorted({*moving.sizes, *old.marked.tolist()})
    _mark(owner, place, numbers, moving.sizes)
    _name(owner, place, told | {"name": name, "recorded": from_us(moving.recorded_us)})
    behind = _move(owner, place, moving, _while(go_on, _slices(numbers, moving.sizes)))
    _shrink(owner, f"sample_{place.start:%Y_%m_%d}")
    return Frozen(place.tenant, place.day, written.rows, len(written.content), behind)


def _read_old(owner: psycopg.Connection, blobs: Blobs, place: Place) -> _Old:
    named = owner.execute(NAMED, place.given).fetchone()
    marked = np.array(sorted(row[0] for row in owner.execute(THAWED, place.given)), np.int64)
    if named is None:
        return _Old(None, marked, np.zeros(0, np.int64))
    with blobs.open(str(named[0])) as file:
        return _Old(str(named[0]), marked, np.setdiff1d(series_in(file), marked))


def _parts(
    owner: psycopg.Connection, blobs: Blobs, place: Place, old: _Old, moving: _Moving
) -> Iterator[ColdRows]:
    """Return what the file is to have, by series; note what is to leave the database for it, and what stays."""
    corrected = set(owner.execute(CORRECTED, place.given).fetchall())
    groups = _old_parts(blobs, old)
    waiting = next(groups, None)
    for rows in _read(owner, place):
        moving.recorded_us = max(moving.recorded_us, int(rows.samples.recorded_us.max()))
        last = int(rows.samples.series[-1])
        parts = [_going(rows.take(~np.isin(rows.samples.series, old.counts)), corrected, moving)]
        while waiting is not None:
            parts.append(waiting.take(waiting.samples.series <= last))
            rest = waiting.take(waiting.samples.series > last)
            if len(rest):
                waiting = rest
                break
            waiting = next(groups, None)
        yield ColdRows.joined(parts)
    while waiting is not None:
        yield waiting
        waiting = next(groups, None)


def _old_parts(blobs: Blobs, old: _Old) -> Iterator[ColdRows]:
    if old.name is not None:
        with blobs.open(old.name) as file:
            for rows in each_group(file):
                yield rows.take(np.isin(rows.samples.series, old.counts))


def _read(owner: psycopg.Connection, place: Place) -> Iterator[ColdRows]:
    """Return what lies in the database of a week, some whole series at a time, in order."""
    held: list[tuple[object, ...]] = []
    with owner.cursor("lying", binary=True) as cursor:
        cursor.execute(READ, place.given)
        while found := cursor.fetchmany(FETCH_ROWS):
            last = found[-1][0]
            cut = next((at for at, row in enumerate(found) if row[0] == last), 0)
            if cut or (held and held[-1][0] != last):
                yield _rows([*held, *found[:cut]])
                held = []
            held += found[cut:]
    if held:
        yield _rows(held)


def _going(rows: ColdRows, corrected: set[tuple[object, ...]], moving: _Moving) -> ColdRows:
    """Return those of some rows that are to go, and note what stays of their series."""
    kept = _bounds(rows.samples)
    if corrected:
        keys = zip(rows.samples.series.tolist(), rows.samples.time_us.tolist(), strict=True)
        kept |= np.array([key in corrected for key in keys], np.bool_)
    going = rows.take(~kept)
    series, counts = np.unique(going.samples.series, return_counts=True)
    moving.sizes |= dict(zip(series.tolist(), counts.tolist(), strict=True))
    moving.kept.append(rows.take(kept & np.isin(rows.samples.series, series)))
    return going


def _put(blobs: Blobs, place: Place, written: Written) -> str:
    name = f"{place.tenant}/{place.day}/{written.digest}.parquet"
    blobs.put(name, written.content)
    if hashlib.sha256(blobs.get(name)).hexdigest() != written.digest:
        raise InternalError("InternalError", f"The cold store gives {name} back as another.")
    return name


def _mark(owner: psycopg.Connection, place: Place, numbers: list[int], sizes: dict[int, int]) -> None:
    """Mark series as thawed, with how many samples the file that is named next has of each."""
    for start in range(0, len(numbers), MARKS):
        part = numbers[start : start + MARKS]
        counts = np.array([sizes.get(number, 0) for number in part], np.int64)
        owner.execute(MARK, _among(place, np.array(part, np.int64)) | {"samples": bigints(counts)})


def _name(owner: psycopg.Connection, place: Place, told: dict[str, object]) -> None:
    """Name a file that counts for none of the series which are to move: for the others it has what the old one had."""
    with owner.transaction():
        owner.execute(LOCK, place.given)
        owner.execute(NAME, place.given | told)
        owner.execute(DRAW, place.given)


def _move(owner: psycopg.Connection, place: Place, moving: _Moving, parts: Iterable[list[int]]) -> int:
    """Let series leave the database that are as they were read; return how many are not."""
    behind = 0
    kept = ColdRows.joined(moving.kept)
    for part in parts:
        given = _among(place, np.array(part, np.int64))
        with owner.transaction():
            owner.execute(LOCK, place.given)
            if _one(owner, HINDERED, place):
                behind += len(part)
                continue
            now = _fingerprints(owner, FINGERPRINTS.format(AMONG), given)
            same = [number for number in part if now.get(number) == moving.seen.get(number)]
            behind += len(part) - len(same)
            gone = np.array([number for number in same if number in moving.sizes], np.int64)
            owner.execute(DELETE_PACKS, _among(place, gone))
            owner.execute(DELETE_ROWS, _among(place, gone))
            owner.execute(*insert_rows(kept.take(np.isin(kept.samples.series, gone)), place.tenant))
            owner.execute(UNMARK, _among(place, np.array(same, np.int64)))
    return behind


def _while(go_on: Callable[[], bool], parts: Iterable[T]) -> Iterator[T]:
    for part in parts:
        if not go_on():
            raise _StoppedError
        yield part


def _slices(numbers: list[int], sizes: dict[int, int]) -> Iterator[list[int]]:
    part: list[int] = []
    samples = 0
    for number in numbers:
        part.append(number)
        samples += sizes.get(number, KEPT_MIN)
        if samples >= SLICE_SAMPLES:
            yield part
            part, samples = [], 0
    if part:
        yield part


def _shrink(owner: psycopg.Connection, leaf: str) -> None:
    """Give the place of what left a leaf back to the disk, where what the leaf still has is soon written anew.

    It has the rows of all tenants: it is done with the last of them. Where readers leave no moment for it, it is
    not done.
    """
    name = sql.Identifier(leaf)
    owner.execute(CLEAR.format(name))
    size = owner.execute(SIZE, (leaf,)).fetchone()
    assert size is not None
    rows, bytes_in_all = size
    if rows > SHRINK_ROWS or bytes_in_all < 2 * rows * ROW_BYTES + SHRINK_BYTES:
        return
    owner.execute(f"SET lock_timeout = '{SHRINK_TIMEOUT}'")
    for _ in range(ATTEMPTS):
        with suppress(psycopg.errors.LockNotAvailable):
            owner.execute(SHRINK.format(name))
            break
        time.sleep(0.5)
    owner.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")


def _fingerprints(
    owner: psycopg.Connection, statement: str, given: dict[str, object]
) -> dict[int, tuple[int, str]]:
    return {row[0]: (row[1], row[2]) for row in owner.execute(statement, given)}


def _among(place: Place, series: Ints) -> dict[str, object]:
    return place.given | {"series": bigints(series)}


def _one(owner: psycopg.Connection, statement: str, place: Place) -> bool:
    row = owner.execute(statement, place.given).fetchone()
    return row is not None and bool(row[0])


def _bounds(samples: SampleBatch) -> Flags:
    """Say of each sample, ordered by series and time, whether it stays: as an end of its series, or of one with few.

    These are the first, the last two and the last good one: what is asked of a week from outside of it.
    """
    kept = np.zeros(len(samples), np.bool_)
    _, first, counts = np.unique(samples.series, return_index=True, return_counts=True)
    kept[first] = True
    kept[first + counts - 1] = True
    kept[first + np.maximum(counts - 2, 0)] = True
    good = np.flatnonzero(samples.quality < BAD)
    _, last = np.unique(samples.series[good][::-1], return_index=True)
    kept[good[len(good) - 1 - last]] = True
    kept |= np.repeat(counts < KEPT_MIN, counts)
    return kept


def _rows(found: list[tuple[object, ...]]) -> ColdRows:
    columns = list(zip(*found, strict=True))
    docs = list(columns[7])
    batch = SampleBatch(
        series=np.array(columns[0], np.int64),
        time_us=np.array(columns[1], np.int64),
        recorded_us=np.array(columns[2], np.int64),
        num=np.array([np.nan if num is None else num for num in columns[3]], np.float64),
        kind=np.array(columns[4], np.int16),
        revision=np.array(columns[5], np.int32),
        quality=np.array(columns[6], np.int16),
        docs=docs if any(doc is not None for doc in docs) else None,
    )
    return ColdRows(batch, np.array(columns[8], np.bool_))

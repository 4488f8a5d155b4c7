"""Freezing: whole old weeks of a tenant leave the database for a file, but for what bounds each series in them.

The file is written, read back and compared before anything goes. Then, under the tenant's head, what lies in the
database is compared with what was read, it is deleted, and the file is named, in one transaction: whatever ends
before the commit leaves the rows and a file that nothing names. Runs on the owner's connection, which sees all tenants.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import psycopg
import structlog

from gemel.base.clock import from_us, to_us
from gemel.base.errors import InternalError, NotFoundError
from gemel.history.cold_file import NEVER, ColdRows, read_cold, write_cold
from gemel.history.samples import SampleBatch
from gemel.history.stored import EACH
from gemel.history.values import BAD
from gemel.history.weeks import WEEK_US
from gemel.store.blobs import Blobs, open_blobs
from gemel.store.columns import bigints, register, timestamps

__all__ = [
    "KEPT_MIN",
    "Aged",
    "Cold",
    "Frozen",
    "apply_freezing",
    "freeze",
    "read_cold_weeks",
    "read_freezing",
    "set_freezing",
    "sweep",
]

KEPT_MIN = 16
"""A series that has fewer samples in a week stays in the database with all of them."""
ORPHAN_S = 86_400
"""How old a file is at least that nothing names, before it is deleted: who reads still may."""
LOCK_TIMEOUT = "5s"

US = "(extract(epoch FROM {}) * 1000000)::bigint"
# The same as retention takes: neither works on what the other does.
ONE_AT_A_TIME = "SELECT pg_advisory_lock(hashtext('gemel.retention'))"
ONE_ENDS = "SELECT pg_advisory_unlock(hashtext('gemel.retention'))"
LIMITS = """
SELECT least(%(before)s, h.rolled), h.retention_line FROM tenant_head AS h WHERE tenant = %(tenant)s"""
WEEKS = """
SELECT DISTINCT week FROM (
    SELECT date_bin('168 hours', first_time, '1970-01-05 00:00+00') AS week FROM sample_pack
    WHERE tenant = %(tenant)s AND first_time < %(before)s
    UNION ALL
    SELECT date_bin('168 hours', source_time, '1970-01-05 00:00+00') FROM sample
    WHERE tenant = %(tenant)s AND source_time < %(before)s) AS used
WHERE week + interval '168 hours' <= %(before)s AND (%(line)s::timestamptz IS NULL OR week >= %(line)s)
  AND (NOT EXISTS (SELECT FROM cold_week AS c WHERE c.tenant = %(tenant)s AND c.week = used.week)
       OR EXISTS (SELECT FROM cold_thawed AS c WHERE c.tenant = %(tenant)s AND c.week = used.week))
ORDER BY week"""
# What is in the head is packed within a minute; stale roll-ups are folded from what is here.
UNSETTLED = """
SELECT EXISTS (SELECT FROM sample_head WHERE tenant = %(tenant)s AND first_time < %(end)s AND last_time >= %(week)s)
    OR EXISTS (SELECT FROM rollup_stale WHERE tenant = %(tenant)s AND day >= %(week)s AND day < %(end)s)"""
OWN_ROWS = "tenant = %(tenant)s AND source_time >= %(week)s AND source_time < %(end)s"
OWN_PACKS = "tenant = %(tenant)s AND first_time >= %(week)s AND first_time < %(end)s"
READ = f"""
SELECT series, {US.format("source_time")}, {US.format("recorded")}, num, kind, revision, quality, doc::text, late
FROM sample WHERE {OWN_ROWS}
UNION ALL
SELECT pk.series, {US.format("un.source_time")}, {US.format("un.recorded")}, un.num, coalesce(un.kind, 0), 0, 0, NULL,
       false
FROM sample_pack AS pk CROSS JOIN LATERAL {EACH} WHERE {OWN_PACKS}"""
# Whatever changes a sample records it anew.
FINGERPRINT = f"""
SELECT count(*), sum(mark) FROM (
    SELECT hashtextextended(format('%%s %%s %%s', series, source_time, recorded), 0) AS mark
    FROM sample WHERE {OWN_ROWS}
    UNION ALL
    SELECT hashtextextended(format('%%s %%s %%s', series, source_times, recorded_times), 0)
    FROM sample_pack WHERE {OWN_PACKS}) AS lying"""
# What others lost a key to stays beside them: they stay, too.
CORRECTED = f"SELECT DISTINCT series, {US.format('source_time')} FROM sample_superseded WHERE {OWN_ROWS}"
NAMED = "SELECT name, digest FROM cold_week WHERE tenant = %(tenant)s AND week = %(week)s"
THAWED = "SELECT series FROM cold_thawed WHERE tenant = %(tenant)s AND week = %(week)s"
LOCK = "SELECT tenant FROM tenant_head WHERE tenant = %(tenant)s FOR NO KEY UPDATE"
DELETE_ROWS = f"DELETE FROM sample WHERE {OWN_ROWS}"
DELETE_PACKS = f"DELETE FROM sample_pack WHERE {OWN_PACKS}"
KEEP = """
INSERT INTO sample (tenant, series, source_time, recorded, num, revision, quality, kind, doc, late)
SELECT %s, series, source_time, recorded, num, revision, quality, kind, doc::jsonb, late
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::float8[], %s::int[], %s::smallint[],
            %s::smallint[], %s::text[], %s::boolean[])
    AS r (series, source_time, recorded, num, revision, quality, kind, doc, late)"""
NAME = """
INSERT INTO cold_week (tenant, week, name, digest, samples, bytes, recorded)
VALUES (%(tenant)s, %(week)s, %(name)s, %(digest)s, %(samples)s, %(bytes)s, %(recorded)s)
ON CONFLICT (tenant, week) DO UPDATE SET name = excluded.name, digest = excluded.digest, samples = excluded.samples,
    bytes = excluded.bytes, recorded = greatest(cold_week.recorded, excluded.recorded), frozen = clock_timestamp()"""
FORGET_THAWED = "DELETE FROM cold_thawed WHERE tenant = %(tenant)s AND week = %(week)s"
DRAW = "UPDATE tenant_head SET frozen = greatest(frozen, %(end)s) WHERE tenant = %(tenant)s"
NAMES = "SELECT name FROM cold_week"
SET_DAYS = "UPDATE tenant SET freeze_days = %s WHERE name = %s"
AGED = """
SELECT t.tenant, t.name, coalesce(t.freeze_days, d.freeze_days) FROM tenant AS t
CROSS JOIN (SELECT freeze_days FROM tenant WHERE tenant = 0) AS d WHERE t.tenant <> 0 ORDER BY t.tenant"""
COLD = """
SELECT t.name, to_char(c.week AT TIME ZONE 'UTC', 'YYYY-MM-DD'), c.name, c.samples, c.bytes,
       (SELECT count(*) FROM cold_thawed AS h WHERE h.tenant = c.tenant AND h.week = c.week)
FROM cold_week AS c JOIN tenant AS t USING (tenant) ORDER BY c.tenant, c.week"""

log = structlog.get_logger(__name__)


class Frozen(NamedTuple):
    """What became of a week of a tenant: samples and bytes of its file; or why it was left, for a later time."""

    tenant: int
    week: str
    samples: int = 0
    bytes: int = 0
    left: str | None = None


class Aged(NamedTuple):
    """After how many days a tenant's weeks are frozen; None for never."""

    tenant: int
    name: str
    days: int | None


class Cold(NamedTuple):
    """A frozen week of a tenant (by name): its file, and how many series were thawed out of it since."""

    tenant: str
    week: str
    file: str
    samples: int
    bytes: int
    thawed: int


class _Place(NamedTuple):
    tenant: int
    start: datetime

    @property
    def given(self) -> dict[str, object]:
        return {"tenant": self.tenant, "week": self.start, "end": self.start + timedelta(days=7)}


class _Read(NamedTuple):
    """What a week has, in the database and in its old file if it has one; and what the comparison will be with."""

    rows: ColdRows
    corrected: npt.NDArray[np.bool_]
    fingerprint: tuple[object, ...]
    named: tuple[object, ...] | None


def freeze(
    owner_dsn: str, blobs: Blobs, tenant: int, before: datetime, *, dry_run: bool = False
) -> list[Frozen]:
    """Freeze every week of a tenant that ended before a time and is settled; return what became of each.

    A week of which series were thawed is frozen anew. Each is a step of its own; one caller works, others wait.
    """
    found = []
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        register(owner)
        with _alone(owner):
            for place in _due(owner, tenant, before):
                if dry_run:
                    found.append(Frozen(tenant, f"{place.start:%Y-%m-%d}"))
                    continue
                found.append(_freeze(owner, blobs, place))
    return found


def set_freezing(owner_dsn: str, days: int | None, tenant: str | None = None) -> None:
    """Say after how many days weeks are frozen, for one tenant or as the default of all; None takes that away.

    Raises NotFoundError (TenantNotFound).
    """
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        if not owner.execute(SET_DAYS, (days, tenant or "platform")).rowcount:
            raise NotFoundError(
                "TenantNotFound", f"There is no tenant {tenant!r}.", "See `gemel tenant list`."
            )


def read_freezing(owner_dsn: str) -> list[Aged]:
    """Return after how many days the weeks of each tenant are frozen."""
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        return [Aged(*row) for row in owner.execute(AGED)]


def read_cold_weeks(owner_dsn: str) -> list[Cold]:
    """Return all weeks that are frozen, by tenant and time."""
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        return [Cold(*row) for row in owner.execute(COLD)]


def apply_freezing(owner_dsn: str, cold_url: str, *, now: datetime | None = None) -> list[Frozen]:
    """Freeze what is due by the age that is set, and delete files that nothing names; nothing where no age is set."""
    found: list[Frozen] = []
    due = [each for each in read_freezing(owner_dsn) if each.days is not None]
    if not due and not read_cold_weeks(owner_dsn):
        return found
    blobs = open_blobs(cold_url)
    for each in due:
        before = (now or datetime.now(UTC)) - timedelta(days=each.days or 0)
        found += freeze(owner_dsn, blobs, each.tenant, before)
    sweep(owner_dsn, blobs)
    return found


def sweep(owner_dsn: str, blobs: Blobs, *, older_s: float = ORPHAN_S) -> list[str]:
    """Delete the files that nothing names and that are older; return their names."""
    with psycopg.connect(owner_dsn, autocommit=True) as owner, _alone(owner):
        named = {row[0] for row in owner.execute(NAMES)}
        gone = [
            file.name
            for file in blobs.listed("")
            if file.name not in named and time.time() - file.changed_s >= older_s
        ]
        for name in gone:
            blobs.delete(name)
    return gone


@contextmanager
def _alone(owner: psycopg.Connection) -> Iterator[None]:
    owner.execute(ONE_AT_A_TIME)
    try:
        yield
    finally:
        owner.execute(ONE_ENDS)


def _due(owner: psycopg.Connection, tenant: int, before: datetime) -> list[_Place]:
    limits = owner.execute(LIMITS, {"tenant": tenant, "before": before}).fetchone()
    if limits is None or limits[0] is None:
        return []
    given = {"tenant": tenant, "before": limits[0], "line": limits[1]}
    return [_Place(tenant, row[0].astimezone(UTC)) for row in owner.execute(WEEKS, given)]


def _freeze(owner: psycopg.Connection, blobs: Blobs, place: _Place) -> Frozen:
    day = f"{place.start:%Y-%m-%d}"
    read = _read(owner, blobs, place)
    if read is None:
        return Frozen(place.tenant, day, left="what came last is not settled yet")
    kept = _bounds(read.rows.samples) | read.corrected
    cold, hot = _part(read.rows, ~kept), _part(read.rows, kept)
    if not len(cold) and read.named is None:
        return Frozen(place.tenant, day, left="no series has enough samples")
    written = write_cold(cold)
    name = f"{place.tenant}/{day}/{written.digest}.parquet"
    blobs.put(name, written.content)
    if hashlib.sha256(blobs.get(name)).hexdigest() != written.digest:
        raise InternalError("InternalError", f"The cold store gives {name} back as another.")
    told = {
        "name": name,
        "digest": written.digest,
        "samples": len(cold),
        "bytes": len(written.content),
        "recorded": from_us(int(read.rows.samples.recorded_us.max(initial=0))),
    }
    if not _exchange(owner, place, read, hot, told):
        return Frozen(place.tenant, day, left="it was written to meanwhile")
    return Frozen(place.tenant, day, len(cold), len(written.content))


def _read(owner: psycopg.Connection, blobs: Blobs, place: _Place) -> _Read | None:
    with owner.transaction():
        owner.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if _one(owner, UNSETTLED, place)[0]:
            return None
        rows = _rows(owner.cursor(binary=True).execute(READ, place.given).fetchall())
        named = owner.execute(NAMED, place.given).fetchone()
        thawed = np.array([row[0] for row in owner.execute(THAWED, place.given)], np.int64)
        fingerprint = _one(owner, FINGERPRINT, place)
        corrected = set(owner.execute(CORRECTED, place.given).fetchall())
    if named is not None:
        with blobs.open(str(named[0])) as file:
            week_us = to_us(place.start)
            old = read_cold(file, None, week_us, week_us + WEEK_US - 1).rows
        rows = _joined(rows, _part(old, ~np.isin(old.samples.series, thawed)))
    keys = zip(rows.samples.series.tolist(), rows.samples.time_us.tolist(), strict=True)
    mask = (
        np.array([key in corrected for key in keys], np.bool_) if corrected else np.zeros(len(rows), np.bool_)
    )
    return _Read(rows, mask, fingerprint, named)


def _exchange(
    owner: psycopg.Connection, place: _Place, read: _Read, hot: ColdRows, told: dict[str, object]
) -> bool:
    """Take what is in the file out of the database, and name the file; False where things are not as they were read."""
    with owner.transaction():
        owner.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        owner.execute(LOCK, place.given)
        named = owner.execute(NAMED, place.given).fetchone()
        if (
            _one(owner, UNSETTLED, place)[0]
            or _one(owner, FINGERPRINT, place) != read.fingerprint
            or named != read.named
        ):
            return False
        owner.execute(DELETE_PACKS, place.given)
        owner.execute(DELETE_ROWS, place.given)
        owner.execute(KEEP, (place.tenant, *_columns(hot)))
        owner.execute(NAME, place.given | told)
        owner.execute(FORGET_THAWED, place.given)
        owner.execute(DRAW, place.given)
    return True


def _one(owner: psycopg.Connection, statement: str, place: _Place) -> tuple[object, ...]:
    row = owner.execute(statement, place.given).fetchone()
    assert row is not None
    return tuple(row)


def _bounds(samples: SampleBatch) -> npt.NDArray[np.bool_]:
    """Say of each sample whether it stays: as one of the ends of its series, or of one that has few.

    These are the first, the last two and the last good one: what is asked of a week from outside of it.
    """
    order = np.lexsort((samples.time_us, samples.series))
    kept = np.zeros(len(samples), np.bool_)
    _, first, counts = np.unique(samples.series[order], return_index=True, return_counts=True)
    kept[order[first]] = True
    kept[order[first + counts - 1]] = True
    kept[order[first + np.maximum(counts - 2, 0)]] = True
    good = order[samples.quality[order] < BAD]
    _, last = np.unique(samples.series[good][::-1], return_index=True)
    kept[good[len(good) - 1 - last]] = True
    kept[order] |= np.repeat(counts < KEPT_MIN, counts)
    return kept


def _rows(found: list[tuple[object, ...]]) -> ColdRows:
    columns = list(zip(*found, strict=True)) or [()] * 9
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
    return ColdRows(batch, np.full(len(found), NEVER, np.int64), np.array(columns[8], np.bool_))


def _joined(one: ColdRows, other: ColdRows) -> ColdRows:
    return ColdRows(
        SampleBatch.concatenate([one.samples, other.samples]),
        np.concatenate((one.superseded_us, other.superseded_us)),
        np.concatenate((one.late, other.late)),
    )


def _part(rows: ColdRows, mask: npt.NDArray[np.bool_]) -> ColdRows:
    return ColdRows(rows.samples.take(mask), rows.superseded_us[mask], rows.late[mask])


def _columns(rows: ColdRows) -> tuple[object, ...]:
    batch = rows.samples
    return (
        bigints(batch.series),
        timestamps(batch.time_us),
        timestamps(batch.recorded_us),
        [None if np.isnan(num) else num for num in batch.num.tolist()],
        batch.revision.tolist(),
        batch.quality.tolist(),
        batch.kind.tolist(),
        batch.docs if batch.docs is not None else [None] * len(batch),
        rows.late.tolist(),
    )

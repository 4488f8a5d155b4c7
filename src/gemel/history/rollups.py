"""Roll-ups of samples by minute, hour and day, folded behind the writers: each step can be repeated.

A tenant's source times are folded in their order, up to its hours that are over: `rolling` is drawn first, so that
whoever writes before it from then on marks what he touches as stale, and `rolled` follows once all series are folded.
What is stale is folded again. Runs on the owner's connection, which sees all tenants.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import psycopg

from gemel.base.clock import from_us, to_us
from gemel.history.stale import DAY_US, EVERY_SERIES
from gemel.history.stored import Stretch, stored_samples
from gemel.history.values import BAD, JSON
from gemel.history.weeks import MONDAY_US, WEEK_US
from gemel.store.carried import without_carried

__all__ = [
    "MINUTES",
    "NUMBER",
    "SAMPLES_MIN",
    "Folded",
    "count_stale",
    "fold_tenant",
    "take_turn",
    "tenants_to_fold",
]

MINUTES = (1, 60, 1440)
"""The widths of roll-ups."""
SAMPLES_MIN = 4
"""How many samples a bucket has at least; of minutes, on average over their hour. What has less is read as it is."""
GRACE_US = 300_000_000
"""How long after an hour's end it is folded: what comes later than that makes it stale."""
SETTLE_US = 60_000_000
"""How long what is stale must have been left alone before it is folded again."""
HOUR_US = 3_600_000_000
CHUNK_MAX = 50_000
DAYS_MAX = 7
SPARSE = 2_000
"""Where a statement takes as many series, they have so little that a pass over them is for all days of a week."""
CHUNK_S = 0.5
"""How long a statement should take: by that the number of series of the next is chosen."""
GREAT = "1e290"
"""Numbers from here on are not summed up."""

NUMBER = "coalesce(num, CASE WHEN jsonb_typeof(doc) = 'number' THEN doc::float8 END)"

ACT_FOR = "SELECT set_config('gemel.tenant', %s::text, false)"
TURN = "SELECT pg_try_advisory_lock(hashtext('gemel.rollups'))"
TENANTS = "SELECT tenant FROM tenant WHERE tenant <> 0 ORDER BY tenant"
HEAD = """
SELECT (extract(epoch FROM rolled) * 1000000)::bigint, (extract(epoch FROM retention_line) * 1000000)::bigint
FROM tenant_head WHERE tenant = %s"""
DRAW = "UPDATE tenant_head SET rolling = %s WHERE tenant = %s"
DRAWN = "UPDATE tenant_head SET rolled = %s WHERE tenant = %s"
LEAVES = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'sample'::regclass AND c.relname ~ '^sample_\\d{4}_\\d\\d_\\d\\d$' ORDER BY 1"""
# A pack is of one week, and a row of the head may reach into the next.
USED = """
SELECT EXISTS (SELECT FROM sample WHERE tenant = %(tenant)s AND source_time >= %(from)s AND source_time < %(to)s)
    OR EXISTS (SELECT FROM sample_pack WHERE tenant = %(tenant)s AND first_time >= %(from)s AND first_time < %(to)s)
    OR EXISTS (SELECT FROM sample_head WHERE tenant = %(tenant)s AND last_time >= %(from)s AND first_time < %(to)s)"""
SERIES = """
SELECT series FROM (
    (SELECT series FROM latest WHERE tenant = %(tenant)s AND series > %(after)s ORDER BY series LIMIT %(limit)s)
    UNION ALL
    (SELECT series FROM latest_ended WHERE tenant = %(tenant)s AND series > %(after)s
     ORDER BY series LIMIT %(limit)s)) AS own
ORDER BY series LIMIT %(limit)s"""
STALE_DAY = """
SELECT min(day) FROM rollup_stale WHERE tenant = %s AND day < %s AND day > %s AND mark <= %s"""
STALE = """
SELECT series, mark FROM rollup_stale WHERE tenant = %s AND day = %s AND mark <= %s ORDER BY series LIMIT %s"""
# Who writes such a mark now is passed over, and so never waits for one who waits for it.
FRESH = """
DELETE FROM rollup_stale WHERE (tenant, series, day) IN (
    SELECT t.tenant, t.series, t.day FROM unnest(%s::bigint[], %s::bigint[]) AS k (series, mark)
    JOIN rollup_stale AS t ON t.tenant = %s AND t.series = k.series AND t.day = %s AND t.mark = k.mark
    FOR UPDATE OF t SKIP LOCKED)"""
COUNT_STALE = "SELECT count(*) FROM rollup_stale"
FORGET_STALE = "DELETE FROM rollup_stale WHERE tenant = %s AND day < %s"

SUMS = """sum(samples)::bigint AS samples, sum(numbers)::bigint AS numbers, sum(total) AS total,
    bool_or(great) AS great, min(low) AS low, max(high) AS high, min(first_time) AS first_time,
    max(last_time) AS last_time"""
ROW = "series, minutes, bucket, samples, numbers, total, low, high, first_time, last_time"
VALUES = ROW.split(", ")[3:]
OWN = without_carried(
    stored_samples(
        "k.series",
        Stretch("%(from)s", "%(to)s"),
        f"source_time >= %(from)s AND source_time < %(to)s AND quality < {BAD} AND kind <= {JSON}",
        columns="source_time, num, doc",
    )
)
FOLD = f"""
WITH minute AS MATERIALIZED (
    SELECT k.series, date_bin('1 minute', source_time, to_timestamp(0)) AS bucket, count(*) AS samples,
           count(number) AS numbers, sum(number) FILTER (WHERE abs(number) < {GREAT}) AS total,
           coalesce(bool_or(abs(number) >= {GREAT}), false) AS great, min(number) AS low, max(number) AS high,
           min(source_time) AS first_time, max(source_time) AS last_time
    FROM unnest(%(series)s::bigint[]) AS k (series)
    CROSS JOIN LATERAL (SELECT source_time, {NUMBER} AS number FROM {OWN} AS own OFFSET 0) AS s
    GROUP BY 1, 2),
hour AS MATERIALIZED (
    SELECT series, date_bin('1 hour', bucket, to_timestamp(0)) AS bucket, {SUMS} FROM minute GROUP BY 1, 2),
fresh AS MATERIALIZED (
    SELECT {ROW} FROM (
        SELECT m.*, 1 AS minutes FROM minute AS m
        JOIN hour AS h ON h.series = m.series AND h.bucket = date_bin('1 hour', m.bucket, to_timestamp(0))
        WHERE NOT h.great AND h.samples >= {60 * SAMPLES_MIN}
        UNION ALL SELECT *, 60 FROM hour WHERE NOT great AND samples >= {SAMPLES_MIN}
        UNION ALL SELECT *, 1440 FROM (
            SELECT series, date_bin('24 hours', bucket, to_timestamp(0)) AS bucket, {SUMS} FROM hour
            WHERE %(from)s::timestamptz + interval '24 hours' <= %(to)s::timestamptz GROUP BY 1, 2) AS day
        WHERE NOT great AND samples >= {SAMPLES_MIN}) AS every),
gone AS (
    DELETE FROM rollup AS r WHERE tenant = %(tenant)s AND series = ANY(%(series)s::bigint[])
      AND minutes IN (1, 60, 1440) AND bucket >= %(from)s AND bucket < %(to)s
      AND NOT EXISTS (SELECT FROM fresh AS f
                      WHERE f.series = r.series AND f.minutes = r.minutes AND f.bucket = r.bucket))
INSERT INTO rollup (tenant, {ROW}) SELECT %(tenant)s, {ROW} FROM fresh
ON CONFLICT (tenant, series, minutes, bucket) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in VALUES)}"""

Connection = psycopg.Connection[Any]


class Folded(NamedTuple):
    """What a turn on a tenant did: roll-ups written, and up to which source time (µs) they reach; None for nowhere."""

    rows: int
    rolled_us: int | None


def take_turn(connection: Connection) -> bool:
    """Say whether this process is the one that folds: it stays so until its connection ends."""
    row = connection.execute(TURN).fetchone()
    return row is not None and bool(row[0])


def tenants_to_fold(connection: Connection) -> list[int]:
    """Return the numbers of the tenants."""
    return [row[0] for row in connection.execute(TENANTS).fetchall()]


def count_stale(connection: Connection) -> int:
    """Return how many marks of stale days there are, of all tenants."""
    row = connection.execute(COUNT_STALE).fetchone()
    return 0 if row is None else int(row[0])


def fold_tenant(
    connection: Connection,
    tenant: int,
    now_us: int,
    go_on: Callable[[], bool] = lambda: True,
    *,
    settle_us: int = SETTLE_US,
) -> Folded:
    """Fold what is over of a tenant and was not folded, and again what is stale, until `go_on` says no.

    `connection` is the owner's, in autocommit. Memory here is that of some ten thousand numbers; a statement works on
    so many series as take half a second; of each a day, or of a week where a statement takes thousands.
    """
    return _Fold(connection, tenant, now_us, go_on).run(settle_us)


class _Fold:
    def __init__(self, connection: Connection, tenant: int, now_us: int, go_on: Callable[[], bool]) -> None:
        self._connection = connection
        self._tenant = tenant
        self._now_us = now_us
        self._go_on = go_on
        self._chunk = 64
        self._days = 1
        self._rows = 0

    def run(self, settle_us: int) -> Folded:
        self._one(ACT_FOR, self._tenant)
        rolled_us, line_us = self._one(HEAD, self._tenant)
        if line_us is not None:
            self._connection.execute(FORGET_STALE, (self._tenant, from_us(line_us)))
        rolled_us = self._forward(rolled_us, line_us or 0)
        if rolled_us is not None:
            self._again(rolled_us, self._now_us - settle_us)
        return Folded(self._rows, rolled_us)

    def _forward(self, rolled_us: int | None, line_us: int) -> int | None:
        end_us = (self._now_us - GRACE_US) // HOUR_US * HOUR_US
        if rolled_us is None:
            rolled_us = self._first_week(end_us)
            if rolled_us is None:
                return None
        rolled_us = max(rolled_us, line_us)
        while rolled_us < end_us and self._go_on():
            week_us = (rolled_us - MONDAY_US) // WEEK_US * WEEK_US + MONDAY_US
            if not self._is_used(week_us):
                rolled_us = self._draw(min(week_us + WEEK_US, end_us))
                continue
            day_us = rolled_us // DAY_US * DAY_US
            days = min(self._days, (min(week_us + WEEK_US, end_us) - day_us) // DAY_US)
            step = (day_us, day_us + days * DAY_US) if days else (rolled_us, end_us)
            self._connection.execute(DRAW, (from_us(step[1]), self._tenant))
            if not self._fold_all(*step):
                break
            rolled_us = self._draw(step[1])
            self._days = DAYS_MAX if self._chunk >= SPARSE else 1
        return rolled_us

    def _draw(self, rolled_us: int) -> int:
        with self._connection.transaction():
            self._connection.execute(DRAW, (from_us(rolled_us), self._tenant))
            self._connection.execute(DRAWN, (from_us(rolled_us), self._tenant))
        return rolled_us

    def _again(self, rolled_us: int, before_us: int) -> None:
        day = from_us(0) - timedelta(days=1)
        while self._go_on():
            (found,) = self._one(STALE_DAY, self._tenant, from_us(rolled_us), day, before_us)
            if found is None:
                return
            day = found
            day_us = to_us(day)
            self._again_on(day_us, min(day_us + DAY_US, rolled_us), before_us)

    def _again_on(self, day_us: int, end_us: int, before_us: int) -> None:
        day = from_us(day_us)
        while self._go_on():
            marks = self._connection.execute(STALE, (self._tenant, day, before_us, self._chunk)).fetchall()
            if not marks:
                return
            if marks[0][0] == EVERY_SERIES:
                marks = marks[:1]
                if not self._fold_all(day_us, end_us):
                    return
            else:
                self._fold([row[0] for row in marks], day_us, end_us)
            numbers = ([row[0] for row in marks], [row[1] for row in marks])
            if self._connection.execute(FRESH, (*numbers, self._tenant, day)).rowcount < len(marks):
                return  # somebody writes there: in the next turn

    def _fold_all(self, start_us: int, end_us: int) -> bool:
        after = 0
        while self._go_on():
            series = self._series(after, self._chunk)
            if not series:
                return True
            self._fold(series, start_us, end_us)
            after = series[-1]
        return False

    def _series(self, after: int, limit: int) -> list[int]:
        given = {"tenant": self._tenant, "after": after, "limit": limit}
        return [row[0] for row in self._connection.execute(SERIES, given).fetchall()]

    def _fold(self, series: list[int], start_us: int, end_us: int) -> None:
        begun = time.monotonic()
        given = {"tenant": self._tenant, "series": series, "from": from_us(start_us), "to": from_us(end_us)}
        self._rows += self._connection.execute(FOLD, given).rowcount
        took_s = time.monotonic() - begun
        if took_s > CHUNK_S:
            self._chunk = max(1, self._chunk // 2)
        elif took_s < CHUNK_S / 4:
            self._chunk = min(CHUNK_MAX, self._chunk * 2)

    def _first_week(self, end_us: int) -> int | None:
        if not self._series(after=0, limit=1):
            return None
        weeks = (_start_us(row[0]) for row in self._connection.execute(LEAVES).fetchall())
        return next((week_us for week_us in weeks if week_us < end_us and self._is_used(week_us)), None)

    def _is_used(self, week_us: int) -> bool:
        given = {"tenant": self._tenant, "from": from_us(week_us), "to": from_us(week_us + WEEK_US)}
        row = self._connection.execute(USED, given).fetchone()
        return row is not None and bool(row[0])

    def _one(self, statement: LiteralString, *given: object) -> tuple[Any, ...]:
        row = self._connection.execute(statement, given).fetchone()
        assert row is not None
        return tuple(row)


def _start_us(leaf: str) -> int:
    return to_us(datetime.strptime(leaf[-10:], "%Y_%m_%d").replace(tzinfo=UTC))

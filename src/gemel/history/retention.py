"""Retention: history before a line is dropped, but each series' last sample before it is kept.

A line is a Monday, since leaves are weeks: at least the days asked for are kept. The leaves before the
earliest line of all tenants are dropped and one leaf of kept samples takes their place; tenants with a later
line lose the rest by delete. Runs on the owner's connection, which sees all tenants.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
from psycopg import sql

from gemel.base.errors import InvalidError, NotFoundError, UnavailableError
from gemel.history.origins import forget_origins
from gemel.history.stored import EACH, EACH_OF_HEAD, LOOSE

__all__ = ["Kept", "Retained", "apply_retention", "read_kept", "retain"]

LOCK_TIMEOUT = "2s"
ATTEMPTS = 10

ONE_AT_A_TIME = "SELECT pg_advisory_lock(hashtext('gemel.retention'))"
SET_DAYS = "UPDATE tenant SET retention_days = %s WHERE name = %s"
TENANTS = """
SELECT t.tenant, t.name, coalesce(t.retention_days, d.retention_days), h.retention_line
FROM tenant t JOIN tenant_head h USING (tenant)
CROSS JOIN (SELECT retention_days FROM tenant WHERE tenant = 0) AS d
WHERE t.tenant <> 0 ORDER BY t.tenant"""
KEPT = """
SELECT t.name, t.retention_days, h.retention_line
FROM tenant t LEFT JOIN tenant_head h USING (tenant) ORDER BY t.tenant"""
LEAVES = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'sample'::regclass ORDER BY c.relname"""
SET_LINE = """
UPDATE tenant_head SET retention_line = greatest(retention_line, %s) WHERE tenant = %s"""
DELETE_OLD: LiteralString = """
DELETE FROM sample s WHERE s.tenant = %s AND s.source_time < %s
  AND EXISTS (SELECT 1 FROM sample n WHERE n.tenant = s.tenant AND n.series = s.series
              AND n.source_time > s.source_time AND n.source_time < %s)"""
# As many as there are before the line, but one of each series. A pack is of one week, and a line begins one.
COUNT_OLD = f"""
SELECT coalesce(sum(samples), 0) - count(DISTINCT series) FROM (
    SELECT series, count(*) AS samples FROM sample WHERE tenant = %(tenant)s AND source_time < %(line)s GROUP BY series
    UNION ALL
    SELECT series, sum(cardinality(source_times)) FROM sample_pack
    WHERE tenant = %(tenant)s AND last_time < %(line)s GROUP BY series
    UNION ALL
    SELECT un.series, count(*) FROM sample_head AS pk CROSS JOIN LATERAL {EACH_OF_HEAD}
    WHERE tenant = %(tenant)s AND first_time < %(line)s AND un.source_time < %(line)s
    GROUP BY un.series) AS old"""
COUNT_COLD = "SELECT coalesce(sum(samples), 0) FROM cold_week WHERE tenant = %(tenant)s AND week < %(line)s"
# What remains of a series from before the line becomes rows, which are thinned as such: of the packs, the newest.
LOOSEN_HEADS = f"""
WITH gone AS (DELETE FROM sample_head WHERE tenant = %(tenant)s AND first_time < %(line)s RETURNING *)
{LOOSE.format(tenant="%(tenant)s", series="un.series", each=EACH_OF_HEAD)}"""
LOOSEN_PACKS = f"""
WITH newest AS (
    SELECT series, max(first_time) AS first_time FROM sample_pack
    WHERE tenant = %(tenant)s AND first_time < %(line)s GROUP BY series),
gone AS (
    DELETE FROM sample_pack AS p USING newest
    WHERE p.tenant = %(tenant)s AND p.series = newest.series AND p.first_time = newest.first_time RETURNING p.*)
{LOOSE.format(tenant="%(tenant)s", series="pk.series", each=EACH)}"""
DELETE_PACKS = """
WITH gone AS (
    DELETE FROM sample_pack WHERE tenant = %(tenant)s AND first_time < %(line)s RETURNING source_times)
SELECT coalesce(sum(cardinality(source_times)), 0) FROM gone"""
DELETE_SUPERSEDED = "DELETE FROM sample_superseded WHERE tenant = %s AND source_time < %s"
# Of what is frozen the last of each series is among the rows. The files go once nobody reads them any more (sweep).
FORGET_COLD = "DELETE FROM cold_week WHERE tenant = %s AND week < %s RETURNING samples"
FORGET_THAWED = "DELETE FROM cold_thawed WHERE tenant = %s AND week < %s"
FORGET_ROLLUPS = "DELETE FROM rollup WHERE tenant = %s AND bucket < %s"
KEEP: LiteralString = """
INSERT INTO {kept} SELECT DISTINCT ON (s.tenant, s.series) s.* FROM {leaf} AS s
WHERE NOT EXISTS (SELECT 1 FROM {kept} k WHERE k.tenant = s.tenant AND k.series = s.series)
ORDER BY s.tenant, s.series, s.source_time DESC"""


@dataclass(frozen=True, slots=True)
class Retained:
    """What retention did, or would do: leaves dropped, samples deleted by tenant, and the lines in force.

    The samples of leaves that go whole are counted by `retain` alone, before it applies.
    """

    leaves: list[str]
    deleted: dict[str, int]
    lines: dict[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """How long history is kept, by the platform's default or for a tenant.

    `days` None means as long as the platform says for a tenant, and for ever for the platform. `line` is the
    day before which history is gone, None where nothing is.
    """

    name: str
    days: int | None
    line: str | None


def read_kept(owner_dsn: str) -> list[Kept]:
    """Return how long the platform and each tenant keep history, the platform first."""
    with psycopg.connect(owner_dsn) as connection:
        rows = connection.execute(KEPT).fetchall()
    return [Kept(name, days, line and _day(line)) for name, days, line in rows]


def retain(owner_dsn: str, days: int | None, tenant: str | None = None, *, dry_run: bool = False) -> Retained:
    """Keep `days` of history from now on, for one tenant or as the default of all, and apply it.

    None takes the setting away: the tenant does as the platform says, the platform keeps history for ever.
    What goes is counted before it does. Raises InvalidError (InvalidArgument) for days below 1 and
    NotFoundError (TenantNotFound).
    """
    if days is not None and days < 1:
        raise InvalidError("InvalidArgument", f"--days {days} is below 1.")
    with psycopg.connect(owner_dsn) as connection:
        if not connection.execute(SET_DAYS, (days, tenant or "platform")).rowcount:
            raise NotFoundError(
                "TenantNotFound", f"There is no tenant {tenant!r}.", "See `gemel tenant list`."
            )
        told = _foresee(connection, _read_lines(connection, datetime.now(UTC)))
        if dry_run:
            connection.rollback()
            return told
    done = apply_retention(owner_dsn)
    return replace(done, deleted=told.deleted)


def apply_retention(owner_dsn: str, *, now: datetime | None = None) -> Retained:
    """Apply what is set, in steps that each can be repeated; one caller works, others wait.

    First the lines are drawn, which ends all writing before them; then what lies there is thinned and copied
    with no one waiting; last the leaves are exchanged, in a moment that gives way to readers and writers.
    Raises UnavailableError (DatabaseUnavailable) when they left no such moment in ten attempts.
    """
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        connection.execute(ONE_AT_A_TIME)
        with connection.transaction():
            connection.execute("LOCK TABLE tenant IN SHARE ROW EXCLUSIVE MODE")
            lines = _read_lines(connection, now or datetime.now(UTC))
            for number, line in lines.by_tenant.items():
                connection.execute(SET_LINE, (line, number))
            if lines.everyone is not None:
                connection.execute(SET_LINE, (lines.everyone, 0))
        deleted: dict[str, int] = {}
        for number, line in lines.by_tenant.items():
            connection.execute(DELETE_SUPERSEDED, (number, line))
            if number in lines.moved:
                connection.execute(FORGET_ROLLUPS, (number, line))
            packed = _delete_packs(connection, number, line) + _forget_cold(connection, number, line)
            if line != lines.everyone:
                rows = connection.execute(DELETE_OLD, (number, line, line)).rowcount
                deleted[lines.names[number]] = packed + rows
        leaves = [] if lines.everyone is None else _leaves_before(connection, lines.everyone)
        if lines.everyone is not None and leaves:
            _keep(connection, leaves, lines.everyone)
            _exchange(connection, leaves, lines.everyone)
        for number, line in lines.by_tenant.items():
            forget_origins(connection, number, line)
        return Retained(leaves, deleted, lines.told())


@dataclass(frozen=True, slots=True)
class _Lines:
    """The line of each tenant that has days set, and the one before which nobody keeps anything.

    `in_force` has the lines of tenants whose days were taken away, too: what is gone does not come back. `moved` are
    the tenants whose lines are not yet in force.
    """

    names: dict[int, str]
    by_tenant: dict[int, datetime]
    in_force: dict[int, datetime]
    everyone: datetime | None
    moved: frozenset[int]

    def told(self) -> dict[str, str]:
        return {self.names[number]: _day(line) for number, line in self.in_force.items()}


def _read_lines(connection: psycopg.Connection, now: datetime) -> _Lines:
    tenants = connection.execute(TENANTS).fetchall()
    names = {number: name for number, name, _, _ in tenants}
    in_force = {number: line for number, _, _, line in tenants if line is not None}
    lines = {number: _line(now, days) for number, _, days, _ in tenants if days is not None}
    # A line never moves back.
    lines = {number: max(line, in_force.get(number, line)) for number, line in lines.items()}
    everyone = min(lines.values()) if lines and len(lines) == len(tenants) else None
    moved = frozenset(number for number, line in lines.items() if in_force.get(number) != line)
    return _Lines(names, lines, in_force | lines, everyone, moved)


def _foresee(connection: psycopg.Connection, lines: _Lines) -> Retained:
    deleted: dict[str, int] = {}
    for number, line in lines.by_tenant.items():
        counted = connection.execute(COUNT_OLD, {"tenant": number, "line": line}).fetchone()
        cold = connection.execute(COUNT_COLD, {"tenant": number, "line": line}).fetchone()
        deleted[lines.names[number]] = sum(int(row[0]) for row in (counted, cold) if row)
    leaves = [] if lines.everyone is None else _leaves_before(connection, lines.everyone)
    return Retained(leaves, deleted, lines.told())


def _delete_packs(connection: psycopg.Connection, tenant: int, line: datetime) -> int:
    """Delete what is packed from before a line, and make rows of what is kept; return how many samples went."""
    given = {"tenant": tenant, "line": line}
    with connection.transaction():
        connection.execute(LOOSEN_HEADS, given)
        connection.execute(LOOSEN_PACKS, given)
        deleted = connection.execute(DELETE_PACKS, given).fetchone()
    return int(deleted[0]) if deleted else 0


def _forget_cold(connection: psycopg.Connection, tenant: int, line: datetime) -> int:
    with connection.transaction():
        connection.execute(FORGET_THAWED, (tenant, line))
        return sum(int(row[0]) for row in connection.execute(FORGET_COLD, (tenant, line)).fetchall())


def _day(line: datetime) -> str:
    return line.astimezone(UTC).date().isoformat()


def _line(now: datetime, days: int) -> datetime:
    day = (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _leaves_before(connection: psycopg.Connection, line: datetime) -> list[str]:
    """Return the leaves that end at or before a line, newest first; the one of kept samples is among them."""
    weeks, kept = [], []
    for name, _ in connection.execute(LEAVES):
        day = datetime.strptime(name[-10:], "%Y_%m_%d").replace(tzinfo=UTC)
        if name.startswith("sample_before_"):
            kept += [name] if day < line else []
        elif day + timedelta(days=7) <= line:
            weeks.append(name)
    return [*sorted(weeks, reverse=True), *kept] if weeks else []


def _kept_leaf(line: datetime) -> sql.Identifier:
    return sql.Identifier(f"sample_before_{line:%Y_%m_%d}")


def _keep(connection: psycopg.Connection, leaves: list[str], line: datetime) -> None:
    """Copy each series' last sample before the line to a table beside; one left by a run that died is made anew."""
    kept = _kept_leaf(line)
    with connection.transaction():
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(kept))
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (LIKE sample INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)"
            ).format(kept)
        )
        for name in leaves:
            connection.execute(sql.SQL(KEEP).format(kept=kept, leaf=sql.Identifier(name)))


def _exchange(connection: psycopg.Connection, leaves: list[str], line: datetime) -> None:
    """Put the table of kept samples in the place of the leaves."""
    for attempt in range(ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
                connection.execute("LOCK TABLE sample IN ACCESS EXCLUSIVE MODE")
                for name in leaves:
                    connection.execute(
                        sql.SQL("ALTER TABLE sample DETACH PARTITION {}").format(sql.Identifier(name))
                    )
                    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
                connection.execute(
                    sql.SQL(
                        "ALTER TABLE sample ATTACH PARTITION {} FOR VALUES FROM (MINVALUE) TO ({})"
                    ).format(_kept_leaf(line), sql.Literal(line.isoformat()))
                )
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(0.1 * 2**attempt / 8)
    raise UnavailableError(
        "DatabaseUnavailable", "Retention found no gap between readers and writers.", "Run it again later."
    )

"""Which weeks of a tenant are frozen, after how many days they are, and which files of the store nothing names."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg

from gemel.base.errors import NotFoundError
from gemel.history.freezing import Frozen, freeze_week, weeks_due
from gemel.store.blobs import Blobs, open_blobs
from gemel.store.columns import register

__all__ = [
    "Aged",
    "Cold",
    "apply_freezing",
    "freeze",
    "read_cold_weeks",
    "read_freezing",
    "set_freezing",
    "sweep",
]

ORPHAN_S = 86_400
"""How old a file is at least that nothing names, before it is deleted: who reads still may."""
OURS = re.compile(r"\d+/\d{4}-\d\d-\d\d/\.?[0-9a-f]{64}\.parquet(\.draft)?$")
"""What freezing calls its files, and those that are not whole yet: others are not touched."""

# The same as retention takes: neither works on what the other does.
ONE_AT_A_TIME = "SELECT pg_advisory_lock(hashtext('gemel.retention'))"
ONE_ENDS = "SELECT pg_advisory_unlock(hashtext('gemel.retention'))"
NAMES = "SELECT name FROM cold_week"
SET_DAYS = "UPDATE tenant SET freeze_days = %s WHERE name = %s"
AGED = """
SELECT t.tenant, t.name, coalesce(t.freeze_days, d.freeze_days) FROM tenant AS t
CROSS JOIN (SELECT freeze_days FROM tenant WHERE tenant = 0) AS d WHERE t.tenant <> 0 ORDER BY t.tenant"""
COLD = """
SELECT t.name, to_char(c.week AT TIME ZONE 'UTC', 'YYYY-MM-DD'), c.name, c.samples, c.bytes,
       (SELECT count(*) FROM cold_thawed AS h WHERE h.tenant = c.tenant AND h.week = c.week)
FROM cold_week AS c JOIN tenant AS t USING (tenant) ORDER BY c.tenant, c.week"""


class Aged(NamedTuple):
    """After how many days a tenant's weeks are frozen; None for never."""

    tenant: int
    name: str
    days: int | None


class Cold(NamedTuple):
    """A frozen week of a tenant (by name): its file, and how many series are in the database again since."""

    tenant: str
    week: str
    file: str
    samples: int
    bytes: int
    thawed: int


def freeze(
    owner_dsn: str,
    blobs: Blobs,
    tenant: int,
    before: datetime,
    *,
    dry_run: bool = False,
    go_on: Callable[[], bool] = lambda: True,
) -> list[Frozen]:
    """Freeze every week of a tenant that ended before a time and is settled; return what became of each.

    A week that was written to since is frozen anew. Each is a step of its own; one caller works, others wait. Where
    `go_on` says no, the rest is left.
    """
    found = []
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        register(owner)
        with _alone(owner):
            for place in weeks_due(owner, tenant, before):
                if dry_run:
                    found.append(Frozen(tenant, place.day))
                    continue
                if not go_on():
                    break
                found.append(freeze_week(owner, blobs, place, go_on))
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


def apply_freezing(
    owner_dsn: str, cold_url: str, go_on: Callable[[], bool] = lambda: True, *, now: datetime | None = None
) -> list[Frozen]:
    """Freeze what is due by the age that is set, and delete files that nothing names; nothing where no age is set."""
    found: list[Frozen] = []
    due = [each for each in read_freezing(owner_dsn) if each.days is not None]
    if not due and not read_cold_weeks(owner_dsn):
        return found
    blobs = open_blobs(cold_url)
    for each in due:
        before = (now or datetime.now(UTC)) - timedelta(days=each.days or 0)
        found += freeze(owner_dsn, blobs, each.tenant, before, go_on=go_on)
    sweep(owner_dsn, blobs)
    return found


def sweep(owner_dsn: str, blobs: Blobs, *, older_s: float = ORPHAN_S) -> list[str]:
    """Delete the files that nothing names and that are older; return their names."""
    with psycopg.connect(owner_dsn, autocommit=True) as owner, _alone(owner):
        named = {row[0] for row in owner.execute(NAMES)}
        gone = [
            file.name
            for file in blobs.listed("")
            if OURS.match(file.name) and file.name not in named and time.time() - file.changed_s >= older_s
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

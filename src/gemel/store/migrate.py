"""Versioned SQL migrations, applied in order under a lock."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import psycopg

from gemel.base.errors import EnvironmentFaultError
from gemel.store.roles import ensure_roles

__all__ = ["Migration", "applied", "available", "migrate"]

LOCK = "SELECT pg_advisory_lock(hashtext('gemel.migrate'))"
LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
)"""

# What was restored has none: a backup leaves it out.
GENERATION = "INSERT INTO generation DEFAULT VALUES ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its file name, whose number orders it, and its SQL."""

    name: str
    sql: str


def available() -> list[Migration]:
    """Return the migrations that this program carries, in order."""
    folder = resources.files("gemel.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name.removesuffix(".sql"), f.read_text("utf-8")) for f in files]


def applied(dsn: str) -> list[str]:
    """Return the names of the migrations that a database has had, in order."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return _applied(connection)


def migrate(dsn: str, *, upto: str | None = None) -> list[str]:
    """Bring a database to this program's schema, with a generation; return the names that were applied now.

    `dsn` is the owner's. One caller works, others wait and find nothing to do. Each migration is one
    transaction. Raises EnvironmentFaultError (DatabaseTooOld) where the database is newer than the program.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(LOCK)
        ensure_roles(connection)
        connection.execute(LEDGER)
        done = set(_applied(connection))
        steps = available()
        _refuse_newer(done - {step.name for step in steps})
        fresh = [step for step in steps if step.name not in done and (upto is None or step.name <= upto)]
        for step in fresh:
            with connection.transaction():
                connection.execute(step.sql.encode())
                connection.execute("INSERT INTO schema_migration (name) VALUES (%s)", (step.name,))
        if upto is None:
            connection.execute(GENERATION)
        return [step.name for step in fresh]


def _applied(connection: psycopg.Connection) -> list[str]:
    exists = connection.execute("SELECT to_regclass('schema_migration') IS NOT NULL").fetchone()
    if exists is None or not exists[0]:
        return []
    rows = connection.execute("SELECT name FROM schema_migration ORDER BY name").fetchall()
    return [str(row[0]) for row in rows]


def _refuse_newer(unknown: set[str]) -> None:
    if unknown:
        raise EnvironmentFaultError(
            "DatabaseTooOld",
            f"The database has migrations that this gemel does not know: {', '.join(sorted(unknown))}.",
            "Use a newer gemel on this data.",
        )

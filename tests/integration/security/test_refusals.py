"""Refusals: each has its row, once, whatever happens to the database and to its neighbours."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from gemel.security.audit import PLATFORM, AuditEntry
from gemel.security.refusals import Refusals
from gemel.security.spool import Spool
from gemel.store.database import Database
from support.postgres import Dsns
from support.tenants import open_tenant

GONE = 424_242


def refused(target: str) -> AuditEntry:
    return AuditEntry("line", "abcd", "twin.put", target, "ScopeMissing", "0" * 32)


def targets(dsns: Dsns, tenant: int) -> Counter[str]:
    with psycopg.connect(dsns.owner) as owner:
        rows = owner.execute("SELECT target FROM audit WHERE tenant = %s AND actor = 'line'", (tenant,))
        return Counter(str(row[0]) for row in rows.fetchall())


def spooled(folder: Path) -> bool:
    return not Spool(folder).is_empty()


def test_those_that_come_together_share_statements_and_none_is_lost(database: Dsns, tmp_path: Path) -> None:
    async def main() -> int:
        async with open_tenant(database) as (db, tenant):
            counted = CountingDatabase(db)
            refusals = Refusals(counted, Spool(tmp_path))  # type: ignore[arg-type]
            await asyncio.gather(*(refusals.record(tenant, refused(f"t{n}")) for n in range(1200)))
            assert counted.statements < 20
            return tenant

    tenant = asyncio.run(main())
    assert targets(database, tenant) == Counter(f"t{n}" for n in range(1200))
    assert not spooled(tmp_path)


def test_odd_neighbours_harm_nobody(database: Dsns, tmp_path: Path) -> None:
    odd = ["\0", "\ud800", "x" * 100_000, "'; DROP TABLE audit; --", ""]

    async def main() -> int:
        async with open_tenant(database) as (db, tenant):
            refusals = Refusals(db, Spool(tmp_path))
            acts = [refusals.record(tenant, refused(text)) for text in (*odd, "fine")]
            await asyncio.gather(*acts, refusals.record(GONE, refused("lost home")))
            return tenant

    tenant = asyncio.run(main())
    kept = ["\N{REPLACEMENT CHARACTER}", "?", "x" * 512, *odd[3:], "fine"]
    assert targets(database, tenant) == Counter(kept)
    assert targets(database, PLATFORM)[f"tenant {GONE}: lost home"] == 1


def test_what_waited_is_written_once_with_its_own_time(database: Dsns, tmp_path: Path) -> None:
    async def main() -> int:
        async with open_tenant(database) as (db, tenant):
            refusals = Refusals(db, Spool(tmp_path))
            db.reachable = False
            acts = [refusals.record(tenant, refused(f"away-{n}")) for n in range(300)]
            await asyncio.gather(*acts, refusals.record(GONE, refused("waited")))
            assert targets(database, tenant) == Counter()
            db.reachable = True
            await refusals.record(tenant, refused("asked not"), database_lost=True)
            with psycopg.connect(database.owner) as owner:
                (between,) = owner.execute("SELECT clock_timestamp()").fetchone() or ()
            # A crash after the commit and before the file was dropped: all of it comes again.
            waiting = (tmp_path / "refusals.jsonl").read_bytes()
            await refusals.empty()
            (tmp_path / "refusals.taken.jsonl").write_bytes(waiting)
            await Refusals(db, Spool(tmp_path)).empty()
            with psycopg.connect(database.owner) as owner:
                late = owner.execute(
                    "SELECT count(*) FROM audit WHERE tenant = %s AND actor = 'line' AND at > %s",
                    (tenant, between),
                ).fetchone()
            assert late == (0,)
            return tenant

    tenant = asyncio.run(main())
    assert targets(database, tenant) == Counter([*(f"away-{n}" for n in range(300)), "asked not"])
    assert targets(database, PLATFORM)[f"tenant {GONE}: waited"] == 1
    assert not spooled(tmp_path)


def test_an_interrupted_write_is_not_doubled(database: Dsns, tmp_path: Path) -> None:
    async def main() -> int:
        async with open_tenant(database) as (db, tenant):
            refusals = Refusals(DroppingDatabase(db), Spool(tmp_path))  # type: ignore[arg-type]
            await refusals.record(tenant, refused("committed unheard"))
            assert spooled(tmp_path)
            await Refusals(db, Spool(tmp_path)).empty()
            return tenant

    assert targets(database, asyncio.run(main())) == Counter(["committed unheard"])


def test_the_spool_is_emptied_by_itself_and_at_a_clean_stop(database: Dsns, tmp_path: Path) -> None:
    async def main() -> int:
        async with open_tenant(database) as (db, tenant):
            refusals = Refusals(db, Spool(tmp_path))
            running = asyncio.create_task(refusals.run())
            await refusals.record(tenant, refused("by itself"), database_lost=True)
            async with asyncio.timeout(20):
                while spooled(tmp_path):  # noqa: ASYNC110 (a file)
                    await asyncio.sleep(0.02)
            running.cancel()
            await refusals.record(tenant, refused("at the stop"), database_lost=True)
            await refusals.close()
            assert not spooled(tmp_path)
            db.reachable = False
            await refusals.record(tenant, refused("next time"))
            await refusals.close()
            assert spooled(tmp_path)
            return tenant

    assert targets(database, asyncio.run(main())) == Counter(["by itself", "at the stop"])


@pytest.mark.parametrize("folder", ["full", "missing"])
def test_what_cannot_be_kept_is_told_whole(database: Dsns, tmp_path: Path, folder: str) -> None:
    spool = Spool(tmp_path, bytes_max=10) if folder == "full" else Spool(tmp_path / "missing")

    async def main() -> None:
        async with open_tenant(database) as (db, tenant):
            db.reachable = False
            with capture_logs() as told:
                await Refusals(db, spool).record(tenant, refused("nowhere"))
            (line,) = (line for line in told if line["event"] == "refusal not recorded")
            assert line["tenant"] == tenant
            assert (line["actor"], line["key_id"], line["target"]) == ("line", "abcd", "nowhere")
            assert "spool" in line["why"]

    asyncio.run(main())


def test_a_full_disk_is_no_fault_of_the_row(database: Dsns, tmp_path: Path) -> None:
    async def main() -> int:
        async with open_tenant(database) as (db, tenant):
            full = FailingDatabase(db, psycopg.errors.DiskFull("no space left"))
            await Refusals(full, Spool(tmp_path)).record(tenant, refused("later"))  # type: ignore[arg-type]
            assert targets(database, tenant) == Counter()
            await Refusals(db, Spool(tmp_path)).empty()
            return tenant

    assert targets(database, asyncio.run(main())) == Counter(["later"])


class CountingDatabase:
    """Counts the statements of a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.statements = 0

    async def query(self, *arguments: Any, **options: Any) -> Any:
        self.statements += 1
        return await self.database.query(*arguments, **options)


class DroppingDatabase(CountingDatabase):
    """Commits, and loses the connection before it can say so."""

    async def query(self, *arguments: Any, **options: Any) -> Any:
        await super().query(*arguments, **options)
        raise psycopg.OperationalError("server closed the connection unexpectedly")


class FailingDatabase(CountingDatabase):
    """Fails each statement."""

    def __init__(self, database: Database, error: psycopg.Error) -> None:
        super().__init__(database)
        self.error = error

    async def query(self, *arguments: Any, **options: Any) -> Any:
        raise self.error

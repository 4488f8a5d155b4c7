"""Reads end behind those who asked: nobody waits for it, and nothing of it stays."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from gemel.store.database import Database
from support.postgres import Dsns
from support.tenants import open_tenant

OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
READS = 60
"""More than the pool has connections."""


async def asked(db: Database, tenant: int, sql: str) -> int:
    async with db.read(tenant) as tx:
        return int((await tx.rows(sql))[0][0])


async def still_open(dsns: Dsns) -> int:
    async with await psycopg.AsyncConnection.connect(dsns.owner, autocommit=True) as owner:
        return int((await (await owner.execute(OPEN)).fetchone() or [-1])[0])


def test_no_transaction_of_a_read_stays_open(database: Dsns) -> None:
    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            answers = await asyncio.gather(*(asked(db, tenant, f"SELECT {n}") for n in range(READS)))
            assert answers == list(range(READS))
            async with asyncio.timeout(10):
                while await still_open(database):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    asyncio.run(run())


def test_one_that_failed_leaves_its_connection_fit_for_others(database: Dsns) -> None:
    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            for _ in range(READS):
                with pytest.raises(psycopg.errors.DivisionByZero):
                    await asked(db, tenant, "SELECT 1 / 0")
                assert await asked(db, tenant, "SELECT 7") == 7

    asyncio.run(run())


def test_closing_waits_for_the_end_of_reads(database: Dsns) -> None:
    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            await asyncio.gather(*(asked(db, tenant, "SELECT 1") for _ in range(READS)))
        assert not await still_open(database)

    asyncio.run(run())

"""Writing transactions: statements that run in one round trip."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from gemel.store.database import Database
from support.postgres import Dsns
from support.tenants import open_tenant


async def written(db: Database, tenant: int, *documents: str) -> None:
    async with db.write(tenant) as tx, tx.in_one_trip():
        for document in documents:
            await tx.execute("SELECT %s::jsonb", (document,))


def test_what_fails_in_one_trip_is_told_as_it_is_and_leaves_nothing(database: Dsns) -> None:
    """Whoever halves a batch goes by the error of the statement that failed, not by those of what stood behind it."""

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                await written(db, tenant, "{}", "not json", *["{}"] * 50)
            async with db.write(tenant) as tx:
                async with tx.in_one_trip():
                    tx.next_change_nos(3)
                    await tx.execute("SELECT 1")
                assert tx.change_no == 3

    asyncio.run(run())

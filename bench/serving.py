"""The platform's parts in this process, as its serving role on its database; what statements cost at the driver."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.platform import Platform
from gemel.app.parts import make_services
from gemel.app.storage import open_storage
from gemel.base.settings import load_settings
from gemel.graph.context import GraphContext
from gemel.store.database import Database, Parameters, ReadTransaction, Row

__all__ = ["TENANT", "Serving", "TimedRead", "serving"]

TENANT = 1  # the default one


class TimedRead(ReadTransaction):
    """A snapshot that says how long its statements took: from when each was sent until its last row was here."""

    spent_s: float = 0.0

    async def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run one statement and return its rows."""
        begun = time.perf_counter()
        try:
            return await super().rows(sql, parameters)
        finally:
            self.spent_s += time.perf_counter() - begun


@dataclass(frozen=True, slots=True)
class Serving:
    """The database as the API has it: the serving role, with the tenant set in each transaction."""

    database: Database
    context: GraphContext

    @asynccontextmanager
    async def read(self) -> AsyncIterator[TimedRead]:
        """Open a snapshot of the default tenant."""
        async with self.database.read(TENANT) as tx:
            yield TimedRead(tx.connection, tx.tenant)


@asynccontextmanager
async def serving(platform: Platform) -> AsyncIterator[Serving]:
    """Open the database of a running platform."""
    settings = load_settings({}, data_dir=platform.data_dir)
    database = Database(open_storage(settings).serve_dsn)
    await database.open()
    try:
        yield Serving(database, make_services(settings, database, lambda: True).context)
    finally:
        await database.close()

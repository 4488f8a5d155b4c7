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
from gemel.store.database import Database, Parameters, ReadTransaction, Row, Statement

__all__ = ["TENANT", "Serving", "TimedRead", "serving"]

TENANT = 1  # the default one


OPENING = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    f"""SELECT set_config('gemel.tenant', '{TENANT}', true), set_config('jit', 'off', true),
    set_config('statement_timeout', '60000', true)""",
    """SELECT change_no, graph_epoch, model_epoch, (extract(epoch FROM retention_line) * 1000000)::bigint, promoted,
    (extract(epoch FROM frozen) * 1000000)::bigint
    FROM tenant_head WHERE tenant = current_tenant()""",
)
"""As `Database.read` begins; the last is the head."""


class TimedRead(ReadTransaction):
    """A snapshot that says how long its statements took: from when each was sent until its last row was here."""

    spent_s: float = 0.0

    @classmethod
    def of(cls, tx: ReadTransaction) -> TimedRead:
        """Return the same transaction, timed."""
        timed = cls.__new__(cls)
        vars(timed).update(vars(tx))
        return timed

    async def rows(self, sql: str, parameters: Parameters = (), *, keeps_plan: bool = True) -> list[Row]:
        """Run one statement and return its rows."""
        begun = time.perf_counter()
        try:
            return await super().rows(sql, parameters, keeps_plan=keeps_plan)
        finally:
            self.spent_s += time.perf_counter() - begun

    async def together(self, *statements: Statement) -> list[list[Row]]:
        """Run statements and return the rows of each."""
        begun = time.perf_counter()
        try:
            return await super().together(*statements)
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
            yield TimedRead.of(tx)

    async def openings(self, count: int) -> tuple[list[float], list[float]]:
        """Open and end so many transactions with their head, and as many without, in turn; return how long, in s."""
        spent_s: tuple[list[float], list[float]] = ([], [])
        async with self.database.read(TENANT) as tx:
            await tx.connection.execute("ROLLBACK")
            for _ in range(count):
                for statements, spent in zip((OPENING, OPENING[:2]), spent_s, strict=True):
                    begun = time.perf_counter()
                    async with tx.connection.pipeline():
                        for sql in statements:
                            await tx.connection.execute(sql)
                    await tx.connection.execute("ROLLBACK")
                    spent.append(time.perf_counter() - begun)
        return spent_s


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

"""Many weeks of history: what concerns one week touches one leaf, and a look at all of them still works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import numpy as np

from gemel.history.read import Buckets, Window, read_buckets, read_raw
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded
from gemel.history.weeks import MONDAY_US, WEEK_US, Weeks
from gemel.history.write import write_samples
from gemel.store.database import Database, ReadTransaction
from support.postgres import Dsns
from support.tenants import open_tenant

WEEKS = 150
SERIES = 1 << 20
TOUCHED = """
SELECT count(DISTINCT c.oid) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND c.relkind = 'r' AND c.relname ~ '^sample_\\d'"""


class Filled(NamedTuple):
    """A tenant with a sample in each of many weeks."""

    db: Database
    tenant: int


def batch(value: float, weeks: range) -> SampleBatch:
    return SampleBatch.of(
        [
            Sample(SERIES, MONDAY_US + week * WEEK_US, Encoded(value + week, 0, None), 0, 0, 0)
            for week in weeks
        ]
    )


async def write(filled: Filled, samples: SampleBatch) -> tuple[list[int], int]:
    async with filled.db.write(filled.tenant) as tx:
        samples.recorded_us[:] = tx.stamp()
        outcomes = await write_samples(tx, samples)
        return outcomes.tolist(), await touched(tx)


async def touched(tx: ReadTransaction) -> int:
    return int((await tx.rows(TOUCHED))[0][0])


@asynccontextmanager
async def fill(dsns: Dsns) -> AsyncIterator[Filled]:
    async with open_tenant(dsns) as (db, tenant):
        filled = Filled(db, tenant)
        samples = batch(0.0, range(WEEKS))
        await Weeks(db).ensure(samples.time_us)
        await write(filled, samples)
        yield filled


def test_one_week_touches_one_leaf(database: Dsns) -> None:
    window = Window(MONDAY_US + 70 * WEEK_US, MONDAY_US + 71 * WEEK_US)

    async def main() -> None:
        async with fill(database) as filled:
            assert await write(filled, batch(0.0, range(70, 71))) == ([2], 1), "a duplicate"
            assert await write(filled, batch(0.5, range(70, 71))) == ([3], 1), "a correction"
            async with filled.db.read(filled.tenant) as tx:
                page = await read_raw(tx, {SERIES: "a"}, window, 10)
                assert [row.value for row in page.rows] == [70.5]
                assert await touched(tx) == 1
            async with filled.db.read(filled.tenant) as tx:
                buckets = await read_buckets(tx, {SERIES: "a"}, window, Buckets(WEEK_US, ["last"]), 10)
                assert [row.values for row in buckets.rows] == [{"last": 70.5}]
                assert await touched(tx) == 1

    asyncio.run(main())


def test_all_weeks_at_once_from_every_connection(database: Dsns) -> None:
    async def main() -> None:
        async with fill(database) as filled:

            async def read() -> list[float]:
                async with filled.db.read(filled.tenant) as tx:
                    page = await read_raw(tx, {SERIES: "a"}, Window(0, MONDAY_US + WEEKS * WEEK_US), 1000)
                    return [row.value for row in page.rows]

            for values in await asyncio.gather(*(read() for _ in range(16))):
                np.testing.assert_array_equal(values, np.arange(WEEKS))

    asyncio.run(main())

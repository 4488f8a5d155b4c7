"""What retention tells: the same before and after, and the line in force, which never moves back."""

from __future__ import annotations

import asyncio

import psycopg

from gemel.base.clock import now_us
from gemel.history.retention import read_kept, retain
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded
from gemel.history.weeks import WEEK_US, Weeks
from gemel.history.write import write_samples
from gemel.store.database import Database
from support.postgres import Dsns
from support.tenants import make_tenant

WEEKS_AGO = (60, 58, 56, 1)


async def fill(dsns: Dsns, tenant: int) -> None:
    db = Database(dsns.serve)
    await db.open()
    now = now_us()
    batch = SampleBatch.of(
        [Sample(1, now - ago * WEEK_US, Encoded(1.0, 0, None), 0, 0, 0) for ago in WEEKS_AGO]
    )
    await Weeks(db).ensure(batch.time_us)
    async with db.write(tenant) as tx:
        batch.recorded_us[:] = tx.stamp()
        await write_samples(tx, batch)
    await db.close()


def test_what_goes_is_told_the_same_and_the_line_never_moves_back(database: Dsns) -> None:
    tenant = make_tenant(database)
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE tenant SET name = 'plant' WHERE tenant = %s", (tenant,))
    asyncio.run(fill(database, tenant))
    foreseen = retain(database.owner, 200, dry_run=True)
    assert foreseen.leaves
    assert foreseen.deleted["plant"] == 2  # of three before the line, the last stays
    assert retain(database.owner, 200) == foreseen

    longer = retain(database.owner, 2000)
    assert longer.lines == foreseen.lines
    assert longer.deleted["plant"] == 0
    assert retain(database.owner, None).lines == foreseen.lines
    kept = {entry.name: entry for entry in read_kept(database.owner)}
    assert (kept["platform"].days, kept["plant"].days) == (None, None)
    assert kept["plant"].line == foreseen.lines["plant"]

"""Retention drops leaves, keeps each series' last sample before the line, and deletes by tenant."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import numpy as np
import psycopg
import pytest

from gemel.base.clock import to_us
from gemel.history.retention import apply_retention, read_kept, retain
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded
from gemel.history.weeks import WEEK_US, Weeks
from gemel.history.write import write_samples
from gemel.store.database import Database
from support.history import SAMPLES
from support.postgres import Dsns
from support.tenants import make_tenant

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)  # a Wednesday
NOW_US = to_us(NOW)


async def fill(dsns: Dsns, tenant: int, series: int, weeks_ago: list[int]) -> None:
    db = Database(dsns.serve)
    await db.open()
    rows = [
        Sample(series, NOW_US - ago * WEEK_US, Encoded(float(ago), 0, None), 0, 0, 0) for ago in weeks_ago
    ]
    batch = SampleBatch.of(rows)
    await Weeks(db).ensure(batch.time_us)
    async with db.write(tenant) as tx:
        batch.recorded_us[:] = tx.stamp()
        await write_samples(tx, batch)
    await db.close()


def left(dsns: Dsns, tenant: int, series: int) -> list[float]:
    with psycopg.connect(dsns.owner) as connection:
        rows = connection.execute(
            f"SELECT num FROM {SAMPLES} AS s WHERE tenant = %s AND series = %s ORDER BY source_time",
            (tenant, series),
        )
        return [row[0] for row in rows]


def test_lines_drop_leaves_and_keep_the_last_before(database: Dsns) -> None:
    long, short = make_tenant(database), make_tenant(database)
    asyncio.run(fill(database, long, 1, [40, 30, 20, 10, 1]))
    asyncio.run(fill(database, long, 2, [40, 30]))
    asyncio.run(fill(database, short, 1, [40, 20, 10, 3, 1]))
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE tenant SET retention_days = 105 WHERE tenant = 0")
        connection.execute("UPDATE tenant SET retention_days = 35 WHERE tenant = %s", (short,))
    retained = apply_retention(database.owner, now=NOW)
    assert len(retained.leaves) == 3
    assert left(database, long, 1) == [20.0, 10.0, 1.0]
    assert left(database, long, 2) == [30.0]
    assert left(database, short, 1) == [10.0, 3.0, 1.0]
    again = apply_retention(database.owner, now=NOW)
    assert again.leaves == []
    later = datetime(2027, 1, 20, tzinfo=UTC)
    assert len(apply_retention(database.owner, now=later).leaves) >= 1
    assert left(database, long, 1) == [10.0, 1.0]
    assert left(database, long, 2) == [30.0]
    with psycopg.connect(database.owner) as connection:
        line = connection.execute(
            "SELECT retention_line FROM tenant_head WHERE tenant = %s", (long,)
        ).fetchone()
    assert line is not None
    assert line[0] == datetime(2026, 10, 5, tzinfo=UTC)


def test_a_week_before_the_line_is_not_made_again(database: Dsns) -> None:
    async def run() -> None:
        db = Database(database.serve)
        await db.open()
        await Weeks(db).ensure(np.array([NOW_US - 40 * WEEK_US]))
        await db.close()

    asyncio.run(run())


def test_a_new_tenant_has_the_line_of_all(database: Dsns) -> None:
    tenant = make_tenant(database)
    with psycopg.connect(database.owner) as connection:
        line = connection.execute(
            "SELECT retention_line FROM tenant_head WHERE tenant = %s", (tenant,)
        ).fetchone()
    assert line == (datetime(2026, 10, 5, tzinfo=UTC),)


def test_dry_run_changes_nothing(database: Dsns) -> None:
    tenant = make_tenant(database)
    asyncio.run(fill(database, tenant, 1, [3, 2, 0]))
    with psycopg.connect(database.owner) as connection:
        name = connection.execute("SELECT name FROM tenant WHERE tenant = %s", (tenant,)).fetchone()
    assert name is not None
    told = retain(database.owner, 7, name[0], dry_run=True)
    assert told.deleted[name[0]] >= 1
    assert left(database, tenant, 1) == [3.0, 2.0, 0.0]
    assert next(kept.days for kept in read_kept(database.owner) if kept.name == name[0]) is None
    with pytest.raises(Exception, match="below 1"):
        retain(database.owner, 0)

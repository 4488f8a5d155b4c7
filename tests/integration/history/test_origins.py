"""Origins are kept as long as a value that they explain, and as compactly as their names allow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import numpy as np
import psycopg

from gemel.base.clock import to_us
from gemel.history.origins import (
    EventColumns,
    EventOrigin,
    Origin,
    Sending,
    pack_origin,
    read_origins,
    store_origins,
)
from gemel.history.retention import apply_retention
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded
from gemel.history.weeks import WEEK_US, Weeks
from gemel.history.write import write_samples
from gemel.store.database import Database
from support.postgres import Dsns
from support.tenants import make_tenant, open_tenant

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)  # a Wednesday
NOW_US = to_us(NOW)


def test_origins_are_forgotten_with_the_last_value_that_they_explain(database: Dsns) -> None:
    """Of three requests the oldest explains nothing any more, the second a kept value, the last a recent one."""
    tenant, other = make_tenant(database), make_tenant(database)
    asyncio.run(fill(database, other, 30))
    spans = [asyncio.run(fill(database, tenant, ago)) for ago in (30, 20, 1)]
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE tenant SET retention_days = 35 WHERE tenant = %s", (tenant,))
    for _ in range(2):
        apply_retention(database.owner, now=NOW)
        assert kept(database, tenant) == spans[1:]
    assert len(kept(database, other)) == 1


def kept(dsns: Dsns, tenant: int) -> list[int]:
    with psycopg.connect(dsns.owner) as connection:
        rows = connection.execute(
            "SELECT recorded_to FROM origin WHERE tenant = %s ORDER BY 1", (tenant,)
        ).fetchall()
    return [to_us(row[0]) for row in rows]


async def fill(dsns: Dsns, tenant: int, weeks_ago: int) -> int:
    """Write one sample of a request of three events, the second of which brought it; return its last recorded time."""
    db = Database(dsns.serve)
    await db.open()
    time_us = NOW_US - weeks_ago * WEEK_US
    await Weeks(db).ensure(np.array([time_us]))
    async with db.write(tenant) as tx:
        first_us = tx.stamps(3)
        sample = Sample(1, time_us, Encoded(1.0, 0, None), 0, 0, first_us + 1)
        await write_samples(tx, SampleBatch.of([sample]))
        await store_origins(tx, [Origin(first_us, first_us + 2, time_us, b"")])
    await db.close()
    return first_us + 2


def test_what_is_packed_is_read_back_by_its_place(database: Dsns) -> None:
    sending = Sending("file:1", "1:2:3", "röhre.csv", "rig.yaml@12ab")
    columns = EventColumns(
        ids=["a", "b\n", "", "ü"], sources=["/x", "/y", "/x", "/y"], types=["t"] * 4, untimed=[2]
    )

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            async with db.write(tenant) as tx:
                tx.stamp()
                first_us = tx.stamps(4)
                await store_origins(
                    tx, [Origin(first_us, first_us + 3, NOW_US, pack_origin(columns, sending))]
                )
            async with db.read(tenant) as tx:
                found = await read_origins(tx, range(first_us - 1, first_us + 5))
                assert await read_origins(tx, []) == {}
            assert found == {
                first_us + place: EventOrigin(*names, "t", place, place != 2, sending)
                for place, names in enumerate([("a", "/x"), ("b\n", "/y"), ("", "/x"), ("ü", "/y")])
            }

    asyncio.run(run())


def test_ids_in_sequence_take_few_bytes() -> None:
    names = [f"rig:0123456789abcdef01234567:{row}:sensor-{row % 50}" for row in range(5000)]
    packed = pack_origin(EventColumns(names, ["rig"] * 5000, ["gemel.samples"] * 5000, []), Sending())
    assert len(packed) < 5000 * 5

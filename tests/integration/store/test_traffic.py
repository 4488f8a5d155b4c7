"""Traffic is kept by the hour, added up whoever counted it, and by the day once it is old."""

from __future__ import annotations

import asyncio

import psycopg

from gemel.base.clock import now_us
from gemel.observe.traffic import HOUR_US, Key, Volume
from gemel.store.database import Database
from gemel.store.traffic import (
    HOURS_DAYS,
    TrafficBucket,
    all_traffic,
    fold_traffic,
    keep_traffic,
    read_traffic,
)
from support.postgres import Dsns
from support.tenants import make_tenant

DAY_US = 24 * HOUR_US


def read(dsns: Dsns, tenant: int, start_us: int, end_us: int, every_us: int) -> list[TrafficBucket]:
    async def body() -> list[TrafficBucket]:
        db = Database(dsns.serve)
        await db.open()
        try:
            async with db.read(tenant) as tx:
                return await read_traffic(tx, start_us, end_us, every_us)
        finally:
            await db.close()

    return asyncio.run(body())


def test_what_processes_counted_is_added_up_and_is_the_tenants_own(database: Dsns) -> None:
    one, two = make_tenant(database), make_tenant(database)
    day_us = now_us() // DAY_US * DAY_US
    with psycopg.connect(database.owner, autocommit=True) as owner:
        for _ in range(2):
            keep_traffic(
                owner,
                {
                    Key(one, day_us + HOUR_US, "http"): Volume(1, 10, 5),
                    Key(one, day_us + 2 * HOUR_US, "http"): Volume(1, 1, 1),
                    Key(two, day_us + HOUR_US, "grpc"): Volume(1, 7, 0),
                },
            )
        found = all_traffic(owner, day_us)
    assert (found[one], found[two]) == (Volume(4, 22, 12), Volume(2, 14, 0))
    assert read(database, one, day_us, day_us + DAY_US, DAY_US) == [
        TrafficBucket(day_us, "http", Volume(4, 22, 12))
    ]
    assert read(database, one, day_us + 2 * HOUR_US, day_us + DAY_US, HOUR_US) == [
        TrafficBucket(day_us + 2 * HOUR_US, "http", Volume(2, 2, 2))
    ]


def test_old_hours_become_days_and_no_byte_is_lost(database: Dsns) -> None:
    tenant = make_tenant(database)
    old_us = now_us() // DAY_US * DAY_US - (HOURS_DAYS + 2) * DAY_US
    young_us = now_us() // HOUR_US * HOUR_US
    counted = {Key(tenant, old_us + hour * HOUR_US, "http"): Volume(1, hour, 2) for hour in range(30)}
    with psycopg.connect(database.owner, autocommit=True) as owner:
        keep_traffic(owner, counted | {Key(tenant, young_us, "http"): Volume(1, 1, 1)})
        for _ in range(2):
            fold_traffic(owner)
        late = {Key(tenant, old_us + HOUR_US, "http"): Volume(1, 1_000, 0)}
        keep_traffic(owner, late)
        fold_traffic(owner)
    assert read(database, tenant, old_us, young_us + 1, HOUR_US) == [
        TrafficBucket(old_us, "http", Volume(25, sum(range(24)) + 1_000, 48)),
        TrafficBucket(old_us + DAY_US, "http", Volume(6, sum(range(24, 30)), 12)),
        TrafficBucket(young_us, "http", Volume(1, 1, 1)),
    ]

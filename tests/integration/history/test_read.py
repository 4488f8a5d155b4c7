"""Raw samples and buckets equal a plain computation over the same values, page by page."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gemel.base.errors import InvalidError
from gemel.history.read import Buckets, Cursor, Window, read_buckets, read_raw
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded, encode
from gemel.history.weeks import WEEK_US, Weeks
from gemel.history.write import write_samples
from gemel.store.database import ReadTransaction
from support.postgres import Dsns
from support.tenants import open_tenant

START_US = 1_767_571_200_000_000
SERIES = {1 << 20: "a", 2 << 20: "b"}
HOUR_US = 3_600_000_000


@asynccontextmanager
async def filled(database: Dsns, rows: list[Sample]) -> AsyncIterator[ReadTransaction]:
    async with open_tenant(database) as (db, tenant):
        batch = SampleBatch.of(rows)
        await Weeks(db).ensure(batch.time_us)
        async with db.write(tenant) as tx:
            batch.recorded_us[:] = tx.stamp()
            await write_samples(tx, batch)
        async with db.read(tenant) as tx:
            yield tx


def numbers(count: int, seed: int) -> list[Sample]:
    rng = random.Random(seed)
    times = rng.sample(range(0, 2 * WEEK_US, WEEK_US // 400), count)
    return [
        Sample(rng.choice(list(SERIES)), START_US + time, Encoded(rng.uniform(-5, 5), 0, None), 0, 0, 0)
        for time in times
    ]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_raw_pages_give_every_sample_once_in_order(database: Dsns, limit: int) -> None:
    rows = numbers(60, seed=limit)

    async def run() -> None:
        async with filled(database, rows) as tx:
            found: list[tuple[Any, ...]] = []
            after: Cursor | None = None
            while True:
                page = await read_raw(tx, SERIES, Window(START_US, START_US + WEEK_US), limit, after)
                found += [(row.time_us, row.path, row.value) for row in page.rows]
                after = page.after
                if after is None:
                    break
            inside = [row for row in rows if row.time_us < START_US + WEEK_US]
            assert found == sorted((row.time_us, SERIES[row.series], row.value.num) for row in inside)

    asyncio.run(run())


@pytest.mark.parametrize("limit", [1, 5, 1000])
def test_buckets_equal_a_plain_computation(database: Dsns, limit: int) -> None:
    rows = numbers(120, seed=limit + 50)
    every_us = 12 * HOUR_US
    names = ("mean", "min", "max", "first", "last", "count")

    async def run() -> None:
        async with filled(database, rows) as tx:
            found: dict[tuple[int, str], dict[str, Any]] = {}
            after: Cursor | None = None
            while True:
                page = await read_buckets(
                    tx,
                    SERIES,
                    Window(START_US, START_US + 2 * WEEK_US),
                    Buckets(every_us, names),
                    limit,
                    after,
                )
                for row in page.rows:
                    assert (row.time_us, row.path) not in found
                    found[row.time_us, row.path] = row.values
                after = page.after
                if after is None:
                    break
            expected: dict[tuple[int, str], list[Sample]] = {}
            for sample in sorted(rows, key=lambda sample: sample.time_us):
                key = (sample.time_us // every_us * every_us, SERIES[sample.series])
                expected.setdefault(key, []).append(sample)
            assert found.keys() == expected.keys()
            for key, samples in expected.items():
                values = [float(sample.value.num or 0.0) for sample in samples]
                assert found[key]["mean"] == pytest.approx(sum(values) / len(values))
                told = [found[key][name] for name in names[1:]]
                assert told == [min(values), max(values), values[0], values[-1], len(values)]

    asyncio.run(run())


def test_gaps_carry_the_last_value_forward(database: Dsns) -> None:
    rows = [
        Sample(1 << 20, START_US - WEEK_US, Encoded(1.0, 0, None), 0, 0, 0),
        Sample(1 << 20, START_US + 2 * HOUR_US + 1, Encoded(5.0, 0, None), 0, 0, 0),
        Sample(1 << 20, START_US + 3 * HOUR_US, Encoded(9.0, 0, None), 0, 2, 0),
        Sample(2 << 20, START_US + HOUR_US, encode("open", "json"), 0, 0, 0),
    ]

    async def run() -> None:
        async with filled(database, rows) as tx:
            found = []
            after: Cursor | None = None
            while True:
                page = await read_buckets(
                    tx,
                    SERIES,
                    Window(START_US, START_US + 4 * HOUR_US),
                    Buckets(HOUR_US, ("last", "mean", "count"), carry_forward=True),
                    3,
                    after,
                )
                found += [
                    ((row.time_us - START_US) // HOUR_US, row.path, row.values["last"], row.values["count"])
                    for row in page.rows
                ]
                after = page.after
                if after is None:
                    break
            assert found == [
                (0, "a", 1.0, 0),
                (1, "a", 1.0, 0),
                (1, "b", "open", 1),
                (2, "a", 5.0, 1),
                (2, "b", "open", 0),
                (3, "a", 5.0, 0),
                (3, "b", "open", 0),
            ]

    asyncio.run(run())


def test_what_cannot_be_asked(database: Dsns) -> None:
    async def run() -> None:
        async with filled(database, numbers(3, seed=1)) as tx:
            for buckets in (Buckets(HOUR_US, ("median",)), Buckets(0, ("mean",)), Buckets(HOUR_US, ())):
                with pytest.raises(InvalidError, match="InvalidArgument"):
                    await read_buckets(tx, SERIES, Window(0, 1), buckets, 10)

    asyncio.run(run())

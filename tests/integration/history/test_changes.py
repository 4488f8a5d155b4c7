"""The change feed: gapless numbers in the order of commit, so that a cursor never passes a later commit."""

from __future__ import annotations

import asyncio
import random

import pytest

from gemel.history.changes import (
    ALONE_MAX,
    TOLD_BYTES_MAX,
    TOLD_CHANGES_MAX,
    append,
    append_all,
    read_changes,
    samples_of,
)
from gemel.history.feed import feed_range
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded
from gemel.history.weeks import Weeks
from gemel.history.write import write_samples
from gemel.store.database import Database
from support.postgres import Dsns
from support.tenants import open_tenant

START_US = 1_767_571_200_000_000


async def numbers(db: Database, tenant: int, after: int = 0) -> list[int]:
    async with db.read(tenant) as tx:
        return [change.change_no for change in await read_changes(tx, after, 1000)]


def test_a_later_writer_cannot_commit_before_an_earlier_one(database: Dsns) -> None:
    """Two transactions that would commit in reverse order: the second waits, and the reader misses nothing."""

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            first_holds, second_done = asyncio.Event(), asyncio.Event()
            seen: list[int] = []

            async def first() -> None:
                async with db.write(tenant) as tx:
                    await append(tx, "twin.created", {"twin": "first"})
                    first_holds.set()
                    await asyncio.sleep(0.3)
                    assert not second_done.is_set()

            async def second() -> None:
                await first_holds.wait()
                async with db.write(tenant) as tx:
                    await append(tx, "twin.created", {"twin": "second"})
                second_done.set()

            async def reader() -> None:
                while len(seen) < 2:
                    seen.extend(await numbers(db, tenant, seen[-1] if seen else 0))
                    await asyncio.sleep(0.01)

            await asyncio.gather(first(), second(), reader())
            assert seen == [1, 2]
            async with db.read(tenant) as tx:
                told = [change.payload()["twin"] for change in await read_changes(tx, 0, 10)]
            assert told == ["first", "second"]

    asyncio.run(run())


def test_a_rollback_leaves_no_gap(database: Dsns) -> None:
    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            try:
                async with db.write(tenant) as tx:
                    await append(tx, "twin.created", {})
                    raise KeyError("changed my mind")
            except KeyError:
                pass
            async with db.write(tenant) as tx:
                await append(tx, "twin.created", {})
            assert await numbers(db, tenant) == [1]

    asyncio.run(run())


def test_a_reader_beside_many_writers_sees_every_change_once(database: Dsns) -> None:
    rng = random.Random(7)

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            seen: list[int] = []

            async def writer() -> None:
                for _ in range(20):
                    async with db.write(tenant) as tx:
                        for _ in range(rng.randrange(1, 4)):
                            await append(tx, "twin.updated", {})
                        await asyncio.sleep(rng.uniform(0, 0.003))

            async def reader(done: asyncio.Event) -> None:
                while True:
                    ended = done.is_set()
                    fresh = await numbers(db, tenant, seen[-1] if seen else 0)
                    seen.extend(fresh)
                    if ended and not fresh:
                        return

            done = asyncio.Event()
            reading = asyncio.create_task(reader(done))
            await asyncio.gather(*(writer() for _ in range(6)))
            done.set()
            await reading
            assert seen == list(range(1, len(seen) + 1)), "seed 7"
            assert len(seen) >= 120

    asyncio.run(run())


def test_a_chunk_gives_back_the_samples_that_took_effect(database: Dsns) -> None:
    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            rows = [
                Sample(9 << 20, START_US, Encoded(1.5, 0, None), 0, 0, 0),
                Sample(9 << 20, START_US, Encoded(1.0, 0, None), 0, 0, 0),
                Sample(8 << 20, START_US + 1, Encoded(None, 2, '{"a":1}'), 3, 1, 0),
            ]
            batch = SampleBatch.of(rows)
            await Weeks(db).ensure(batch.time_us)
            async with db.write(tenant) as tx:
                batch.recorded_us[:] = tx.stamp()
                await write_samples(tx, batch)
            async with db.read(tenant) as tx:
                (change,) = await read_changes(tx, 0, 10)
            told = samples_of(change)
            assert [told.row(n)[:5] for n in range(len(told))] == [rows[0][:5], rows[2][:5]]

    asyncio.run(run())


@pytest.mark.parametrize("count", [1, ALONE_MAX, ALONE_MAX + 1, 2 * TOLD_CHANGES_MAX + 3])
def test_what_a_bulk_write_tells_is_read_one_by_one(database: Dsns, count: int) -> None:
    """Whatever rows they share: each with its own number and time, from any place on and in pages of any size."""

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            async with db.write(tenant) as tx:
                await append(tx, "twin.updated", {"twin": "before"})
                stamp_us = tx.recorded_us
                await append_all(tx, [(f"twin.{n % 3}", {"twin": n}) for n in range(count)])
                await append(tx, "twin.updated", {"twin": "after"})
            async with db.read(tenant) as tx:
                whole = await read_changes(tx, 0, count + 5)
                for after, limit in ((1, 7), (count // 2, 1), (count // 2, count), (count, 9)):
                    assert await read_changes(tx, after, limit) == whole[after : after + limit]
                assert await read_changes(tx, 2, count, bytes_max=1) == whole[2:3]
                assert await feed_range(tx) == (1, count + 2)
            assert [change.change_no for change in whole] == list(range(1, count + 3))
            assert [change.recorded_us for change in whole] == [stamp_us + n for n in range(count + 2)]
            assert [change.kind for change in whole[1:-1]] == [f"twin.{n % 3}" for n in range(count)]
            assert [change.payload()["twin"] for change in whole] == ["before", *range(count), "after"]

    asyncio.run(run())


def test_a_row_of_many_changes_is_bounded_in_bytes(database: Dsns) -> None:
    told = [("twin.created", {"twin": "x" * (TOLD_BYTES_MAX // 4)})] * (ALONE_MAX + 2)

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            async with db.write(tenant) as tx:
                await append_all(tx, told)
                rows = await tx.rows("SELECT changes, octet_length(body) FROM change ORDER BY change_no")
            assert sum(row[0] for row in rows) == len(told)
            assert max(row[1] for row in rows) <= TOLD_BYTES_MAX + 5
            assert await numbers(db, tenant) == list(range(1, len(told) + 1))

    asyncio.run(run())

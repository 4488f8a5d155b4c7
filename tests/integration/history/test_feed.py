from __future__ import annotations

import asyncio
import time

import pytest

from gemel.history import feed as feed_module
from gemel.history.changes import append
from gemel.history.feed import POLL_S, FeedHead, feed_range
from support.postgres import Dsns
from support.tenants import open_tenant


def test_the_range_is_of_what_is_kept(database: Dsns) -> None:
    async def main() -> None:
        async with open_tenant(database) as (db, tenant):
            async with db.read(tenant) as tx:
                assert tuple(await feed_range(tx)) == (1, 0)
            for _ in range(3):
                async with db.write(tenant) as write:
                    await append(write, "model.created", {"model": "m"})
            async with db.read(tenant) as tx:
                assert tuple(await feed_range(tx)) == (1, 3)
            async with db.write(tenant) as write:
                await write.execute("DELETE FROM change WHERE tenant = current_tenant()")
            async with db.read(tenant) as tx:
                assert tuple(await feed_range(tx)) == (4, 3)

    asyncio.run(main())


def test_those_who_wait_are_woken_by_a_commit_and_only_then(database: Dsns) -> None:
    async def main() -> None:
        async with open_tenant(database) as (db, tenant), open_tenant(database) as (_, other):
            feed = FeedHead(db)
            waiting = [asyncio.create_task(feed.beyond(tenant, 0, 10)) for _ in range(20)]
            later = asyncio.create_task(feed.beyond(tenant, 1, 10))
            elsewhere = asyncio.create_task(feed.beyond(other, 0, 10))
            await asyncio.sleep(3 * POLL_S)
            assert not any(task.done() for task in waiting)
            async with db.write(tenant) as tx:
                await append(tx, "model.created", {"model": "m"})
                await asyncio.sleep(2 * POLL_S)
                assert not any(task.done() for task in waiting)
            assert all(await asyncio.gather(*waiting))
            assert await feed.beyond(tenant, 0, 10)
            assert not later.done()
            assert not elsewhere.done()
            feed.close()
            assert not await later
            assert not await elsewhere
            assert not await feed.beyond(tenant, 0, 10)

    asyncio.run(main())


def test_a_commit_of_this_process_wakes_at_once(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "POLL_S", 3600.0)

    async def main() -> None:
        async with open_tenant(database) as (db, tenant), open_tenant(database) as (_, other):
            feed = FeedHead(db)
            waiting = asyncio.create_task(feed.beyond(tenant, 0, 60))
            elsewhere = asyncio.create_task(feed.beyond(other, 0, 60))
            await asyncio.sleep(0.2)  # the one look that is taken is over
            async with db.write(tenant) as tx:
                await tx.execute("SELECT 1")
            assert not waiting.done()  # that commit told the feed of nothing
            async with db.write(tenant) as tx:
                await append(tx, "model.created", {"model": "m"})
            assert await waiting
            assert not elsewhere.done()
            feed.close()
            assert not await elsewhere

    asyncio.run(main())


def test_waiting_ends_with_its_time(database: Dsns) -> None:
    async def main() -> None:
        async with open_tenant(database) as (db, tenant):
            feed = FeedHead(db)
            before = time.monotonic()
            assert not await feed.beyond(tenant, 0, 0.05)
            assert time.monotonic() - before < 5
            # The next one is served by a new look, though the last has just ended.
            task = asyncio.create_task(feed.beyond(tenant, 0, 10))
            async with db.write(tenant) as tx:
                await append(tx, "model.created", {"model": "m"})
            assert await task
            feed.close()
            await asyncio.sleep(2 * POLL_S)

    asyncio.run(main())

"""However busy a tenant is, and whatever a commit still needs, the pool of connections never stands still."""

from __future__ import annotations

import asyncio
import random

import pytest

from gemel.base.errors import UnavailableError
from gemel.store.database import Database
from support.parts import MODEL, event, open_parts
from support.postgres import Dsns
from support.tenants import make_tenant

WRITERS = 40
PATIENCE_S = 8.0
"""Less than what waits for a connection, or for its turn, waits before it gives up."""


def test_writers_of_one_tenant_leave_the_pool_to_others(database: Dsns) -> None:
    async def main() -> None:
        db = Database(database.serve)
        await db.open()
        busy, other = make_tenant(database), make_tenant(database)
        held, enough = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            async with db.write(busy):
                held.set()
                await enough.wait()

        writers = [asyncio.create_task(write()) for _ in range(WRITERS)]
        await held.wait()
        await asyncio.sleep(0.1)  # so that they would have taken what they can
        async with asyncio.timeout(PATIENCE_S):
            await db.query(other, "SELECT 1")
            async with db.write(other):
                pass
        enough.set()
        await asyncio.gather(*writers)
        await db.close()

    asyncio.run(main())


def test_a_commit_makes_weeks_though_all_connections_are_taken(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            blocked, holding = asyncio.Event(), asyncio.Semaphore(0)

            async def hold() -> None:
                async with parts.db.read(parts.tenant):
                    holding.release()
                    await blocked.wait()

            async def send() -> None:
                result = await parts.send(
                    [event(1, "late-comer", "2009-06-01T00:00:00Z", temperature=1.0)],
                    create_model=MODEL["@id"],
                )
                assert (result.accepted, result.quarantined) == (1, 0)

            # One connection is left, the one of the commit itself.
            holders = [asyncio.create_task(hold()) for _ in range(15)]
            for _ in holders:
                await holding.acquire()
            async with asyncio.timeout(PATIENCE_S):
                await send()
            blocked.set()
            await asyncio.gather(*holders)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_transactions_leave_good_connections(database: Dsns, seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        async with open_parts(database) as parts:

            async def act(kind: int) -> None:
                if kind == 0:
                    await parts.db.query(parts.tenant, "SELECT count(*) FROM sample, pg_sleep(0.002)")
                elif kind == 1:
                    async with parts.db.read(parts.tenant) as tx:
                        await tx.rows("SELECT * FROM latest, pg_sleep(0.002)")
                        await tx.rows("SELECT * FROM twin")
                else:
                    async with parts.db.write(parts.tenant) as tx:
                        await tx.execute("UPDATE twin SET recorded = recorded")
                        tx.touch_graph()

            for _ in range(15):
                tasks = [asyncio.create_task(act(rng.randrange(3))) for _ in range(20)]
                await asyncio.sleep(rng.uniform(0, 0.01))
                for task in tasks:
                    if rng.random() < 0.7:
                        task.cancel()
                for answer in await asyncio.gather(*tasks, return_exceptions=True):
                    assert answer is None or isinstance(answer, asyncio.CancelledError), (
                        f"seed {seed}: {answer!r}"
                    )
            result = await parts.send([event(1, time="2026-11-01T00:00:00Z", temperature=1.0)])
            assert result.accepted == 1, f"seed {seed}"
            rows = await asyncio.gather(
                *(parts.db.query(0, "SELECT current_setting('gemel.tenant', true)") for _ in range(30))
            )
            assert {row for own in rows for row in own} == {("0",)}, f"seed {seed}"

    asyncio.run(main())


def test_a_wait_for_ones_turn_ends(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.store.database.POOL_WAIT_S", 0.1)

    async def main() -> None:
        db = Database(database.serve)
        await db.open()
        tenant = make_tenant(database)
        async with db.write(tenant):
            with pytest.raises(UnavailableError):
                async with db.write(tenant):
                    pass
        async with db.write(tenant):
            pass
        await db.close()

    asyncio.run(main())

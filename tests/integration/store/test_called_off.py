"""A transaction whose user is cancelled leaves nothing behind that another's statements would be answered with."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from support.parts import TenantParts, open_parts
from support.postgres import Dsns


async def called_off(parts: TenantParts, rng: random.Random) -> None:
    async def work() -> None:
        async with parts.db.read(parts.tenant) as tx:
            await tx.rows("SELECT 'other', pg_sleep(0.002)")
        await parts.db.query(parts.tenant, "SELECT 'third'")

    for _ in range(60):
        task = asyncio.create_task(work())
        await asyncio.sleep(rng.random() * 0.008)
        task.cancel()
        if rng.random() < 0.3:
            # Once more, while it still takes leave of the database.
            await asyncio.sleep(0)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def asking(parts: TenantParts, own: int) -> None:
    for number in range(30):
        async with parts.db.read(parts.tenant) as tx:
            assert (await tx.rows("SELECT %s::int, pg_sleep(0.001)", (own + number,)))[0][0] == own + number
        assert await parts.db.query(parts.tenant, "SELECT %s::int", (own + number,)) == [(own + number,)]


@pytest.mark.parametrize("seed", range(3))
def test_others_get_their_own_answers(database: Dsns, seed: int) -> None:
    """Called off a second time, psycopg leaves the end of a pipeline behind, on a closed connection."""

    async def main() -> None:
        async with open_parts(database) as parts:
            askers = [asking(parts, number * 1000) for number in range(5)]
            await asyncio.gather(
                *askers, *(called_off(parts, random.Random(seed * 10 + n)) for n in range(3))
            )

    asyncio.run(main())

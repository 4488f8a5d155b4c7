"""Room for what is in work: never more than there is, first come first in, given back whatever happens."""

from __future__ import annotations

import asyncio
import random

import pytest

from gemel.ingest.room import Room


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_there_is_and_everyone_gets_in(seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        room = Room(100)
        finished: list[int] = []

        async def work(number: int, size: int) -> None:
            async with room.hold(size):
                assert room.held <= 100, f"seed {seed}"
                await asyncio.sleep(rng.uniform(0, 0.003))
                finished.append(number)

        tasks = [asyncio.create_task(work(n, rng.choice([1, 30, 60, 100, 500]))) for n in range(60)]
        await asyncio.sleep(0.005)
        called_off = rng.sample(tasks, 15)
        for task in called_off:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert room.held == 0, f"seed {seed}"
        assert set(finished) >= {n for n, task in enumerate(tasks) if task not in called_off}

    asyncio.run(main())


def test_who_comes_first_is_let_in_first() -> None:
    async def main() -> None:
        room, order = Room(10), list[int]()

        async def work(number: int, size: int) -> None:
            async with room.hold(size):
                order.append(number)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(work(number, size) for number, size in enumerate([10, 9, 1, 1, 10, 1])))
        assert order == [0, 1, 2, 3, 4, 5]

    asyncio.run(main())

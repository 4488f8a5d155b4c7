"""Gathering: each its own answer, whatever becomes of its neighbours."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from gemel.base.errors import GemelError, InternalError, UnavailableError
from gemel.store.gather import Gatherer


class Tries:
    """Applies numbers, refuses the negative ones by `error`, and keeps what it was asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def apply(self, tenant: int, items: list[int]) -> list[int | GemelError]:
        self.groups.append(items)
        await self.gate.wait()
        if any(item < 0 for item in items):
            raise self.error
        return [item * 10 for item in items]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (psycopg.errors.ProgramLimitExceeded("index row size"), InternalError),
        (IndexError("a fault of our own"), IndexError),
    ],
)
def test_one_that_cannot_be_applied_costs_only_itself(error: Exception, answer: type[Exception]) -> None:
    async def main() -> None:
        tries = Tries(error)
        gatherer = Gatherer(tries.apply)
        answers = await asyncio.gather(
            *(gatherer.submit(1, n) for n in (1, 2, -3, 4, 5)), return_exceptions=True
        )
        assert [a for a in answers if isinstance(a, int)] == [10, 20, 40, 50]
        assert isinstance(answers[2], answer)
        assert await gatherer.submit(1, 7) == 70

    asyncio.run(main())


def test_a_lost_database_is_the_answer_to_all() -> None:
    async def main() -> None:
        tries = Tries(UnavailableError("DatabaseUnavailable", "gone", "again", retry_after_s=1))
        gatherer = Gatherer(tries.apply)
        answers = await asyncio.gather(*(gatherer.submit(1, n) for n in (1, -2, 3)), return_exceptions=True)
        assert [type(a) for a in answers] == [UnavailableError] * 3
        assert tries.groups == [[1, -2, 3]]

    asyncio.run(main())


def test_a_submitter_that_leaves_takes_nothing_back() -> None:
    async def main() -> None:
        tries = Tries(ValueError())
        tries.gate.clear()
        gatherer = Gatherer(tries.apply, weight_max=2)
        leaving = [asyncio.create_task(gatherer.submit(1, n)) for n in (1, 2, 3)]
        staying = asyncio.create_task(gatherer.submit(1, 4))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        tries.gate.set()
        assert await staying == 40
        assert tries.groups == [[1, 2], [3, 4]]
        assert await gatherer.submit(1, 5) == 50

    asyncio.run(main())


def test_a_cancelled_lane_answers_and_is_not_stuck() -> None:
    async def main() -> None:
        tries = Tries(ValueError())
        tries.gate.clear()
        gatherer = Gatherer(tries.apply, weight_max=1)
        tasks = [asyncio.create_task(gatherer.submit(1, n)) for n in (1, 2)]
        await asyncio.sleep(0.01)
        for task in asyncio.all_tasks() - {asyncio.current_task(), *tasks}:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(a) for a in answers] == [InternalError, InternalError]
        tries.gate.set()
        assert await gatherer.submit(1, 3) == 30
        await gatherer.close()

    asyncio.run(main())

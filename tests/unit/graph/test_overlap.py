"""Slices are judged and written in their order, and a failure leaves no thread at work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from gemel.graph.overlap import SLICE, judge_and_write


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1, 3 * SLICE])
def test_every_item_is_judged_and_written_once_in_order(count: int) -> None:
    written: list[int] = []

    async def write(judged: Sequence[int]) -> None:
        written.extend(judged)

    asyncio.run(judge_and_write(range(count), list, write))
    assert written == list(range(count))


def test_the_next_slice_is_judged_while_one_is_written() -> None:
    second = threading.Event()
    seen: list[bool] = []

    def judge(items: Sequence[int]) -> int:
        if items[0]:
            second.set()
        return items[0]

    async def write(first: int) -> None:
        if not first:
            seen.append(await asyncio.to_thread(second.wait, 10))

    asyncio.run(judge_and_write(range(2 * SLICE), judge, write))
    assert seen == [True]


@pytest.mark.parametrize("where", ["judge", "write"])
def test_a_failure_ends_it_and_nothing_is_left_at_work(where: str) -> None:
    judged: list[int] = []

    def judge(items: Sequence[int]) -> int:
        judged.append(items[0])
        if where == "judge" and items[0]:
            raise LookupError
        return items[0]

    async def write(_: int) -> None:
        if where == "write":
            raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(judge_and_write(range(3 * SLICE), judge, write))
    assert judged == [0, SLICE]

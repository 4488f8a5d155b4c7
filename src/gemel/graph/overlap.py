"""Work that needs the processor, done for the next slice of a batch while the database writes the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["judge_and_write"]

T = TypeVar("T")
J = TypeVar("J")

SLICE = 1_000
"""Items that are judged and written together: enough that statements cost little, few enough to overlap."""


async def judge_and_write(
    items: Sequence[T], judge: Callable[[Sequence[T]], J], write: Callable[[J], Awaitable[None]]
) -> None:
    """Judge items slice after slice in a thread, in their order, and write what became of each slice meanwhile.

    What `judge` returned of a slice is written before what it returns of the next. It is not called beside itself.
    """
    upcoming = asyncio.create_task(asyncio.to_thread(judge, items[:SLICE]))
    try:
        for start in range(SLICE, len(items) + SLICE, SLICE):
            judged = await upcoming
            following = items[start : start + SLICE]
            if following:
                upcoming = asyncio.create_task(asyncio.to_thread(judge, following))
            await write(judged)
    finally:
        # A transaction that fails must not leave a thread behind that still counts for it.
        await asyncio.gather(upcoming, return_exceptions=True)

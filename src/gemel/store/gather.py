"""Gathering: requests of one tenant that arrive together share a transaction, a snapshot, or a write to disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg

from gemel.base.errors import GemelError, InternalError

__all__ = ["Gatherer"]

Q = TypeVar("Q")
R = TypeVar("R")

RETRIES_MAX = 5
RETRIED = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


@dataclass(slots=True)
class _Waiting(Generic[Q, R]):
    item: Q
    answer: asyncio.Future[R]


class Gatherer(Generic[Q, R]):
    """Hands all requests of a tenant that wait to one call of `apply`, and each its own answer.

    `apply(tenant, items)` returns one result or GemelError per item, in order, once that holds. The sum of
    `weight` over a group stays at `weight_max` or below unless a single item is heavier. One group of a tenant
    is under way at a time. A GemelError that `apply` raises is the answer to the whole group; on any other
    error the group is halved until the poisonous item stands alone and gets it; the others are applied. A
    submitter that is cancelled takes nothing back.
    """

    def __init__(
        self,
        apply: Callable[[int, list[Q]], Awaitable[Sequence[R | GemelError]]],
        *,
        weight: Callable[[Q], int] = lambda _: 1,
        weight_max: int = 256,
    ) -> None:
        self._apply = apply
        self._weight = weight
        self._weight_max = weight_max
        self._lanes: dict[int, deque[_Waiting[Q, R]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, tenant: int, item: Q) -> R:
        """Return the item's own result once it is durable; raise its own error."""
        waiting = _Waiting[Q, R](item, asyncio.get_running_loop().create_future())
        lane = self._lanes.get(tenant)
        if lane is not None:
            lane.append(waiting)
        else:
            lane = self._lanes[tenant] = deque((waiting,))
            task = asyncio.create_task(self._drain(tenant, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiting.answer

    @property
    def waiting(self) -> int:
        """How many requests wait for the group before them."""
        return sum(map(len, self._lanes.values()))

    async def close(self) -> None:
        """Wait until everything that was submitted has its answer."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _drain(self, tenant: int, lane: deque[_Waiting[Q, R]]) -> None:
        group: list[_Waiting[Q, R]] = []
        try:
            while lane:
                group = self._take(lane)
                await self._answer_all(tenant, group)
        finally:
            # Only a cancelled lane leaves anyone here: better an error than a wait without end.
            for waiting in (*group, *lane):
                _answer(waiting, InternalError("InternalError", "The server stopped before it could answer."))
            self._lanes.pop(tenant, None)

    def _take(self, lane: deque[_Waiting[Q, R]]) -> list[_Waiting[Q, R]]:
        group = [lane.popleft()]
        weight = self._weight(group[0].item)
        while lane:
            weight += self._weight(lane[0].item)
            if weight > self._weight_max:
                break
            group.append(lane.popleft())
        return group

    async def _answer_all(self, tenant: int, group: list[_Waiting[Q, R]]) -> None:
        try:
            results = await self._attempt(tenant, [waiting.item for waiting in group])
        except GemelError as error:
            for waiting in group:
                _answer(waiting, error)
        except Exception as error:
            if len(group) == 1:
                _answer(group[0], _refused(error) if isinstance(error, psycopg.Error) else error)
                return
            middle = len(group) // 2
            await self._answer_all(tenant, group[:middle])
            await self._answer_all(tenant, group[middle:])
        else:
            for waiting, result in zip(group, results, strict=True):
                _answer(waiting, result)

    async def _attempt(self, tenant: int, items: list[Q]) -> Sequence[R | GemelError]:
        for attempt in range(RETRIES_MAX):
            try:
                return await self._apply(tenant, items)
            except RETRIED:
                await asyncio.sleep(0.01 * 2**attempt)
        return await self._apply(tenant, items)


def _answer(waiting: _Waiting[Q, R], result: R | BaseException) -> None:
    if waiting.answer.done():
        return
    if isinstance(result, BaseException):
        waiting.answer.set_exception(result)
    else:
        waiting.answer.set_result(result)


def _refused(error: psycopg.Error) -> InternalError:
    refusal = InternalError("InternalError", "The database refused the write; nothing of it was kept.")
    refusal.__cause__ = error
    return refusal

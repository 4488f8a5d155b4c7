"""Waiting at the end of the change feed: one look at a tenant's head serves all who wait there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from gemel.base.errors import UnavailableError
from gemel.store.database import Database, ReadTransaction

__all__ = ["FeedHead", "FeedRange", "feed_range"]

POLL_S = 0.1

NEWEST = "SELECT change_no FROM tenant_head WHERE tenant = current_tenant()"
RANGE = f"""
SELECT ({NEWEST}), (
    SELECT change_no - changes + 1 FROM change WHERE tenant = current_tenant() ORDER BY change_no LIMIT 1)"""


class FeedRange(NamedTuple):
    """The numbers of the oldest change that is kept and of the newest that there was."""

    oldest: int
    newest: int


async def feed_range(tx: ReadTransaction) -> FeedRange:
    """Return which changes can be read now; where none is kept, the oldest is the next to come."""
    rows = await tx.rows(RANGE)
    newest, oldest = int(rows[0][0]), rows[0][1]
    return FeedRange(newest + 1 if oldest is None else int(oldest), newest)


@dataclass(slots=True)
class _Lane:
    waiting: dict[asyncio.Future[bool], int] = field(default_factory=dict)


class FeedHead:
    """Wakes those who wait for a change beyond a number.

    A commit of this process wakes at once. For those of others a tenant's head is read every POLL_S while anyone
    waits, at a cost that does not grow with the number of those who wait.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lanes: dict[int, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False
        database.listen(self._committed)

    async def beyond(self, tenant: int, number: int, timeout_s: float) -> bool:
        """Wait until the tenant has a change beyond a number; False where time ran out or this was closed."""
        if self.closed:
            return False
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lane = self._lanes.get(tenant)
        if lane is None:
            lane = self._lanes[tenant] = _Lane()
            task = asyncio.create_task(self._watch(tenant, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.waiting[answer] = number
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            return False
        finally:
            lane.waiting.pop(answer, None)

    def close(self) -> None:
        """Wake everyone, and let no one wait any more."""
        self.closed = True
        for lane in self._lanes.values():
            _wake(lane, None)

    def _committed(self, tenant: int, newest: int) -> None:
        lane = self._lanes.get(tenant)
        if lane is not None:
            _wake(lane, newest)

    async def _watch(self, tenant: int, lane: _Lane) -> None:
        try:
            while lane.waiting and not self.closed:
                try:
                    rows = await self._database.query(tenant, NEWEST)
                except UnavailableError:
                    rows = []
                if rows:
                    _wake(lane, int(rows[0][0]))
                await asyncio.sleep(POLL_S)
        finally:
            del self._lanes[tenant]
            _wake(lane, None)


def _wake(lane: _Lane, newest: int | None) -> None:
    """Answer those who wait for less than `newest`; with None, everyone, in vain."""
    for answer, number in list(lane.waiting.items()):
        if not answer.done() and (newest is None or newest > number):
            answer.set_result(newest is not None)

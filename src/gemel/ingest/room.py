"""Room for decoded bodies: what is in work at once is bounded, and who finds no room waits his turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Room"]


class Room:
    """Holds at most `size_max` of whatever is counted, or one that is larger, alone; first come, first in."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """How much is held now."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many wait to be let in."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold some room for the length of the block; wait for it first."""
        size = min(size, self._size_max)
        await self._enter(size)
        try:
            yield
        finally:
            self._held -= size
            self._admit()

    async def _enter(self, size: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._held -= size  # let in and called off in one moment
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._held + self._waiting[0][0] <= self._size_max:
            size, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._held += size
                turn.set_result(None)

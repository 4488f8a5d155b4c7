"""The sources of all tenants: each that is started is read by one of the processes that serve the database.

A source is held by a lease that its process renews. Whoever's lease is gone can commit nothing more of it, so that
a process which was thought dead and is not does no harm.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from gemel.base.errors import GemelError
from gemel.observe.logs import get_log
from gemel.sources.records import Holder, Waiting, claim, free_sources, waiting_sources
from gemel.sources.runner import SourceRunner
from gemel.sources.service import Sources

__all__ = ["SourceSupervisor", "SupervisorOptions"]

T = TypeVar("T")
GRACE_S = 10.0
CONNECT_S = 5

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """How sources are looked for and held.

    `alone` where no other server can be at work on this database: then sources that a killed one held are taken at
    once, and not when their lease is over.
    """

    look_s: float = 2.0
    lease_s: float = 20.0
    alone: bool = False


class SourceSupervisor:
    """Reads sources until it is stopped; `stop` ends the batches under way and lets go of all sources."""

    def __init__(self, sources: Sources, owner_dsn: str, options: SupervisorOptions) -> None:
        self._sources = sources
        self._owner_dsn = owner_dsn
        self._options = options
        self._stopping = asyncio.Event()
        self._running: dict[tuple[int, str], tuple[SourceRunner, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Look for sources that nobody reads, and read them, until stopped."""
        fresh = self._options.alone
        while not self._stopping.is_set():
            changed = self._sources.changed
            try:
                if fresh:
                    await asyncio.to_thread(self._owner, free_sources)
                    fresh = False
                for waiting in await asyncio.to_thread(self._owner, waiting_sources):
                    await self._take(waiting)
            except (psycopg.Error, GemelError) as error:
                log.debug("no look for sources", error=f"{type(error).__name__}: {error}")
            except Exception:
                log.exception("look for sources failed")
            await self._pause(changed)

    async def stop(self) -> None:
        """Stop after the batches under way, or after GRACE_S."""
        self._stopping.set()
        self._sources.tell()
        for runner, _ in self._running.values():
            runner.stop()
        tasks = [task for _, task in self._running.values()]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=GRACE_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, waiting: Waiting) -> None:
        key = (waiting.tenant, waiting.source)
        if key in self._running or self._stopping.is_set():
            return
        holder = Holder(waiting.tenant, waiting.source, secrets.token_hex(8), self._options.lease_s)
        held = await claim(self._sources.database, holder)
        if held is None or self._stopping.is_set():
            return
        runner = SourceRunner(self._sources, held, waiting.tenant_name)
        task = asyncio.create_task(runner.run())
        self._running[key] = (runner, task)
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: tuple[int, str], task: asyncio.Task[None]) -> None:
        self._running.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("source runner broke", tenant=key[0], source=key[1], exc_info=error)
        self._sources.tell()

    async def _pause(self, changed: asyncio.Event) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), self._options.look_s)

    def _owner(self, act: Callable[[psycopg.Connection], T]) -> T:
        with psycopg.connect(self._owner_dsn, autocommit=True, connect_timeout=CONNECT_S) as owner:
            return act(owner)

"""Watch the database: keep the bundled one running, and of one's own say whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from gemel.base.errors import GemelError
from gemel.store.server import BundledServer

__all__ = ["Sentinel", "Supervisor"]

LOOK_S = 0.15
# The postmaster also lives while it mends the crash of one backend, when it takes no connections; only
# asking tells. A question costs it a process, so it is asked less often than the process table.
ASK_S = 1.0
PING_S_MAX = 2
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 2.0


class Supervisor:
    """Watch `server` and restart it after a crash; `on_state(ready)` is called at each change.

    `ready` is false until `run` has seen the server accept connections. `fault` is why the last attempt to
    start it failed, or None. The watch ends with `stop`; the server itself is left as it is.
    """

    def __init__(self, server: BundledServer, on_state: Callable[[bool], None]) -> None:
        self._server = server
        self._on_state = on_state
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self.ready = False
        self.fault: GemelError | None = None

    async def run(self) -> None:
        """Watch until `stop` is called."""
        self._ended.clear()
        try:
            while not self._stopping.is_set():
                await self._watch()
                await self._recover()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End the watch, so that the server can be stopped; waits for a start that is under way."""
        self._stopping.set()
        await self._ended.wait()

    async def _watch(self) -> None:
        """Return when the postmaster is gone, or the watch is to end."""
        loop = asyncio.get_running_loop()
        ask_at = loop.time()
        while self._server.is_alive() and not self._stopping.is_set():
            if loop.time() >= ask_at:
                answered = await asyncio.to_thread(self._server.responds)
                self._report(answered)
                ask_at = loop.time() + (ASK_S if answered else 0.0)
            await self._pause(LOOK_S)

    async def _recover(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while not self._stopping.is_set():
            self._report(False)
            try:
                await asyncio.to_thread(self._server.start)
            except GemelError as error:
                self.fault = error
                await self._pause(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
            else:
                self.fault = None
                self._report(True)
                return

    def _report(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._on_state(ready)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


class Sentinel:
    """Asks a PostgreSQL that is not ours to start, every ASK_S, whether it takes connections.

    `on_state(ready)` is called at each change. It ends when it is cancelled.
    """

    def __init__(self, dsn: str, on_state: Callable[[bool], None]) -> None:
        self._conninfo = make_conninfo(dsn, connect_timeout=PING_S_MAX).encode()
        self._on_state = on_state
        self.ready = False

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            answered = await asyncio.to_thread(PGconn.ping, self._conninfo) == Ping.OK
            if answered != self.ready:
                self.ready = answered
                self._on_state(answered)
            await asyncio.sleep(ASK_S)

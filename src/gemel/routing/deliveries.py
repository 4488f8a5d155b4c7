"""The deliveries of all routes of all tenants, in one of the processes that serve a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import structlog
from psycopg.rows import TupleRow

from gemel.base.errors import InvalidError
from gemel.observe.exposition import RouteLag
from gemel.routing.delivery import DeliveryParts, RouteDelivery, RouteKey
from gemel.routing.routes import LAG, RouteState, state_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Deliveries"]

LOOK_S = 1.0
LAGS_MAX = 256
"""Of how many routes metrics show the lag: those that stopped, then the farthest behind."""
GRACE_S = 5.0
CONNECT_S = 5
STATES = ("delivering", "retrying", "disabled", "stopped")

# Held for as long as the transaction is open: through a pooler, too, and until the process is gone.
LEAD = "SELECT pg_try_advisory_xact_lock(hashtext('gemel.deliveries'))"
NO_TIMEOUT = "SET LOCAL idle_in_transaction_session_timeout = 0"
ROUTES = f"""
SELECT r.tenant, t.name, r.route_id, r.filter, r.failures, r.stopped,
       coalesce(r.next_try, '-infinity') <= clock_timestamp(),
       (extract(epoch FROM clock_timestamp() - c.recorded))::float8,
       (SELECT h.change_no FROM tenant_head AS h WHERE h.tenant = r.tenant) - r.change_no
FROM (SELECT *, change_no + 1 AS next_no FROM event_route OFFSET 0) AS r
JOIN tenant AS t ON t.tenant = r.tenant {LAG}"""

log = structlog.get_logger(__name__)


class _Listed(NamedTuple):
    key: RouteKey
    state: str
    due: bool
    lag_s: float | None
    behind: int


class Deliveries:
    """Runs a delivery for each route that is due, while this process leads: of several, one does.

    `owner_dsn` is the owner's, who sees the routes of all tenants; each delivery works as the serving role in
    its own tenant. `source` is how events name this installation.
    """

    def __init__(self, owner_dsn: str, source: str, parts: DeliveryParts) -> None:
        self._owner_dsn = owner_dsn
        self._source = source
        self._parts = parts
        self._running: dict[RouteKey, asyncio.Task[None]] = {}
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Lead whenever no other process does, until closed or cancelled."""
        while not self._closed.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._owner_dsn, connect_timeout=CONNECT_S
                ) as connection:
                    await self._lead(connection)
            except psycopg.Error as error:
                log.debug("deliveries wait for the database", error=str(error).strip())
            except Exception as error:
                # Whatever it was: routes must go on.
                log.warning("deliveries failed", error=f"{type(error).__name__}: {error}")
            await self._pause()

    def close(self) -> None:
        """Have `run` end, once what is being sent has its answer, or within GRACE_S."""
        self._closed.set()
        # Wakes those who wait for a change, and ends every delivery after what it is sending.
        self._parts.feed.close()

    async def _lead(self, connection: psycopg.AsyncConnection) -> None:
        await connection.execute(NO_TIMEOUT)
        row = await (await connection.execute(LEAD)).fetchone()
        if row is None or not row[0]:
            await connection.rollback()
            return
        try:
            while not self._closed.is_set():
                # Looked up in a part of the transaction that is rolled back, which lets go of the tables.
                async with _undone(connection):
                    rows = await (await connection.execute(ROUTES)).fetchall()
                self._start_due(self._listed(rows))
                await self._pause()
        finally:
            await self._stop()

    def _listed(self, rows: Iterable[TupleRow]) -> Iterator[_Listed]:
        for tenant, name, route_id, text, failures, stopped, due, lag_s, behind in rows:
            key = RouteKey(tenant, route_id, f"{self._source}/{name}", name)
            try:
                yield _Listed(key, state_of(RouteState(text, failures, stopped)), due, lag_s, behind)
            except InvalidError as error:
                # A filter of another version: it must not keep the others from their deliveries.
                log.error("route has no filter", tenant=tenant, route=route_id, error=str(error))

    def _start_due(self, listed: Iterable[_Listed]) -> None:
        counts: Counter[str] = Counter()
        lag_s = 0.0
        lags: list[RouteLag] = []
        for route in listed:
            counts[route.state] += 1
            lags.append(
                RouteLag(route.key.tenant, route.key.route_id, route.state, route.behind, route.lag_s or 0.0)
            )
            if route.state not in {"delivering", "retrying"}:
                continue
            lag_s = max(lag_s, route.lag_s or 0.0)
            if route.due and route.key not in self._running:
                self._start(route.key)
        self._parts.metrics.show_routes({state: counts[state] for state in STATES}, lag_s)
        lags.sort(key=lambda each: (each.state != "stopped", -each.lag_s))
        self._parts.metrics.outside.routes = tuple(lags[:LAGS_MAX])

    def _start(self, key: RouteKey) -> None:
        task = self._running[key] = asyncio.create_task(RouteDelivery(self._parts, key).run())
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: RouteKey, task: asyncio.Task[None]) -> None:
        self._running.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery broke", route=key.route_id, tenant=key.tenant, exc_info=error)

    async def _stop(self) -> None:
        tasks = list(self._running.values())
        if tasks and self._closed.is_set():
            await asyncio.wait(tasks, timeout=GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._closed.wait()


@asynccontextmanager
async def _undone(connection: psycopg.AsyncConnection) -> AsyncIterator[None]:
    async with connection.transaction(force_rollback=True):
        yield

"""The delivery of one route: read the feed after its cursor, send, move the cursor on; until something is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog

from gemel.base.errors import EnvironmentFaultError, GemelError, NotFoundError, UnavailableError
from gemel.graph.context import GraphContext
from gemel.history.feed import FeedHead, feed_range
from gemel.models import TwinType
from gemel.observe.metrics import Metrics
from gemel.observe.spans import SpanExport
from gemel.observe.traffic import Traffic
from gemel.routing.batches import Batch, Cursor, Gatherer
from gemel.routing.endpoints import Endpoint, open_endpoint
from gemel.routing.feed import FeedReader, Part
from gemel.routing.filters import compile_filter
from gemel.routing.letters import bury
from gemel.routing.notifications import Naming
from gemel.routing.progress import Due, Failure, advance, fail, load_due, move
from gemel.routing.retries import portion
from gemel.routing.routes import FORGOTTEN
from gemel.routing.sending import Sender, Trouble, failure_of
from gemel.security.sealing import Sealer
from gemel.store.database import Database, ReadTransaction

__all__ = [
    "CHANGES_BYTES_MAX",
    "CHANGES_MAX",
    "DeliveryParts",
    "RouteDelivery",
    "RouteKey",
    "naming_of",
]

CHANGES_MAX = 256
CHANGES_BYTES_MAX = 1 << 20
"""How much of the feed a route holds at once, beyond the first change."""
WAIT_S = 10.0
AGAIN_S = 0.5
LOOK_AGAIN_S = 5.0
"""How long a part is delivered before the route is looked at again: its endpoint may have been put anew."""
MOVE_S = 2.0
"""How often at most a cursor is written that only passed over what the filter leaves out."""
GENERATION = "SELECT generation FROM generation"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RouteKey:
    """Which route, and by what name its tenant's events say where they come from."""

    tenant: int
    route_id: str
    source: str
    tenant_name: str


@dataclass(frozen=True, slots=True)
class DeliveryParts:
    """What deliveries share in one process."""

    database: Database
    feed: FeedHead
    executor: Executor
    """Where notifications are made: apart from what decodes requests, so that no filter holds up an ingest."""
    reader: FeedReader
    context: GraphContext
    sealer: Sealer
    senders: Mapping[str, Sender]
    """What brings notifications to endpoints, by their kind."""
    metrics: Metrics
    traffic: Traffic
    export: SpanExport | None = None
    """Where spans of deliveries go, if anywhere."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one look at the database gave: the route, where to, and the part of the feed that follows."""

    due: Due
    endpoint: Endpoint
    part: Part
    naming: Naming


async def naming_of(tx: ReadTransaction, context: GraphContext, part: Part, source: str) -> Naming:
    """Return how events of a part are named; the types of its twins are looked up now, since that needs I/O."""
    row = await tx.row(GENERATION)
    assert row is not None, "migrating makes it"
    types: dict[str, TwinType | None] = {}
    for model_id in {twin.model_id for twin in part.known.twins.values()}:
        types[model_id] = await context.library.twin_type(tx, model_id)

    def components(model_id: str) -> Mapping[str, str]:
        known = types.get(model_id)
        return {} if known is None else known.components

    return Naming(source, row[0], components)


class RouteDelivery:
    """Delivers one route until it fails, stops, waits or is gone; then whoever runs it looks again when it is due.

    A batch is acknowledged before the cursor moves past it, so what is lost with this process is sent again.
    """

    def __init__(self, parts: DeliveryParts, key: RouteKey) -> None:
        self._parts = parts
        self._key = key
        self._stored = Cursor(-1)
        self._cursor = Cursor(-1)
        self._moved_s = 0.0
        self._failures = 0

    async def run(self) -> None:
        """Deliver; return where there is nothing that could be delivered now, or once the feed is closed."""
        while not self._parts.feed.closed:
            try:
                if not await self._round():
                    return
            except UnavailableError:
                await asyncio.sleep(AGAIN_S)
            except Exception as error:
                # A defect of ours must be seen on the route, and not be tried again at once.
                log.exception("delivery broke", tenant=self._key.tenant, route=self._key.route_id)
                told = f"InternalError: {type(error).__name__}; the log has more."
                await self._keep_failure(failure_of(Trouble(told), self._failures))
                return

    async def _round(self) -> bool:
        """Deal with the next part of the feed, or wait for one; False to end."""
        work = await self._look()
        if work is None:
            return False
        if not work.part.told:
            await self._wait()
            return True
        gatherer = Gatherer(work.part, self._cursor, compile_filter(work.due.filter), work.naming)
        loop, end_s = asyncio.get_running_loop(), time.monotonic() + LOOK_AGAIN_S
        while not self._parts.feed.closed and time.monotonic() < end_s:
            size = portion(self._failures)
            batch = await loop.run_in_executor(self._parts.executor, gatherer.next, size)
            if not batch.count:
                self._cursor = batch.cursor
                await self._keep_moved()
                return True
            trouble = await self._send(work.endpoint, batch)
            if trouble is not None:
                if await self._put_aside(work.endpoint, batch, trouble):
                    return True
                await self._keep_failure(failure_of(trouble, self._failures))
                return False
            self._failures = 0
            if not await self._keep_delivered(batch):
                return True
        return True

    async def _look(self) -> _Work | None:
        parts, key = self._parts, self._key
        async with parts.database.read(key.tenant) as tx:
            due = await load_due(tx, key.route_id)
            if due is None:
                return None
            self._failures = due.failures
            if due.cursor != self._stored:
                self._stored = self._cursor = due.cursor
            try:
                endpoint = await open_endpoint(tx, parts.sealer, due.endpoint, key.tenant_name)
            except (EnvironmentFaultError, NotFoundError) as error:
                failure = failure_of(Trouble(str(error)), due.failures)
            else:
                part = await parts.reader.read(tx, self._cursor.change_no, CHANGES_MAX, CHANGES_BYTES_MAX)
                forgotten = await self._forgotten(tx, part)
                if forgotten is None:
                    return _Work(due, endpoint, part, await naming_of(tx, parts.context, part, key.source))
                failure = forgotten
        await self._keep_failure(failure)
        return None

    async def _forgotten(self, tx: ReadTransaction, part: Part) -> Failure | None:
        """Say that changes after the cursor are no longer kept, if so."""
        first = self._cursor.change_no + 1
        if part.told and part.told[0].change.change_no == first:
            return None
        kept = await feed_range(tx)
        if first >= kept.oldest:
            return None
        message = f"Changes {first} to {kept.oldest - 1} were forgotten (GEMEL_CHANGE_DAYS) before they were delivered."
        return Failure(message, 0.0, FORGOTTEN)

    async def _send(self, endpoint: Endpoint, batch: Batch) -> Trouble | None:
        started_s = time.perf_counter()
        name = f"{self._key.tenant}.{self._key.route_id}"
        try:
            trouble = await self._parts.senders[endpoint.kind].send(endpoint, batch, name)
        except GemelError as error:
            trouble = Trouble(f"{error.message} [{error.code}]")
        self._parts.traffic.add(self._key.tenant, f"sink:{endpoint.kind}", calls=1, sent=batch.size)
        ended_s = time.perf_counter()
        self._parts.metrics.count_delivery(batch.count, ended_s - started_s, delivered=trouble is None)
        if self._parts.export is not None:
            told = {
                "gemel.tenant": self._key.tenant_name,
                "gemel.route": self._key.route_id,
                "gemel.sink": endpoint.kind,
            }
            traces = [letter.traceparent for letter in batch.letters]
            why = None if trouble is None else trouble.error
            self._parts.export.delivery(traces, (started_s, ended_s), told, why)
        return trouble

    async def _put_aside(self, endpoint: Endpoint, batch: Batch, trouble: Trouble) -> bool:
        """Make a dead letter of a notification that was refused alone, and often enough."""
        tries, most = self._failures + 1, endpoint.dead_letter_after
        if not trouble.refused or batch.count != 1 or not 0 < most <= tries:
            return False
        key, letter = self._key, batch.letters[0]
        dead = (letter, trouble.error, tries)
        cursors = (self._stored, batch.cursor)
        if not await bury(self._parts.database, key.tenant, key.route_id, cursors, dead):
            return False
        log.warning("notification put aside", tenant=key.tenant, route=key.route_id, event_id=letter.event_id)
        self._stored = self._cursor = batch.cursor
        self._failures = 0
        return True

    async def _wait(self) -> None:
        """Wait for a change, but no longer than until a cursor that moved has to be written."""
        behind = self._cursor != self._stored
        wait_s = max(0.0, self._moved_s + MOVE_S - time.monotonic()) if behind else WAIT_S
        found = await self._parts.feed.beyond(self._key.tenant, self._cursor.change_no, wait_s)
        if not found:
            await self._keep_moved()

    async def _keep_moved(self) -> None:
        if self._cursor == self._stored or time.monotonic() < self._moved_s + MOVE_S:
            return
        self._moved_s = time.monotonic()
        key = self._key
        if await move(self._parts.database, key.tenant, key.route_id, self._stored, self._cursor):
            self._stored = self._cursor

    async def _keep_delivered(self, batch: Batch) -> bool:
        """Move the cursor past a batch, however long the database is away: else it would be sent again."""
        key = self._key
        while True:
            try:
                moved = await advance(
                    self._parts.database,
                    key.tenant,
                    key.route_id,
                    self._stored,
                    batch.cursor,
                    delivered=batch.count,
                )
            except UnavailableError:
                await asyncio.sleep(AGAIN_S)
                continue
            if moved:
                self._stored = self._cursor = batch.cursor
            return moved

    async def _keep_failure(self, failure: Failure) -> None:
        key = self._key
        log.warning("route failed", tenant=key.tenant, route=key.route_id, error=failure.error)
        await fail(self._parts.database, key.tenant, key.route_id, (self._stored, self._cursor), failure)

"""Tenant transactions: the only way that a serving process reaches PostgreSQL.

Every transaction sets its tenant with SET LOCAL, so a pooler between does no harm. A writing transaction
first locks the tenant's head row: it is the mutex of the tenant's writes, its clock and its change counter.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from gemel.base.errors import GemelError, InvalidError, NotFoundError
from gemel.observe.laps import Laps
from gemel.observe.trace import current_trace
from gemel.store import columns
from gemel.store.carried import without_carried
from gemel.store.losses import full, is_loss, unavailable

__all__ = [
    "READ_TIMEOUT_S",
    "Database",
    "Epochs",
    "Parameters",
    "ReadTransaction",
    "Row",
    "Statement",
    "WriteTransaction",
]

Row = TupleRow
Parameters = Sequence[Any] | Mapping[str, Any]


class Statement(NamedTuple):
    """A statement, its parameters, and whether its plan is kept for those who ask it again."""

    sql: str
    parameters: Parameters = ()
    keeps_plan: bool = True


POOL_WAIT_S = 10.0
SEND_BYTES = 4 << 20
"""How much of a large statement the kernel takes at once, if it allows so much: the database need not wait for the
event loop to send more, nor the event loop for the database."""
FULL_S = 15.0
"""How long a full disk is held against the database: whoever waits tries again within it."""
MEMORIES_MAX = 16
"""Of how many tenants a process remembers what it wrote last; those that wrote longest ago are forgotten."""
READ_TIMEOUT_S = 60.0
"""How long each statement of a read may take."""
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
SET_TENANT = "SELECT set_config('gemel.tenant', %s, true)"
# Compiling a statement takes longer than it saves any that serves a request.
SET_READER = """
SELECT set_config('gemel.tenant', %s, true), set_config('jit', 'off', true),
       set_config('statement_timeout', %s, true)"""
LOCK_HEAD = """
SELECT (extract(epoch FROM greatest(clock_timestamp(), recorded + interval '1 microsecond')) * 1000000)::bigint,
       (extract(epoch FROM rolling) * 1000000)::bigint,
       change_no, graph_epoch, model_epoch, (extract(epoch FROM retention_line) * 1000000)::bigint, promoted,
       (extract(epoch FROM frozen) * 1000000)::bigint
FROM tenant_head WHERE tenant = current_tenant() FOR NO KEY UPDATE"""
CALLED_OFF = (asyncio.CancelledError, GeneratorExit)
"""What ends a transaction whose user is gone. Within a pipeline answers are left on its connection, which the next
user would take for those to its own statements, so it is closed at once."""

WRITE_HEAD = """
UPDATE tenant_head SET recorded = to_timestamp(0) + %s * interval '1 microsecond', change_no = %s,
       graph_epoch = %s, model_epoch = %s
WHERE tenant = current_tenant()"""
SET_TIMEOUT = "SELECT set_config('statement_timeout', %s, true)"
READ_HEAD = """
SELECT change_no, graph_epoch, model_epoch, (extract(epoch FROM retention_line) * 1000000)::bigint, promoted,
       (extract(epoch FROM frozen) * 1000000)::bigint
FROM tenant_head WHERE tenant = current_tenant()"""


@dataclass(frozen=True, slots=True)
class Epochs:
    """Which state of a tenant's graph and models a process holds: equal epochs, equal content."""

    graph: int
    models: int


class ReadTransaction:
    """A snapshot of one tenant's data.

    `line_us` is the line before which its history is not kept whole, None where there is none; `promoted` the
    numbers of the paths that are indexed. Before `frozen_us` weeks may be frozen, None where none is; `cold_url`
    says where their files are.
    """

    def __init__(
        self, connection: AsyncConnection[Row], tenant: int, head: Row, cold_url: str | None = None
    ) -> None:
        self.connection = connection
        self.tenant = tenant
        self.cold_url = cold_url
        change_no, self._graph_epoch, self._model_epoch, self.line_us, promoted, self.frozen_us = head
        self.begun_change_no = int(change_no)
        """The newest number of the tenant's change feed when this transaction began."""
        self.promoted: tuple[int, ...] = tuple(promoted)
        self.carries = False
        """Whether settings of this transaction hold rows for parts of statements that `when_carried` made."""
        self.notes: dict[object, Any] = {}
        """What a part wants to remember until the end of this transaction, under a key of its own."""

    async def rows(self, sql: str, parameters: Parameters = (), *, keeps_plan: bool = True) -> list[Row]:
        """Run one statement and return its rows, in binary where the types allow.

        One that is asked again has a plan that is kept; without `keeps_plan` each is planned for its parameters.
        Raises QueryCanceled (of psycopg) where it takes longer than it may.
        """
        cursor = self.connection.cursor(binary=True)
        await cursor.execute(self._text(sql, parameters), parameters, prepare=None if keeps_plan else False)
        return await cursor.fetchall() if cursor.description else []

    async def together(self, *statements: Statement) -> list[list[Row]]:
        """Run statements that return rows, in their order and in one round trip, and return the rows of each."""
        cursors = [self.connection.cursor(binary=True) for _ in statements]
        async with self.connection.pipeline():
            for cursor, (sql, parameters, keeps_plan) in zip(cursors, statements, strict=True):
                text = self._text(sql, parameters)
                await cursor.execute(text, parameters, prepare=None if keeps_plan else False)
        return [await cursor.fetchall() for cursor in cursors]

    async def limit(self, timeout_s: float) -> None:
        """Say how long each statement from now on may take."""
        await self.connection.execute(SET_TIMEOUT, (_ms(timeout_s),))

    async def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Run one statement and return its first row, or None."""
        rows = await self.rows(sql, parameters)
        return rows[0] if rows else None

    def _text(self, sql: str, parameters: Parameters) -> str:
        """Return what is run of a statement. Of one whose parameters are in order nothing can be left out."""
        return sql if self.carries or not isinstance(parameters, Mapping) else without_carried(sql)

    @property
    def epochs(self) -> Epochs:
        """The epochs of the graph and the models, as this transaction sees and leaves them."""
        return Epochs(self._graph_epoch, self._model_epoch)


class WriteTransaction(ReadTransaction):
    """The one transaction that may write a tenant's data now; others wait for its end.

    `stamp()` gives recorded times (µs), each once, and `sign()` says which of them one act had;
    `next_change_no()` numbers the change feed without gaps. Both are kept by the commit and given back by a rollback.
    """

    def __init__(
        self,
        connection: AsyncConnection[Row],
        tenant: int,
        head: Row,
        memory: dict[object, Any],
        laps: Laps,
        cold_url: str | None = None,
    ) -> None:
        super().__init__(connection, tenant, head[2:], cold_url)
        self.memory = memory
        """What parts of this process remember of the tenant beyond a transaction; each says by what it still holds."""
        self.rolling_us: int | None = head[1]
        """The source time (µs) before which roll-ups may be made stale; None where there are none."""
        self._recorded_us, self._change_no = head[0] - 1, self.begun_change_no
        self._signed_us = self._recorded_us
        self._on_commit: list[Callable[[], None]] = []
        self.laps = laps
        """How long the stages of this transaction took."""
        trace = current_trace.get()
        self.traces: list[tuple[int, str]] = [] if trace is None else [(0, trace.traceparent)]
        """From which recorded time (µs) on what is written belongs to which trace, ascending."""

    @property
    def retention_us(self) -> int:
        """The time before which no sample is taken."""
        return self.line_us or 0

    @property
    def recorded_us(self) -> int:
        """The newest recorded time that was given, or is the base of the next."""
        return int(self._recorded_us)

    @property
    def change_no(self) -> int:
        """The newest number that was given of the tenant's change feed."""
        return int(self._change_no)

    def stamp(self) -> int:
        """Return a recorded time in µs that no other write of this tenant has had or will have."""
        self._recorded_us += 1
        return int(self._recorded_us)

    def stamps(self, count: int) -> int:
        """Return the first of `count` recorded times in a row, each as `stamp` gives it."""
        first = self._recorded_us + 1
        self._recorded_us += count
        return int(first)

    def sign(self) -> tuple[int, int] | None:
        """Return the first and last recorded time (µs) given since this was last called; None where there is none."""
        first, self._signed_us = self._signed_us + 1, self._recorded_us
        return (first, self._recorded_us) if first <= self._recorded_us else None

    def follow(self, traceparent: str) -> None:
        """Say that what gets a recorded time from now on belongs to a trace."""
        self.traces.append((self._recorded_us + 1, traceparent))

    def next_change_no(self) -> int:
        """Return the next number of the tenant's change feed."""
        self._change_no += 1
        return int(self._change_no)

    def next_change_nos(self, count: int) -> int:
        """Return the first of `count` numbers in a row, each as `next_change_no` gives it."""
        first = self._change_no + 1
        self._change_no += count
        return int(first)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call back once this transaction is durable, and never if it is rolled back."""
        self._on_commit.append(callback)

    def touch_graph(self) -> None:
        """Say that twins or their models changed, so that what processes hold of them is out of date."""
        self._graph_epoch += 1

    def touch_models(self) -> None:
        """Say that the model set changed."""
        self._model_epoch += 1

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement and return how many rows it touched."""
        cursor = self.connection.cursor(binary=True)
        await cursor.execute(sql, parameters)
        return cursor.rowcount

    @asynccontextmanager
    async def in_one_trip(self) -> AsyncIterator[None]:
        """Let statements run whose results nobody asks for, without a wait between them; no COPY is among them."""
        async with self.connection.pipeline():
            yield

    async def copy(self, sql: str, data: bytes | bytearray | memoryview, role: str | None = None) -> None:
        """COPY a binary stream in, as `role` where one is named (SET LOCAL ROLE, then back)."""
        cursor = self.connection.cursor()
        if role is not None:
            await cursor.execute(f"SET LOCAL ROLE {role}")
        async with cursor.copy(sql) as stream:
            await stream.write(data)
        if role is not None:
            await cursor.execute("RESET ROLE")

    async def finish(self) -> None:
        """Write the head back and commit, in one round trip."""
        head = (self._recorded_us, self._change_no, self._graph_epoch, self._model_epoch)
        async with self.connection.pipeline():
            await self.connection.execute(WRITE_HEAD, head)
            await self.connection.execute("COMMIT")
        self.laps.end("commit")
        for callback in self._on_commit:
            callback()


class Database:
    """A pool of connections of the serving role, and tenant transactions over it.

    Writers of a tenant wait for each other before they take a connection, so that however many they are, the
    pool is there for others. A transaction must not open another: each holds a connection.
    Losing the database raises UnavailableError (DatabaseUnavailable), which says when to try again; while
    `reachable` is false, at once. A full disk raises it, too (DatabaseFull).
    """

    def __init__(self, dsn: str, *, connections_max: int = 16, cold_url: str | None = None) -> None:
        self._cold_url = cold_url
        self._pool: AsyncConnectionPool[AsyncConnection[Row]] = AsyncConnectionPool(
            dsn,
            min_size=2,
            max_size=connections_max,
            open=False,
            configure=_configure,
            kwargs={"autocommit": True, "prepare_threshold": 3},
            timeout=POOL_WAIT_S,
            reconnect_timeout=5,
        )
        self.reachable = True
        self._full_until_s = 0.0
        self._ending: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[int, int], None]] = []
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._memories: OrderedDict[int, dict[object, Any]] = OrderedDict()

    def listen(self, listener: Callable[[int, int], None]) -> None:
        """Call back with tenant and newest change number after each commit of this process that told the feed."""
        self._listeners.append(listener)

    @property
    def waiting(self) -> int:
        """How many wait for a connection of the pool."""
        return int(self._pool.get_stats().get("requests_waiting", 0))

    @property
    def is_full(self) -> bool:
        """Whether a statement of the last FULL_S failed for want of room on the database's disk."""
        return time.monotonic() < self._full_until_s

    async def open(self) -> None:
        """Open the pool; connections follow as the database becomes ready."""
        await self._pool.open()

    async def close(self) -> None:
        """Close the pool and its connections."""
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._pool.close()

    async def refresh(self) -> None:
        """Throw away connections that died with the database."""
        await self._pool.check()

    @asynccontextmanager
    async def read(self, tenant: int) -> AsyncIterator[ReadTransaction]:
        """Open a read-only snapshot of one tenant, in one round trip.

        Raises NotFoundError (TenantNotFound); InvalidError (TimeoutError) where a statement takes longer than it may.
        """
        async with self._connection() as connection:
            head = connection.cursor(binary=True)
            try:
                async with connection.pipeline():
                    await connection.execute(READ)
                    await connection.execute(SET_READER, (str(tenant), _ms(READ_TIMEOUT_S)))
                    await head.execute(READ_HEAD)
                yield ReadTransaction(
                    connection, tenant, _there(await head.fetchone(), tenant), self._cold_url
                )
            except errors.QueryCanceled as error:
                raise InvalidError(
                    "TimeoutError", f"A read took longer than {READ_TIMEOUT_S:g} s.", "Ask for less at once."
                ) from error
            except CALLED_OFF:
                await connection.close()
                raise

    async def query(
        self, tenant: int, sql: str, parameters: Sequence[Any] = (), *, read_only: bool = True
    ) -> list[Row]:
        """Run one statement for a tenant in a transaction of its own, in one round trip.

        One that writes (`read_only` false) does not hold the tenant's head: for what no reader orders by.
        """
        async with self._connection() as connection:
            cursor = connection.cursor(binary=True)
            async with connection.pipeline():
                await connection.execute("BEGIN READ ONLY" if read_only else "BEGIN")
                await connection.execute(SET_TENANT, (str(tenant),))
                await cursor.execute(sql, parameters)
                await connection.execute("COMMIT")
            return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def write(self, tenant: int) -> AsyncIterator[WriteTransaction]:
        """Open the tenant's writing transaction; it commits at the end of the block, or rolls back."""
        laps = Laps()
        async with self._turn(tenant), self._connection() as connection:
            head = connection.cursor(binary=True)
            try:
                async with connection.pipeline():
                    await connection.execute("BEGIN")
                    await connection.execute(SET_TENANT, (str(tenant),))
                    await head.execute(LOCK_HEAD)
                row = _there(await head.fetchone(), tenant)
                transaction = WriteTransaction(
                    connection, tenant, row, self._memory(tenant), laps, self._cold_url
                )
                laps.end("lock")
                yield transaction
                await transaction.finish()
                if transaction.change_no > transaction.begun_change_no:
                    for listener in self._listeners:
                        listener(tenant, transaction.change_no)
            except CALLED_OFF:
                await connection.close()
                raise
            except BaseException:
                await _rollback(connection)
                raise

    def _memory(self, tenant: int) -> dict[object, Any]:
        memory = self._memories.setdefault(tenant, {})
        self._memories.move_to_end(tenant)
        while len(self._memories) > MEMORIES_MAX:
            self._memories.popitem(last=False)
        return memory

    @asynccontextmanager
    async def _turn(self, tenant: int) -> AsyncIterator[None]:
        lock = self._turns.get(tenant)
        if lock is None:
            lock = self._turns[tenant] = asyncio.Lock()
        try:
            async with asyncio.timeout(POOL_WAIT_S):
                await lock.acquire()
        except TimeoutError as error:
            raise unavailable(f"Other writes of the tenant took longer than {POOL_WAIT_S:g} s.") from error
        try:
            yield
        finally:
            lock.release()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Row]]:
        if not self.reachable:
            raise unavailable()
        connection: AsyncConnection[Row] | None = None
        try:
            connection = await self._pool.getconn()
            try:
                yield connection
            except CALLED_OFF:
                await connection.close()
                raise
            finally:
                self._give_back(connection)
        except PoolTimeout as error:
            raise unavailable(f"No connection to the database was free for {POOL_WAIT_S:g} s.") from error
        except GemelError:
            raise
        except Exception as error:
            if is_loss(error) or (connection is not None and connection.closed):
                raise unavailable() from error
            if isinstance(error, psycopg.errors.DiskFull):
                self._full_until_s = time.monotonic() + FULL_S
                raise full() from error
            raise

    def _give_back(self, connection: AsyncConnection[Row]) -> None:
        """Return a connection to the pool, in a task of its own.

        So nobody waits until a transaction that read is rolled back, and whoever is called off does not lose the
        connection half way.
        """
        task = asyncio.create_task(self._end(connection))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, connection: AsyncConnection[Row]) -> None:
        try:
            if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                await _rollback(connection)
        finally:
            await self._pool.putconn(connection)


async def _configure(connection: AsyncConnection[Row]) -> None:
    columns.register(connection)
    with socket.socket(fileno=os.dup(connection.fileno())) as local:
        # Over a network the kernel finds the size by itself.
        if local.family == socket.AF_UNIX:
            local.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)


def _ms(timeout_s: float) -> str:
    return str(max(1, int(timeout_s * 1000)))


async def _rollback(connection: AsyncConnection[Row]) -> None:
    if connection.closed:
        return
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        # A pipeline that did not end, for the connection broke: a rollback would only join its queue.
        await connection.close()
        return
    try:
        await connection.execute("ROLLBACK")
    except psycopg.Error:
        await connection.close()


def _there(head: Row | None, tenant: int) -> Row:
    if head is None:
        raise NotFoundError("TenantNotFound", f"There is no tenant number {tenant}.")
    return head

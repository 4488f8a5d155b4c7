"""The database is killed while it serves: it is ready again in seconds, and keeps what it acknowledged."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from gemel.base.errors import EnvironmentFaultError
from gemel.store.server import BundledServer
from gemel.store.supervisor import Supervisor

READY_S_MAX = 10.0


class Watch:
    """A supervisor's task and what it reported."""

    def __init__(self, server: BundledServer) -> None:
        self.states: list[bool] = []
        self.changed = asyncio.Event()
        self.supervisor = Supervisor(server, self.note)

    def note(self, ready: bool) -> None:
        self.states.append(ready)
        self.changed.set()

    async def until(self, ready: bool) -> float:
        """Wait until the newest report is `ready`; return how long that took, in s."""
        begun = time.monotonic()
        while self.states[-1:] != [ready]:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), READY_S_MAX)
        assert self.supervisor.ready is ready
        return time.monotonic() - begun


@asynccontextmanager
async def watched(server: BundledServer) -> AsyncIterator[Watch]:
    watch = Watch(server)
    task = asyncio.create_task(watch.supervisor.run())
    try:
        yield watch
    finally:
        await watch.supervisor.stop()
        await task


def kill(server: BundledServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)


def test_a_killed_postmaster_is_replaced(data_dir: Path) -> None:
    server = BundledServer(data_dir)

    async def scenario() -> list[bool]:
        async with watched(server) as watch:
            await watch.until(True)
            for _ in range(2):
                kill(server)
                await watch.until(False)
                assert await watch.until(True) < READY_S_MAX
                with psycopg.connect(server.owner_dsn("postgres")) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
        assert server.is_alive()
        return watch.states

    assert asyncio.run(scenario()) == [True, False, True, False, True]


def test_a_killed_backend_is_noticed_too(data_dir: Path) -> None:
    """The postmaster lives on, throws every client out and takes none until it has recovered."""
    server = BundledServer(data_dir)

    async def scenario() -> None:
        async with watched(server) as watch:
            await watch.until(True)
            before = server.pid
            with psycopg.connect(server.owner_dsn("postgres")) as connection:
                os.kill(connection.info.backend_pid, signal.SIGKILL)
                with pytest.raises(psycopg.OperationalError):
                    connection.execute("SELECT 1")
            begun = time.monotonic()
            while not await asyncio.to_thread(server.responds):
                assert time.monotonic() - begun < READY_S_MAX
            await asyncio.sleep(1.5)
            assert watch.supervisor.ready
            assert server.pid == before

    asyncio.run(scenario())


def test_why_it_cannot_start_is_kept_and_it_goes_on_trying(data_dir: Path) -> None:
    server = BundledServer(data_dir)
    server.start()
    version = server.cluster / "PG_VERSION"
    right = version.read_text()

    async def scenario() -> None:
        async with watched(server) as watch:
            await watch.until(True)
            version.write_text("12\n")
            kill(server)
            await watch.until(False)
            begun = time.monotonic()
            while watch.supervisor.fault is None:
                assert time.monotonic() - begun < READY_S_MAX
                await asyncio.sleep(0.05)
            assert isinstance(watch.supervisor.fault, EnvironmentFaultError)
            version.write_text(right)
            await watch.until(True)
            assert watch.supervisor.fault is None

    asyncio.run(scenario())


def test_the_watch_ends_while_the_database_is_down(data_dir: Path) -> None:
    server = BundledServer(data_dir)
    server.start()

    async def scenario() -> float:
        async with watched(server) as watch:
            await watch.until(True)
            (server.cluster / "PG_VERSION").write_text("12\n")
            kill(server)
            await watch.until(False)
            begun = time.monotonic()
        return time.monotonic() - begun

    assert asyncio.run(scenario()) < 5.0
    server.stop()
    assert not server.is_alive()


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_survives(data_dir: Path, seed: int) -> None:
    moments = random.Random(seed)
    server = BundledServer(data_dir)
    server.start()
    server.create_database()
    with psycopg.connect(server.owner_dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int PRIMARY KEY, filling text)")
    acknowledged: list[int] = []
    ended = False

    def write() -> None:
        n = 0
        while not ended:
            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(server.owner_dsn(), autocommit=True) as c,
            ):
                while not ended:
                    n += 1
                    c.execute("INSERT INTO kept VALUES (%s, repeat('x', 500))", (n,))
                    acknowledged.append(n)
            time.sleep(0.01)

    async def scenario() -> None:
        nonlocal ended
        async with watched(server) as watch:
            await watch.until(True)
            writer = asyncio.create_task(asyncio.to_thread(write))
            for _ in range(3):
                enough = len(acknowledged) + moments.randrange(20, 300)
                async with asyncio.timeout(READY_S_MAX):
                    while len(acknowledged) < enough:  # noqa: ASYNC110 (filled by a thread)
                        await asyncio.sleep(0.01)
                kill(server)
                await watch.until(False)
                assert await watch.until(True) < READY_S_MAX, f"seed {seed}"
            ended = True
            await writer

    asyncio.run(scenario())
    with psycopg.connect(server.owner_dsn()) as connection:
        kept = {row[0] for row in connection.execute("SELECT n FROM kept").fetchall()}
    assert set(acknowledged) <= kept, f"seed {seed}"
    # What was sent and not acknowledged may be there: at most one row for each crash.
    assert len(kept - set(acknowledged)) <= 3, f"seed {seed}"

"""The bundled PostgreSQL server: started or adopted, awaited and stopped, on one data directory."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from gemel.base.errors import ConflictError, EnvironmentFaultError
from gemel.store import postmaster, sockets
from gemel.store.binaries import account_for
from gemel.store.cluster import OWNER_ROLE, Cluster, unusable
from gemel.store.roles import SERVE_ROLE

__all__ = ["BundledServer", "DirectoryLock", "Holder"]

START_S_MAX = 60.0
FAST_STOP_S_MAX = 20.0
STOP_S_MAX = 30.0
PING_S_MAX = 2
POLL_S = 0.02
BACKOFF_S_MAX = 0.5
LOG_TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that serves a data directory, where it answers, and the certificate that it shows, if any."""

    pid: int
    url: str
    certificate: Path | None = None


class DirectoryLock:
    """The right to serve a data directory, held by one process until it releases it or ends.

    It is an flock on `gemel.lock`, whose descriptor no child process inherits; the file's content tells
    other commands who serves, and where.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir.absolute() / "gemel.lock"
        self._descriptor: int | None = None

    def acquire(self, url: str, certificate: Path | None = None) -> None:
        """Take the lock and write down who holds it.

        Raises ConflictError (DataDirectoryInUse) naming the holder, EnvironmentFaultError
        (DataDirectoryUnusable) where the directory cannot be written.
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise self._in_use() from error
        os.ftruncate(descriptor, 0)
        told = {"pid": os.getpid(), "url": url} | ({"certificate": str(certificate)} if certificate else {})
        os.pwrite(descriptor, json.dumps(told).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; does nothing where it is not held."""
        if self._descriptor is not None:
            # Emptied, not deleted: a waiting process may have the file open already.
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> Holder | None:
        """Return who serves the directory, or None; takes no lock, so that it disturbs nobody."""
        try:
            content = json.loads(self._path.read_text("utf-8"))
            certificate = content.get("certificate")
            holder = Holder(
                int(content["pid"]), str(content["url"]), Path(certificate) if certificate else None
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:  # it lives, as another account
            return holder
        return holder

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise unusable(self._path.parent, str(error)) from error

    def _in_use(self) -> ConflictError:
        holder = self.holder()
        who = f"process {holder.pid}, at {holder.url}" if holder else "a process that is just starting"
        return ConflictError(
            "DataDirectoryInUse",
            f"The data directory {self._path.parent} is served by {who}.",
            "Use that one, stop it first, or choose another directory with --data.",
        )


class BundledServer:
    """PostgreSQL on `data_dir`/postgres, reached over a Unix socket alone, logging to postgres.log.

    Whoever calls `start` or `stop` holds the DirectoryLock. `changes` replaces settings of pgconfig.
    The server runs in its own session and outlives its starter: the next one adopts it.
    """

    def __init__(self, data_dir: Path, *, changes: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "postgres.log"
        self._changes = dict(changes or {})
        self._pid: int | None = None
        self._socket_dir: Path | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, where it was started or adopted."""
        return self._pid

    def start(self, timeout_s: float = START_S_MAX) -> None:
        """Make the cluster if there is none, start PostgreSQL or adopt it if it runs, wait until it is ready.

        Raises EnvironmentFaultError (DatabaseFailed or DataDirectoryUnusable).
        """
        try:
            self._start(time.monotonic() + timeout_s)
        except OSError as error:
            raise self._failed(str(error)) from error

    def _start(self, deadline: float) -> None:
        cluster = Cluster.prepare(self.data_dir, self._changes)
        socket_dir = sockets.choose(self.data_dir, cluster.account)
        backoff_s = POLL_S
        while True:
            # One that is adopted may be about to die of the kill that brought us here.
            if self._adopt() and self._becomes_ready(deadline):
                return
            pid = cluster.launch(socket_dir)
            if pid is not None:
                self._pid, self._socket_dir = pid, socket_dir
                self.wait_ready(deadline - time.monotonic())
                return
            if time.monotonic() > deadline:
                raise self._failed("a PostgreSQL that is not to be seen from here uses the same files")
            # What a killed postmaster left keeps the cluster until it is gone.
            postmaster.kill_all(postmaster.marker(self.cluster))
            time.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    def stop(self) -> None:
        """Shut PostgreSQL down: clients are disconnected, and everything is on disk when this returns.

        Where it does not run, only what a killed one left is cleared away. Raises EnvironmentFaultError
        (DatabaseFailed) if it does not end.
        """
        if not (self.cluster / "PG_VERSION").exists():
            return
        mark = postmaster.marker(self.cluster)
        state = self._running()
        if state is None:
            postmaster.kill_all(mark)  # left behind by a postmaster that was killed
            sockets.clear(self._known_socket_dir(), remove=True)
            return
        begun = time.monotonic()
        signals = [(FAST_STOP_S_MAX, signal.SIGQUIT), (0.0, signal.SIGINT)]
        while postmaster.alive(state.pid, mark):
            waited_s = time.monotonic() - begun
            if signals and waited_s >= signals[-1][0]:
                with suppress(ProcessLookupError):
                    os.kill(state.pid, signals.pop()[1])
            if waited_s > STOP_S_MAX:
                raise self._failed(f"process {state.pid} did not end within {STOP_S_MAX:.0f} s")
            time.sleep(POLL_S)
        self._pid = None
        sockets.clear(state.socket_dir, remove=True)

    def is_alive(self) -> bool:
        """Say whether the postmaster that was started or adopted lives; costs microseconds."""
        try:
            return self._pid is not None and postmaster.alive(self._pid, postmaster.marker(self.cluster))
        except FileNotFoundError:  # somebody deleted the cluster
            return False

    def responds(self) -> bool:
        """Say whether the server accepts connections now; costs a connection, and at most 2 s."""
        info = make_conninfo(self.owner_dsn("postgres"), connect_timeout=PING_S_MAX)
        return PGconn.ping(info.encode()) == Ping.OK

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the server accepts connections, crash recovery included.

        Raises EnvironmentFaultError (DatabaseFailed) if it ends, or is not ready after `timeout_s`.
        """
        if not self._becomes_ready(time.monotonic() + timeout_s):
            self._pid = None
            raise self._failed(self._last_words())

    def owner_dsn(self, dbname: str = "gemel") -> str:
        """Return the connection string of the owner, who migrates and retains.

        It needs no start before: it is that of the server that runs, or would run, on the directory.
        """
        return self._dsn(OWNER_ROLE, dbname)

    def serve_dsn(self, dbname: str = "gemel") -> str:
        """Return the connection string of the role that serves under row-level security."""
        return self._dsn(SERVE_ROLE, dbname)

    def create_database(self, name: str = "gemel") -> bool:
        """Create a database where it is missing; say whether it was."""
        with psycopg.connect(self.owner_dsn("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone():
                return False
            with suppress(errors.DuplicateDatabase):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                return True
        return False

    def _dsn(self, user: str, dbname: str) -> str:
        return make_conninfo(host=str(self._known_socket_dir()), port=sockets.PORT, user=user, dbname=dbname)

    def _known_socket_dir(self) -> Path:
        if self._socket_dir is None and self._running() is None:
            self._socket_dir = sockets.choose(self.data_dir, account_for(self.cluster))
        assert self._socket_dir is not None
        return self._socket_dir

    def _running(self) -> postmaster.Postmaster | None:
        state = postmaster.read_pid_file(self.cluster)
        if state is None or not postmaster.alive(state.pid, postmaster.marker(self.cluster)):
            return None
        self._pid, self._socket_dir = state.pid, state.socket_dir
        return state

    def _becomes_ready(self, deadline: float) -> bool:
        """Wait until the server is ready; False if it ends instead."""
        while self.is_alive():
            state = postmaster.read_pid_file(self.cluster)
            if state and state.pid == self._pid and state.status == "ready" and self.responds():
                return True
            if time.monotonic() > deadline:
                raise self._failed("it lives, but is not ready in time")
            time.sleep(POLL_S)
        return False

    def _adopt(self) -> bool:
        state = self._running()
        if state is not None and state.status == "stopping":
            self.stop()  # somebody told it to end, and ended before it did
            return False
        return state is not None

    def _last_words(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(self.log.stat().st_size - LOG_TAIL_BYTES, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
        grave = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return (grave or lines or ["it ended without a word"])[-1]

    def _failed(self, reason: str) -> EnvironmentFaultError:
        return EnvironmentFaultError(
            "DatabaseFailed",
            f"PostgreSQL on {self.cluster} failed: {reason}.",
            f"Read the end of {self.log}.",
        )

"""The bundled PostgreSQL server: made, started, adopted, stopped, on one data directory."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from gemel.base.errors import ConflictError, EnvironmentFaultError, GemelError
from gemel.store import pgconfig, postmaster
from gemel.store.binaries import Account, account_for, locate, usable_by
from gemel.store.roles import SERVE_ROLE

__all__ = ["OWNER_ROLE", "BundledServer", "DirectoryLock", "Holder"]

OWNER_ROLE = "gemel_owner"
PORT = 5432
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
SOCKET_BYTES_MAX = 100
LOG_BYTES_MAX = 10 << 20
START_S_MAX = 60.0
FAST_STOP_S_MAX = 20.0
STOP_S_MAX = 30.0
POLL_S = 0.02
BACKOFF_S_MAX = 0.5
# File systems that cannot lock a folder say one of these; PostgreSQL's own checks then stand alone.
CANNOT_LOCK = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that serves a data directory, and where it answers."""

    pid: int
    url: str


class DirectoryLock:
    """The right to serve a data directory, held by one process until it releases it or ends.

    It is an flock on `gemel.lock`, whose descriptor no child process inherits; the file's content tells
    other commands who serves, and where.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "gemel.lock"
        self._descriptor: int | None = None

    def acquire(self, url: str) -> None:
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
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
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
            holder = Holder(int(content["pid"]), str(content["url"]))
            os.kill(holder.pid, 0)
        except PermissionError:  # it lives, as another account
            return holder
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return holder

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _directory_unusable(self._path.parent, str(error)) from error

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
        deadline = time.monotonic() + timeout_s
        self._make_data_dir()
        account = account_for(self.cluster)
        if not self.cluster.exists():
            self._initialise(account)
        backoff_s = POLL_S
        while not (self._adopt() or self._launch(account)):
            # What a killed postmaster left keeps the cluster until it is gone.
            postmaster.kill_all(postmaster.marker(self.cluster))
            if time.monotonic() > deadline:
                raise self._failed("a PostgreSQL that is not ours, or out of sight, uses the same files")
            time.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
        self.wait_ready(max(deadline - time.monotonic(), POLL_S))

    def stop(self) -> None:
        """Shut PostgreSQL down: clients are disconnected, everything is on disk when this returns.

        Does nothing where it does not run. Raises EnvironmentFaultError (DatabaseFailed) if it does not end.
        """
        if not self.is_alive() and not self._find():
            return
        pid = self._pid
        assert pid is not None
        mark = postmaster.marker(self.cluster)
        begun = time.monotonic()
        self._signal(signal.SIGINT)
        escalated = False
        while postmaster.alive(pid, mark):
            waited_s = time.monotonic() - begun
            if waited_s > STOP_S_MAX:
                raise self._failed(f"process {pid} does not end, {waited_s:.0f} s after it was told to")
            if waited_s > FAST_STOP_S_MAX and not escalated:
                escalated = True
                self._signal(signal.SIGQUIT)
            time.sleep(POLL_S)
        self._pid = None
        self._remove_socket_dir()

    def is_alive(self) -> bool:
        """Say whether the postmaster process that was started or adopted lives; costs microseconds."""
        try:
            return self._pid is not None and postmaster.alive(self._pid, postmaster.marker(self.cluster))
        except OSError:  # the cluster folder is gone
            return False

    def responds(self) -> bool:
        """Say whether the server accepts connections now; costs a connection, at most 2 s."""
        if self._socket_dir is None:
            return False
        info = make_conninfo(self.owner_dsn("postgres"), connect_timeout=2)
        return PGconn.ping(info.encode()) == Ping.OK

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the server accepts connections, crash recovery included.

        Raises EnvironmentFaultError (DatabaseFailed) if it ends, or is not ready after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            state = postmaster.read_pid_file(self.cluster)
            if state and state.pid == self._pid and state.status == "ready" and self.responds():
                return
            if not self.is_alive():
                self._pid = None
                raise self._failed(self._last_words())
            if time.monotonic() > deadline:
                raise self._failed(f"it is not ready after {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def owner_dsn(self, dbname: str = "gemel") -> str:
        """Return the connection string of the owner, who migrates and retains."""
        return self._dsn(OWNER_ROLE, dbname)

    def serve_dsn(self, dbname: str = "gemel") -> str:
        """Return the connection string of the role that serves under row-level security."""
        return self._dsn(SERVE_ROLE, dbname)

    def create_database(self, name: str = "gemel") -> bool:
        """Create a database where it is missing; say whether it was."""
        with psycopg.connect(self.owner_dsn("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if found is not None:
                return False
            with suppress(errors.DuplicateDatabase):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                return True
        return False

    def _dsn(self, user: str, dbname: str) -> str:
        folder = self._socket_dir or self._choose_socket_dir()
        return make_conninfo(host=str(folder), port=PORT, user=user, dbname=dbname)

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            staging = self.data_dir / "postgres.new"
            if staging.exists():  # an initdb was interrupted
                shutil.rmtree(staging)
            if self.cluster.exists() and not any(self.cluster.iterdir()):
                self.cluster.rmdir()
            if self.cluster.exists() and not (self.cluster / "PG_VERSION").exists():
                raise _directory_unusable(self.data_dir, f"{self.cluster} is not a PostgreSQL cluster")
        except OSError as error:
            raise _directory_unusable(self.data_dir, str(error)) from error

    def _initialise(self, account: Account) -> None:
        staging = self.data_dir / "postgres.new"
        staging.mkdir(mode=0o700)
        if account.foreign:
            os.chown(staging, account.uid, account.gid)
        # --locale=C for the operating system's part: C.UTF-8 is not on every machine, the built-in one is.
        options = (
            f"--username={OWNER_ROLE}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            "--auth-local=peer",
            "--auth-host=reject",
            "--no-instructions",
            *(("--no-sync",) if self._changes.get("fsync") == "off" else ()),
        )
        with _opened(staging) as folder:
            command = self._command(account, "initdb", folder, *options)
            result = subprocess.run(  # noqa: S603
                command, pass_fds=(folder,), cwd="/", env=_environment(), capture_output=True, **account.popen()
            )
        if result.returncode:
            words = result.stderr.decode("utf-8", "replace").strip()
            raise self._failed(f"initdb: {words}")
        # Renamed when whole, so that an interrupted initdb leaves no half cluster behind.
        staging.rename(self.cluster)

    def _find(self) -> postmaster.Postmaster | None:
        """Take note of a running postmaster of this cluster, and return it."""
        state = postmaster.read_pid_file(self.cluster)
        if state is None or not postmaster.alive(state.pid, postmaster.marker(self.cluster)):
            return None
        self._pid, self._socket_dir = state.pid, state.socket_dir
        return state

    def _adopt(self) -> bool:
        state = self._find()
        if state and state.status == "stopping":
            self.stop()
            return False
        return state is not None

    def _launch(self, account: Account) -> bool:
        """Start a postmaster; False where processes of an earlier one still hold the cluster."""
        mark = postmaster.marker(self.cluster)
        with _opened(self.cluster) as folder:
            # Every PostgreSQL process inherits this lock, so it is free only when the last of them is gone:
            # also those of another container, which neither process ids nor shared memory would tell of.
            if not _lock(folder):
                return False
            self._socket_dir = self._make_socket_dir(account)
            self._write_configuration(folder, account)
            with suppress(FileNotFoundError):
                # Nobody holds the cluster, so it is stale; PostgreSQL would refuse it for ever if the
                # process id in it was taken by another process of the same account meanwhile.
                (self.cluster / "postmaster.pid").unlink()
            command = self._command(account, "postgres", folder, "-c", f"cluster_name={mark}")
            with self._opened_log() as log:
                # Its own session: a Ctrl-C in the terminal must not reach it before the last flush.
                child = subprocess.Popen(  # noqa: S603
                    command,
                    pass_fds=(folder,),
                    cwd="/",
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **account.popen(),
                )
        self._pid = child.pid
        # From here on `postmaster.alive` reaps it, as it does one that was adopted.
        child.returncode = 0
        return True

    def _command(self, account: Account, program: str, folder: int, *options: str) -> list[str]:
        install = usable_by(account, locate())
        # Another account may be barred from a folder above the cluster. Through the open descriptor it gets
        # there without asking them, so that nobody's rights are widened.
        path = f"/proc/self/fd/{folder}" if account.foreign else f"{os.readlink(f'/proc/self/fd/{folder}')}"
        return [str(install / "bin" / program), "-D", path, *options]

    def _write_configuration(self, folder: int, account: Account) -> None:
        socket_dir = str(self._socket_dir).replace('"', '""')
        changes = {"unix_socket_directories": f'"{socket_dir}"', **self._changes}
        user = account_name()
        for name, text in (
            ("postgresql.conf", pgconfig.render_settings(changes)),
            ("pg_hba.conf", pgconfig.render_access()),
            ("pg_ident.conf", pgconfig.render_users(user)),
        ):
            _write(folder, name, text, account)

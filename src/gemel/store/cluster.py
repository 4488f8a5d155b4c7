"""The folder of the database's files: made by initdb, locked, configured, and a postmaster put on it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gemel.base.errors import EnvironmentFaultError
from gemel.store import pgconfig, postmaster, sockets
from gemel.store.binaries import Account, account_for, locate, usable_by

__all__ = ["OWNER_ROLE", "Cluster", "unusable"]

OWNER_ROLE = "gemel_owner"
LOG_BYTES_MAX = 10 << 20
# File systems that cannot lock a folder say one of these; PostgreSQL's own checks then stand alone.
CANNOT_LOCK = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
INITDB = (
    f"--username={OWNER_ROLE}",
    "--encoding=UTF8",
    # C for the operating system's part: C.UTF-8 is not on every machine, the built-in one is.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    "--auth-local=peer",
    "--auth-host=reject",
    "--no-instructions",
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """`data_dir`/postgres, the account that runs PostgreSQL there, and settings that replace pgconfig's."""

    data_dir: Path
    account: Account
    changes: Mapping[str, str]

    @classmethod
    def prepare(cls, data_dir: Path, changes: Mapping[str, str]) -> Cluster:
        """Make the data directory and the cluster in it, where they are missing.

        Raises EnvironmentFaultError (DataDirectoryUnusable or DatabaseFailed).
        """
        path = data_dir / "postgres"
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (data_dir / "postgres.new").exists():  # an initdb was interrupted
                shutil.rmtree(data_dir / "postgres.new")
            if path.exists() and not any(path.iterdir()):
                path.rmdir()
            if path.exists() and not (path / "PG_VERSION").exists():
                raise unusable(data_dir, f"{path} holds other files than a PostgreSQL cluster's")
            cluster = cls(data_dir, account_for(path), changes)
            if not path.exists():
                cluster._initialise()
        except OSError as error:
            raise unusable(data_dir, str(error)) from error
        return cluster

    @property
    def path(self) -> Path:
        """The folder of the cluster."""
        return self.data_dir / "postgres"

    def launch(self, socket_dir: Path) -> int | None:
        """Start a postmaster and return its process id; None where another still holds the cluster."""
        with _opened(self.path) as folder:
            # Every PostgreSQL process inherits this lock, so it is free only when the last of them is gone:
            # also those of another container, of which neither process ids nor shared memory tell.
            if not _lock(folder):
                return None
            self._discard_stale(socket_dir)
            sockets.make(socket_dir, self.account)
            self._configure(folder, socket_dir)
            mark = f"cluster_name={postmaster.marker(self.path)}"
            command = self._command("postgres", self.path, folder, "-c", mark)
            with _opened_log(self.data_dir / "postgres.log") as log:
                child = subprocess.Popen(  # noqa: S603
                    command,
                    pass_fds=(folder,),
                    cwd="/",
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A Ctrl-C in the terminal must not reach it before the last flush.
                    start_new_session=True,
                    **self.account.popen(),
                )
        # It outlives us by intent: `postmaster.alive` reaps it, as it looks after one that was adopted.
        child.returncode = 0
        return child.pid

    def _initialise(self) -> None:
        staging = self.data_dir / "postgres.new"
        staging.mkdir(mode=0o700)
        if self.account.foreign:
            os.chown(staging, self.account.uid, self.account.gid)
        no_sync = ("--no-sync",) if self.changes.get("fsync") == "off" else ()
        with _opened(staging) as folder:
            result = subprocess.run(  # noqa: S603
                self._command("initdb", staging, folder, *INITDB, *no_sync),
                pass_fds=(folder,),
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                **self.account.popen(),
            )
        if result.returncode:
            words = result.stderr.decode("utf-8", "replace").strip()
            raise EnvironmentFaultError(
                "DatabaseFailed",
                f"The database in {self.path} could not be made: {words}",
                "See whether the disk is full and the folder's file system keeps owners and rights.",
            )
        # Renamed when whole: an interrupted initdb leaves no half cluster behind.
        staging.rename(self.path)

    def _command(self, program: str, path: Path, folder: int, *options: str) -> list[str]:
        install = usable_by(self.account, locate())
        # Another account may be barred from a folder above the cluster. Through the open descriptor it gets
        # there without asking them, and nobody's rights need to be widened.
        place = f"/proc/self/fd/{folder}" if self.account.foreign else str(path)
        return [str(install / "bin" / program), "-D", place, *options]

    def _discard_stale(self, socket_dir: Path) -> None:
        # Nobody holds the cluster, so these are left from a crash. PostgreSQL would refuse to start if the
        # process id in them had gone to another process of the account, as after a container's restart.
        state = postmaster.read_pid_file(self.path)
        if state is None or not postmaster.is_postgres(state.pid):
            with suppress(FileNotFoundError):
                (self.path / postmaster.PID_FILE).unlink()
            if socket_dir.exists():
                sockets.clear(socket_dir, remove=False)

    def _configure(self, folder: int, socket_dir: Path) -> None:
        quoted = str(socket_dir).replace('"', '""')
        changes = {"unix_socket_directories": f'"{quoted}"', **self.changes}
        _write(folder, "postgresql.conf", pgconfig.render_settings(changes), self.account)
        _write(folder, "pg_hba.conf", pgconfig.render_access(), self.account)
        _write(folder, "pg_ident.conf", pgconfig.render_users(self.account.caller), self.account)


def unusable(data_dir: Path, reason: str) -> EnvironmentFaultError:
    """Return the error that says that a data directory cannot be used, and why."""
    return EnvironmentFaultError(
        "DataDirectoryUnusable",
        f"The data directory {data_dir} cannot be used: {reason}.",
        "Check its path and rights, or choose another with --data.",
    )


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise
    return True


@contextmanager
def _opened_log(path: Path) -> Iterator[int]:
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(folder: int, name: str, text: str, account: Account) -> None:
    # The folder may be another account's, which must not lead root's pen elsewhere with a link.
    fresh = f".{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(fresh, flags, 0o600, dir_fd=folder), "w", encoding="utf-8") as file:
        if account.foreign:
            os.fchown(file.fileno(), account.uid, account.gid)
        file.write(text)
    os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)


def _environment() -> dict[str, str]:
    # Little: another account may read it, and a PG variable of the user's is not meant for this server.
    keep = ("PATH", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in keep if name in os.environ} | {"LC_ALL": "C"}

"""The platform that the demo talks to: the one that serves the data directory already, or a child of ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from gemel.base.errors import EnvironmentFaultError, UnauthenticatedError
from gemel.base.settings import Settings
from gemel.connectors.sender import Server
from gemel.security.tls import pinned
from gemel.store.cluster import unusable
from gemel.store.server import BundledServer, DirectoryLock, Holder

__all__ = ["Access", "Connect", "Platform", "open_platform"]

Connect = Callable[[Holder, str], AbstractContextManager[Server]]
"""Opens a client of the server on a data directory, with a key."""

KEY_FILE = "default.key"
LOG_FILE = "demo.log"
READY_S_MAX = 60.0
STOP_S_MAX = 45.0  # the server lets requests end for 10 s, the database has 30 s
PROBE_S_MAX = 2.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to reach a platform: its data directory and environment, and how clients are made."""

    settings: Settings
    connect: Connect


class Platform:
    """A running platform: where it answers, and how to call it. `own` says whether it ends with the demo."""

    def __init__(self, access: Access, holder: Holder, child: subprocess.Popen[bytes] | None) -> None:
        self.url = holder.url
        self.own = child is not None
        self._holder = holder
        self._connect = access.connect
        self._key = _key(access.settings)
        self._log = access.settings.data_dir / LOG_FILE
        self._child = child

    def client(self) -> AbstractContextManager[Server]:
        """Return a client of it, as a context manager."""
        return self._connect(self._holder, self._key)

    def check(self) -> None:
        """Raise EnvironmentFaultError where the platform is ours and has ended."""
        if self._child is not None and self._child.poll() is not None:
            raise _ended(self._child, self._log)


@contextmanager
def open_platform(access: Access, port: int, interrupted: Callable[[], bool]) -> Iterator[Platform | None]:
    """Give the platform of the data directory, ready; one that had to be started is stopped afterwards.

    None where `interrupted` became true before it was ready. A platform that was there before is left as it
    is. Raises EnvironmentFaultError with the code that `gemel up` gave (PortInUse, DatabaseFailed, ...).
    """
    settings = access.settings
    holder = _served(settings.data_dir)
    if holder is not None:
        yield Platform(access, holder, None)
        return
    child = _start(settings.data_dir, port)
    try:
        holder = _wait_ready(child, settings.data_dir, interrupted)
        yield None if holder is None else Platform(access, holder, child)
    finally:
        _stop(child, settings)


def _served(data_dir: Path) -> Holder | None:
    """Return who serves the directory and answers; one that does not answer may be a leftover."""
    holder = DirectoryLock(data_dir).holder()
    if holder is None or not holder.url.startswith("http"):
        return None
    deadline_s = time.monotonic() + READY_S_MAX
    while (status := _probe(holder)) is not None:
        if status == httpx.codes.OK:
            return holder
        if time.monotonic() > deadline_s:
            raise EnvironmentFaultError(
                "ServerUnreachable",
                f"The platform at {holder.url} (process {holder.pid}) does not become ready.",
                "Look at its log, or stop it.",
            )
        time.sleep(POLL_S)
    return None


def _start(data_dir: Path, port: int) -> subprocess.Popen[bytes]:
    command = ["-m", "gemel", "up", "--data", str(data_dir), "--port", str(port), "--json"]
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise unusable(data_dir, str(error)) from error
    try:
        # Its own session: a Ctrl-C of the terminal is ours, and reaches the platform when nothing is under way.
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _wait_ready(
    child: subprocess.Popen[bytes], data_dir: Path, interrupted: Callable[[], bool]
) -> Holder | None:
    lock = DirectoryLock(data_dir)
    deadline_s = time.monotonic() + READY_S_MAX
    while not interrupted():
        if child.poll() is not None:
            raise _ended(child, data_dir / LOG_FILE)
        holder = lock.holder()
        if holder is not None and holder.pid == child.pid and _probe(holder) == httpx.codes.OK:
            return holder
        if time.monotonic() > deadline_s:
            raise EnvironmentFaultError(
                "ServerUnreachable",
                f"The platform was not ready after {READY_S_MAX:.0f} s.",
                f"Read the end of {data_dir / LOG_FILE}.",
            )
        time.sleep(POLL_S)
    return None


def _stop(child: subprocess.Popen[bytes], settings: Settings) -> None:
    """Stop the platform in order, and whatever of it is left if that fails."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_S_MAX)
    if child.poll() is None:
        child.kill()
        child.wait()
    if child.returncode != 0 and not settings.database_url:
        _stop_database(settings.data_dir)


def _stop_database(data_dir: Path) -> None:
    """Stop the database of a platform that ended without doing so, unless another one has taken it up."""
    holder = DirectoryLock(data_dir).holder()
    if holder is None:
        lock = DirectoryLock(data_dir)
        lock.acquire("")
        try:
            BundledServer(data_dir).stop()
        finally:
            lock.release()


def _probe(holder: Holder) -> int | None:
    """Return the status of /readyz, or None where nothing listens."""
    trust = True if holder.certificate is None else pinned(holder.certificate)
    try:
        return httpx.get(
            f"{holder.url}/readyz", timeout=PROBE_S_MAX, trust_env=False, verify=trust
        ).status_code
    except httpx.ConnectError:
        return None
    except httpx.TransportError:  # it listens, and is not done with starting
        return 0


def _ended(child: subprocess.Popen[bytes], log: Path) -> EnvironmentFaultError:
    """Return why the platform ended: the error that it printed last, as it stands in its log."""
    lines = log.read_text("utf-8", "replace").splitlines()
    for line in reversed(lines):
        with suppress(ValueError, KeyError, TypeError):
            error = json.loads(line)["error"]
            return EnvironmentFaultError(str(error["code"]), str(error["message"]), error["next"])
    return EnvironmentFaultError(
        "ServerUnreachable",
        f"The platform ended with status {child.returncode}.",
        f"Read the end of {log}.",
    )


def _key(settings: Settings) -> str:
    file = settings.data_dir / KEY_FILE
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        if settings.key:
            return settings.key
        message = f"The key file {file} cannot be read: {error.strerror}."
        raise UnauthenticatedError(
            "TokenInvalid", message, "Set GEMEL_KEY to a key with all scopes."
        ) from error

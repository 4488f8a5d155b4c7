"""What `gemel doctor` looks at: gathered here once, judged in `gemel.cli.checks`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from gemel.base.errors import GemelError, NotFoundError, UnauthenticatedError
from gemel.base.settings import Settings
from gemel.cli.operate import database_fault

__all__ = ["ColdFacts", "Facts", "QueueFacts", "ServerFacts", "gather", "skew_s"]

EXTRAS = {"arrow": "pyarrow", "grpc": "grpc"}
PROGRAMS = ("postgres", "initdb", "pg_dump", "pg_restore")
PROGRAM_S_MAX = 20
RATE_S = 3.0
"""For how long at least it is counted what sources bring."""


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What the broker of a source kept of messages to a client that was away; `fault` is why that is not known.

    `per_s` is how many events a second the source brought meanwhile.
    """

    source: str
    sent: int = 0
    kept: int = 0
    fault: GemelError | None = None
    per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What was seen of the server. `fault` is why it was not reached, `key_fault` why the key is refused.

    `queues` are what brokers keep, None where they were not asked.
    """

    url: str = ""
    fault: GemelError | None = None
    ready: bool = False
    ready_fault: str = ""
    skew_s: float | None = None
    key_fault: GemelError | None = None
    scopes: tuple[str, ...] | None = None
    quarantined: int | None = None
    queues: tuple[QueueFacts, ...] | None = None


@dataclass(frozen=True, slots=True)
class ColdFacts:
    """How many weeks are frozen, which of their files are gone or of another size, and why that is not known."""

    weeks: int
    bad: tuple[str, ...] = ()
    fault: GemelError | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of this machine. A mode is None where there is no such file.

    `certificate` is the one that the server shows, good for `certificate_days` yet.
    `locks` is max_locks_per_transaction of the user's own PostgreSQL, where it answers.
    `holder_pid` is the server on the data directory, `orphan_pid` a database there that its server left behind.
    """

    settings: Settings
    port: int
    python: tuple[int, int] = (0, 0)
    extras_missing: tuple[str, ...] = ()
    data_dir_mode: int | None = None
    data_dir_writable: bool = False
    key_mode: int | None = None
    certificate: Path | None = None
    certificate_days: float = 0.0
    certificate_fault: GemelError | None = None
    free_bytes: int = 0
    port_fault: str = ""
    programs: dict[str, str] = field(default_factory=dict)
    programs_fault: GemelError | None = None
    holder_pid: int | None = None
    orphan_pid: int | None = None
    pending: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()
    schema_fault: GemelError | None = None
    locks: int | None = None
    cold: ColdFacts | None = None
    server: ServerFacts = field(default_factory=ServerFacts)


def gather(settings: Settings, port: int, *, probe: bool = False) -> Facts:
    """Look at this machine, the data directory and the server; nothing is changed or started.

    With `probe`, the server tries out what the brokers of its sources keep.
    """
    from gemel.store.server import DirectoryLock

    folder = settings.data_dir
    holder = DirectoryLock(folder).holder()
    certificate = holder.certificate if holder else None
    days, certificate_fault = _days_left(certificate)
    programs, programs_fault = _programs(settings)
    pending, unknown, schema_fault = _schema(settings, running=holder is not None)
    return Facts(
        settings=settings,
        port=port,
        python=(sys.version_info.major, sys.version_info.minor),
        extras_missing=tuple(name for name, module in EXTRAS.items() if not importlib.util.find_spec(module)),
        data_dir_mode=_mode(folder),
        data_dir_writable=os.access(folder, os.W_OK | os.X_OK),
        key_mode=_mode(folder / "default.key"),
        certificate=certificate,
        certificate_days=days,
        certificate_fault=certificate_fault,
        free_bytes=shutil.disk_usage(_existing(folder)).free,
        port_fault=_port_fault(port),
        programs=programs,
        programs_fault=programs_fault,
        holder_pid=holder.pid if holder else None,
        orphan_pid=None if holder or settings.database_url else _orphan(folder),
        pending=pending,
        unknown=unknown,
        schema_fault=schema_fault,
        locks=_locks(settings),
        cold=_cold(settings, running=holder is not None) if pending == () else None,
        server=_server(settings, probe=probe),
    )


def _orphan(folder: Path) -> int | None:
    """Return the process of the database that runs on a data directory with no server, or None."""
    from gemel.store.postmaster import alive, marker, read_pid_file

    cluster = folder / "postgres"
    try:
        state = read_pid_file(cluster)
        return state.pid if state and alive(state.pid, marker(cluster)) else None
    except OSError:
        return None


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _days_left(certificate: Path | None) -> tuple[float, GemelError | None]:
    if certificate is None:
        return 0.0, None
    from gemel.security.certificate import days_left

    try:
        return days_left(certificate), None
    except GemelError as error:
        return 0.0, error


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _port_fault(port: int) -> str:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return str(error.strerror)
    return ""


def _programs(settings: Settings) -> tuple[dict[str, str], GemelError | None]:
    """Return what each bundled program says of its version, or the error that finding them raised."""
    if settings.database_url:
        return {}, None
    from gemel.store.binaries import locate

    try:
        folder = locate() / "bin"
    except GemelError as error:
        return {}, error
    return {name: _version(folder / name) for name in PROGRAMS}, None


def _version(program: Path) -> str:
    try:
        told = subprocess.run(  # noqa: S603 — a program of the wheel, found by its package
            [str(program), "--version"], capture_output=True, text=True, check=False, timeout=PROGRAM_S_MAX
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""


def _schema(
    settings: Settings, *, running: bool
) -> tuple[tuple[str, ...] | None, tuple[str, ...], GemelError | None]:
    """Return the migrations that are missing, those that this program does not know, and what went wrong."""
    if not (running or settings.database_url):
        return None, (), None
    import psycopg

    from gemel.app import operator
    from gemel.store.migrate import applied, available

    try:
        with operator(settings, migrated=False) as acting:
            done = applied(acting.owner_dsn)
    except GemelError as error:
        return None, (), error
    except psycopg.Error as error:
        return None, (), database_fault(error)
    known = [step.name for step in available()]
    missing = tuple(name for name in known if name not in done)
    return missing, tuple(name for name in done if name not in known), None


def _cold(settings: Settings, *, running: bool) -> ColdFacts | None:
    """Compare what is frozen with what its store has; None where the database is not to be had."""
    if not (running or settings.database_url):
        return None
    import psycopg

    from gemel.app import operator
    from gemel.history.cold_weeks import read_cold_weeks
    from gemel.store.blobs import open_blobs

    weeks = []
    try:
        with operator(settings, migrated=False) as acting:
            weeks = read_cold_weeks(acting.owner_dsn)
        there = (
            {each.name: each.bytes for each in open_blobs(settings.cold_store).listed("")} if weeks else {}
        )
    except GemelError as error:
        return ColdFacts(len(weeks), (), error)
    except psycopg.Error as error:
        return ColdFacts(0, (), database_fault(error))
    return ColdFacts(len(weeks), tuple(week.file for week in weeks if there.get(week.file) != week.bytes))


def _locks(settings: Settings) -> int | None:
    if not settings.database_url:
        return None
    import psycopg

    from gemel.store.pgconfig import locks_per_transaction

    try:
        return locks_per_transaction(settings.database_url)
    except psycopg.Error:
        return None  # the check of the schema says why


def _server(settings: Settings, *, probe: bool) -> ServerFacts:
    from gemel.cli.client import Client, locate

    try:
        address = locate(settings)
    except UnauthenticatedError as error:
        return ServerFacts(key_fault=error)
    except GemelError as error:
        return ServerFacts(fault=error)
    with Client(address) as client:
        try:
            before_s = time.time()
            answer = client.send("GET", "/healthz")
            skew = skew_s(answer.headers.get("Date"), before_s, time.time())
        except GemelError as error:
            return ServerFacts(url=address.url, fault=error)
        return _served(client, address.key, skew, probe=probe)


def _served(client: Any, key: str, skew: float | None, *, probe: bool) -> ServerFacts:
    ready_fault, key_fault, scopes, quarantined = "", None, None, None
    queues = None
    try:
        client.send("GET", "/readyz")
    except GemelError as error:
        ready_fault = error.message
    try:
        scopes = _scopes(client, key)
        if scopes is None or "read" in scopes:
            quarantined = int(client.get("/v1/stats")["quarantined"])
            queues = _queues(client) if probe else None
    except GemelError as error:
        key_fault = error
    return ServerFacts(
        url=client.url,
        ready=not ready_fault,
        ready_fault=ready_fault,
        skew_s=skew,
        key_fault=key_fault,
        scopes=scopes,
        quarantined=quarantined,
        queues=queues,
    )


def _queues(client: Any) -> tuple[QueueFacts, ...]:
    """Return what the broker of each MQTT source keeps, and how much each source brings meanwhile."""
    before, began_s = _events(client), time.monotonic()
    found = []
    for name in before:
        try:
            told = client.call("POST", f"/v1/sources/{name}/probe")
            found.append(QueueFacts(name, told["sent"], told["kept"]))
        except GemelError as error:
            found.append(QueueFacts(name, fault=error))
    time.sleep(max(0.0, RATE_S * bool(found) - (time.monotonic() - began_s)))
    after, over_s = _events(client), time.monotonic() - began_s
    return tuple(
        replace(each, per_s=max(0, after.get(each.source, 0) - before[each.source]) / over_s)
        for each in found
    )


def _events(client: Any) -> dict[str, int]:
    """Return how many events each MQTT source has brought."""
    listed = client.get("/v1/sources")["value"]
    return {each["name"]: each["counts"]["events"] for each in listed if each["kind"] == "mqtt"}


def _scopes(client: Any, key: str) -> tuple[str, ...] | None:
    """Return the scopes of the key where it may see keys (scope admin), else None."""
    from gemel.base.errors import ForbiddenError

    try:
        listed = client.get("/v1/keys")["value"]
    except ForbiddenError:
        return None
    key_id = key.split("_")[2]
    own = next((entry for entry in listed if key_id in entry.values()), None)
    if own is None:
        raise NotFoundError("KeyNotFound", f"The key {key_id} is not among the tenant's keys.")
    return tuple(own["scopes"])


def skew_s(date: str | None, before_s: float, after_s: float) -> float | None:
    """Return how far the clock of a Date header is ahead of ours at least, in s; None where it tells nothing.

    `before_s` and `after_s` are our times of the request and of its answer. The header has whole seconds.
    """
    try:
        server_s = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    if server_s > after_s:
        return server_s - after_s
    return min(server_s + 1 - before_s, 0.0)

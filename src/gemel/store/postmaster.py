"""Which PostgreSQL processes are ours: read from postmaster.pid and the process table, never guessed."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "PID_FILE",
    "Postmaster",
    "alive",
    "is_postgres",
    "kill_all",
    "marker",
    "processes",
    "read_pid_file",
]

PROC = Path("/proc")
PID_FILE = "postmaster.pid"


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What postmaster.pid says: process id, socket folder, and starting, ready or stopping."""

    pid: int
    socket_dir: Path
    status: str


def marker(cluster: Path) -> str:
    """Return the cluster_name of a cluster folder.

    PostgreSQL shows it in the command line of the postmaster and of each child, so that they can be told
    from any other server's. It is the folder's identity, not its path: the folder may be moved while it runs.
    """
    status = cluster.stat()
    return f"gemel-{status.st_dev:x}-{status.st_ino:x}"


def read_pid_file(cluster: Path) -> Postmaster | None:
    """Return what postmaster.pid says, or None where there is none or it is only half written."""
    try:
        lines = (cluster / PID_FILE).read_text("utf-8", "surrogateescape").splitlines()
        return Postmaster(int(lines[0]), Path(lines[4]), lines[7].strip())
    except (FileNotFoundError, IndexError, ValueError):
        return None


def alive(pid: int, mark: str) -> bool:
    """Say whether process `pid` lives and is a PostgreSQL process that carries `mark`.

    A child of ours that ended is reaped on the way.
    """
    try:
        living_child = os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        living_child = False
    # A child that was just started shows no command line for a moment; one that ended shows none either.
    return _carries(pid, mark) or (living_child and not _command(pid))


def is_postgres(pid: int) -> bool:
    """Say whether process `pid` lives and is a PostgreSQL process, of whichever cluster."""
    return _names_postgres(_command(pid))


def processes(mark: str) -> list[int]:
    """Return the process ids that carry `mark`: a postmaster and its children, or what it left behind."""
    return [pid for pid in _pids() if _carries(pid, mark)]


def kill_all(mark: str) -> int:
    """Kill what a dead postmaster left behind; return how many processes that were.

    A backend in the middle of a long query does not notice the death of its postmaster, and PostgreSQL does
    not start again until it is gone. Crash recovery follows in any case, so nothing is lost by SIGKILL.
    """
    pids = processes(mark)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)


def _carries(pid: int, mark: str) -> bool:
    command = _command(pid)
    return mark in command and _names_postgres(command)


def _names_postgres(command: str) -> bool:
    return "postgres" in command.split("\0", 1)[0]


def _pids() -> list[int]:
    if PROC.joinpath("self").exists():
        return [int(name) for name in os.listdir(PROC) if name.isdigit()]
    return [int(line) for line in _ps("-axo", "pid=").split()]


def _command(pid: int) -> str:
    # Not /proc/PID/cwd: a container's root may not read that of another account's process.
    if not PROC.joinpath("self").exists():
        return _ps("-o", "command=", "-p", str(pid))
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607

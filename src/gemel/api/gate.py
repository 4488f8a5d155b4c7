"""The gate: the one place where callers are authenticated, admitted and held to their scope.

It stands before every route. A route that declares nothing lets no one without a key in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from gemel.api.admission import Admission, Body
from gemel.api.call import Call, call_of
from gemel.api.conditions import refuse_conditions
from gemel.api.failures import as_error
from gemel.api.paths import unescape
from gemel.api.query_string import check_query, refuse_null
from gemel.api.routing import RouteInfo, info_of
from gemel.api.services import Services
from gemel.base.errors import UnavailableError
from gemel.observe.trace import current_trace, new_trace
from gemel.security.audit import PLATFORM, AuditEntry
from gemel.security.principal import Principal
from gemel.security.tokens import invalid_token

__all__ = ["Gate"]

UNDECLARED = RouteInfo(scope=None)


class Gate:
    """Lets requests through to their routes, and records the refusals of writes.

    `methods` says what each path takes: what Litestar answers to OPTIONS names only its first handler's.
    """

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self.methods: Mapping[str, Collection[str]] = {}
        self._services = services
        self._admission = Admission(
            settings.in_flight_bytes_max, settings.body_bytes_max, services.metrics.in_flight_bytes.set
        )

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Return a route's application with the gate before it."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == ScopeType.HTTP:
                await self._pass(app, scope, receive, send)

        return gated

    async def record(self, error: Exception, scope: Scope) -> None:
        """Write the audit row of a write or administrative call that is answered with an error, whichever."""
        if scope["type"] != ScopeType.HTTP or "route_handler" not in scope:
            return
        info = info_of(cast("HTTPRouteHandler", scope["route_handler"]))
        refusal = as_error(error)
        if info is None or info.action is None:
            return
        try:
            call = call_of(scope)
            tenant, entry = call.tenant, call.entry(refusal.code)
        except KeyError:
            trace = current_trace.get() or new_trace()
            tenant, entry = (
                PLATFORM,
                AuditEntry("unknown", None, info.action, _target(scope), refusal.code, trace.trace_id),
            )
        lost = isinstance(refusal, UnavailableError)
        await self._services.refusals.record(tenant, entry, database_lost=lost)

    async def _pass(self, app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
        info = info_of(cast("HTTPRouteHandler", scope["route_handler"]))
        if b"%" in scope["raw_path"]:
            # The router caches this mapping, so it is replaced, not changed.
            scope["path_params"] = {name: _meant(value) for name, value in scope["path_params"].items()}
        if info is not None and info.scope is None:
            await app(scope, receive, send)
            return
        token = _bearer(scope)
        principal = await self._services.keyring.authenticate(token)
        if info is None and scope["method"] == "OPTIONS":
            allowed = ", ".join(sorted(self.methods[scope["path_template"]]))
            await Response(None, status_code=204, headers={"Allow": allowed}).to_asgi_response(
                app=None, request=Request[Any, Any, Any](scope)
            )(scope, receive, send)
            return
        _attach(self._services, principal, info or UNDECLARED, scope, token)
        if info is not None and info.scope is not None:
            principal.require(info.scope)
        if scope["query_string"]:
            check_query(scope)
        refuse_null(scope)
        refuse_conditions(scope)
        if info is not None and info.streams:
            await app(scope, receive, send)
            return
        with Body(self._admission, scope, receive) as body:
            await app(scope, body.receive, send)


def _attach(services: Services, principal: Principal, info: RouteInfo, scope: HTTPScope, token: str) -> None:
    trace = current_trace.get() or new_trace()
    Call(services, principal, info, _target(scope), trace, token).attach(scope)


def _target(scope: HTTPScope) -> str:
    return "/".join(str(value) for value in scope["path_params"].values())


def _meant(value: Any) -> Any:
    return unescape(value) if isinstance(value, str) else value


def _bearer(scope: HTTPScope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
    raise invalid_token()

"""The HTTP application: every route behind one frame (trace, path, metrics) and one gate (who may)."""

from __future__ import annotations

import time
from typing import Any, cast

from litestar import Litestar, Request
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import HTTPScope, Message, Receive, Scope, Send
from litestar.types.asgi_types import LifeSpanReceive, LifeSpanScope, LifeSpanSend

from gemel.api import (
    activity,
    adt_models,
    adt_relationships,
    adt_telemetry,
    adt_twins,
    changes,
    check,
    corrections,
    cost,
    dead_letters,
    endpoints,
    event_routes,
    events,
    health,
    history,
    indexes,
    job_progress,
    jobs,
    keys,
    lifecycle,
    mappings,
    models,
    openapi,
    past,
    quarantine,
    query,
    sources,
    stats,
)
from gemel.api.call import tenant_of
from gemel.api.failures import answer, handle
from gemel.api.gate import Gate
from gemel.api.paths import routable
from gemel.api.routing import info_of
from gemel.api.services import Services
from gemel.base.errors import GemelError
from gemel.history.feed import FeedHead
from gemel.observe.metrics import Metrics
from gemel.observe.trace import current_trace, trace_of
from gemel.observe.traffic import HTTP, Traffic

__all__ = ["HANDLERS", "Application", "create_app"]

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
HANDLERS: list[HTTPRouteHandler] = [
    *adt_models.HANDLERS,
    *models.HANDLERS,
    *adt_twins.HANDLERS,
    *adt_relationships.HANDLERS,
    *lifecycle.HANDLERS,
    *check.HANDLERS,
    *adt_telemetry.HANDLERS,
    *query.HANDLERS,
    *indexes.HANDLERS,
    *events.HANDLERS,
    *sources.HANDLERS,
    *mappings.HANDLERS,
    *history.HANDLERS,
    *corrections.HANDLERS,
    *past.HANDLERS,
    *changes.HANDLERS,
    *event_routes.HANDLERS,
    *endpoints.HANDLERS,
    *dead_letters.HANDLERS,
    *quarantine.HANDLERS,
    *stats.HANDLERS,
    *cost.HANDLERS,
    *activity.HANDLERS,
    *jobs.HANDLERS,
    *job_progress.HANDLERS,
    *keys.HANDLERS,
    *health.HANDLERS,
    *openapi.HANDLERS,
]


class Application(Litestar):
    """A Litestar that gives each request its trace and its true path, and counts answers and bytes."""

    metrics: Metrics
    traffic: Traffic
    feed: FeedHead

    def end_streams(self) -> None:
        """End the streams, for a server that stops waits for them; requests are still answered."""
        self.feed.close()

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == ScopeType.HTTP:
            await self._frame(cast("HTTPScope", scope), cast("Receive", receive), cast("Send", send))
        else:
            await super().__call__(scope, receive, send)

    async def _frame(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        trace = trace_of(_header(scope, b"traceparent"))
        current_trace.set(trace)
        told = trace.traceparent.encode()

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"traceresponse", told)]
                template = scope.get("path_template") or "none"
                seconds = time.perf_counter() - started_s
                method = scope["method"] if scope["method"] in METHODS else "other"
                self.metrics.count_request(method, template, message["status"], seconds)
                self._count(scope, calls=1)
            elif message["type"] == "http.response.body":
                self._count(scope, sent=len(message["body"]))
            await send(message)

        async def received() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                self._count(scope, received=len(message["body"]))
            return message

        try:
            scope["path"] = routable(scope["raw_path"], scope["path"])
        except GemelError as error:
            scope["app"] = scope["litestar_app"] = self
            request = Request[Any, Any, Any](scope)
            await answer(error).to_asgi_response(app=None, request=request)(scope, receive, framed)
            return
        await super().__call__(scope, received, framed)

    def _count(self, scope: HTTPScope, **counts: int) -> None:
        """Count for the tenant whose request it is; what comes without a key is nobody's."""
        tenant = tenant_of(scope)
        if tenant is not None:
            self.traffic.add(tenant, HTTP, **counts)


def create_app(services: Services) -> Application:
    """Return the application that serves a platform; raise TypeError where a route declares no scope."""
    gate = Gate(services)
    app = Application(
        HANDLERS,
        middleware=[gate.middleware],
        after_exception=[gate.record],
        exception_handlers={Exception: handle},
        openapi_config=None,
        logging_config=None,
        # The gate counts bodies itself, before and while they are read.
        request_max_body_size=None,
        debug=False,
    )
    app.metrics = services.metrics
    app.traffic = services.traffic
    app.feed = services.feed
    app.state.services = services
    _refuse_undeclared(app)
    gate.methods = {route.path_format: route.methods for route in app.routes if isinstance(route, HTTPRoute)}
    return app


def _refuse_undeclared(app: Litestar) -> None:
    for found in app.routes:
        if isinstance(found, HTTPRoute):
            for handler in found.route_handlers:
                if info_of(handler) is None and handler.http_methods != {"OPTIONS"}:
                    raise TypeError(f"The route {found.path} ({handler.fn}) declares no scope.")


def _header(scope: HTTPScope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return value.decode("latin-1")
    return None

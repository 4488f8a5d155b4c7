"""Whether the process lives, whether it can serve and what is not well, and what it counts."""

from __future__ import annotations

import shutil
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.services import Services
from gemel.base.errors import UnavailableError
from gemel.observe.exposition import RouteLag, SourceState
from gemel.observe.metrics import CONTENT_TYPE
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "Health", "Readiness", "route_is_stuck", "source_fails"]

TAG = "Operation"
ROOM_BYTES_MIN = 64 << 20
"""Below it the bundled database is about to have no room for its log."""
STUCK_S = 300.0


class Health(msgspec.Struct, frozen=True):
    """How the process is."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be served: `ready`, or `degraded` where a check is not `ok` and requests are served still.

    `sources` is `failing` where one that is started does not read, `routes` is `stuck` where one does not deliver or
    is more than five minutes behind.
    """

    status: str
    database: str
    disk: str
    sources: str
    routes: str


@get("/healthz", **route(TAG, RouteInfo(None, answer={JSON: Health}, failures=(503,))))
async def healthz(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Say that the process lives, whatever the state of its database; 503 where a part of it died: start it anew."""
    if not request.app.state.services.alive():
        raise UnavailableError(
            "PartDied", "A part of the server has ended.", "Start the server anew.", retry_after_s=5
        )
    return json_answer(Health("alive"))


@get("/readyz", **route(TAG, RouteInfo(None, answer={JSON: Readiness}, failures=(503,))))
async def readyz(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Say whether requests can be served now: 503 while the database starts or is away, or its disk is full."""
    services: Services = request.app.state.services
    if not services.ready():
        raise UnavailableError(
            "DatabaseUnavailable", "The database is not ready.", "Ask again.", retry_after_s=1
        )
    if services.database.is_full or _has_no_room(services):
        raise UnavailableError(
            "DatabaseFull", "The database has no room left.", "Make room on its disk.", retry_after_s=5
        )
    outside = services.metrics.outside
    sources = "failing" if any(map(source_fails, outside.sources)) else "ok"
    routes = "stuck" if any(map(route_is_stuck, outside.routes)) else "ok"
    well = sources == routes == "ok"
    return json_answer(Readiness("ready" if well else "degraded", "ok", "ok", sources, routes))


@get("/metrics", **route(TAG, RouteInfo(Scope.ADMIN, answer={CONTENT_TYPE: str})))
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Give the process's counters and histograms, in Prometheus' text format; of tenants, the caller's alone."""
    call = call_of(request)
    name, counted = call.principal.tenant_name, call.services.metrics
    counted.outside.tenants = {**counted.outside.tenants, call.tenant: name}
    return Response(counted.page(name), media_type=CONTENT_TYPE)


def source_fails(source: SourceState) -> bool:
    """Say whether a source that is started does not read."""
    return source.state in {"waiting", "failed"}


def route_is_stuck(route: RouteLag) -> bool:
    """Say whether a route that is wanted does not deliver, or is far behind."""
    return route.state in {"retrying", "stopped"} or (route.state == "delivering" and route.lag_s > STUCK_S)


def _has_no_room(services: Services) -> bool:
    """Say whether the disk of a bundled database is full; of another it tells itself."""
    settings = services.settings
    return not settings.database_url and shutil.disk_usage(settings.data_dir).free < ROOM_BYTES_MIN


HANDLERS: list[HTTPRouteHandler] = [healthz, readyz, metrics]

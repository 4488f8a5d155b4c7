"""Whether the process lives, whether it can serve, and what it counts."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.routing import JSON, RouteInfo, route
from gemel.base.errors import UnavailableError
from gemel.observe.metrics import CONTENT_TYPE
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "Health"]

TAG = "Operation"


class Health(msgspec.Struct, frozen=True):
    """How the process is."""

    status: str


@get("/healthz", **route(TAG, RouteInfo(None, answer={JSON: Health})))
async def healthz() -> Response[bytes]:
    """Say that the process lives, whatever the state of its database."""
    return json_answer(Health("alive"))


@get("/readyz", **route(TAG, RouteInfo(None, answer={JSON: Health}, failures=(503,))))
async def readyz(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Say whether requests can be served now: 503 while the database starts."""
    if not request.app.state.services.ready():
        raise UnavailableError(
            "DatabaseUnavailable", "The database is not ready.", "Ask again.", retry_after_s=1
        )
    return json_answer(Health("ready"))


@get("/metrics", **route(TAG, RouteInfo(Scope.ADMIN, answer={CONTENT_TYPE: str})))
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Give the process's counters and histograms, in Prometheus' text format."""
    return Response(call_of(request).services.metrics.page(), media_type=CONTENT_TYPE)


HANDLERS: list[HTTPRouteHandler] = [healthz, readyz, metrics]

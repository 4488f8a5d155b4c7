"""How much there is, and what came in."""

from __future__ import annotations

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.routing import JSON, RouteInfo, route
from gemel.graph.counts import count_graph
from gemel.ingest.counts import count_quarantined
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "Stats", "Totals"]


class Totals(msgspec.Struct, frozen=True):
    """Counts since this server started: events and quarantined are events, the others are values."""

    events: int = 0
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    corrected: int = 0
    quarantined: int = 0


class Stats(msgspec.Struct, frozen=True):
    """The tenant in numbers; `quarantined` is how many events wait in quarantine, `rate` events a second."""

    twins: int
    models: int
    relationships: int
    quarantined: int
    totals: Totals
    rate: float


@get("/v1/stats", **route("Operation", RouteInfo(Scope.READ, answer={JSON: Stats})))
async def stats(request: AnyRequest) -> Response[bytes]:
    """Count what there is, and what came in since the server started."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        graph = await count_graph(tx)
        quarantined = await count_quarantined(tx)
    totals, rate = call.services.intake.tallies.of(call.tenant)
    known = Totals(**totals)
    return json_answer(Stats(graph.twins, graph.models, graph.relationships, quarantined, known, rate))


HANDLERS: list[HTTPRouteHandler] = [stats]

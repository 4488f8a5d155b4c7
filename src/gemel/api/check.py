"""What of the graph is not as the models say."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import Token, next_link
from gemel.api.routing import JSON, RouteInfo, route
from gemel.graph.checking import check_graph
from gemel.graph.findings import Finding
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TWINS = 1000


class FindingView(msgspec.Struct):
    """One thing that is not as a model says; `part` is a path, a component, or a relationship's name or id."""

    severity: Literal["error", "warning"]
    kind: str
    twin: str
    part: str
    message: str
    hint: str


class CheckView(msgspec.Struct):
    """What was found on `examined` twins; `nextLink` goes on with the next, and is null at the end."""

    value: list[FindingView]
    examined: int
    nextLink: str | None  # noqa: N815  (the name on the wire)


@get("/v1/check", **route("Graph rules", RouteInfo(Scope.READ, answer={JSON: CheckView})))
async def check(
    request: AnyRequest,
    limit: Annotated[
        int, QueryParameter(name="limit", ge=1, le=TWINS, description="How many twins to look at.")
    ] = TWINS,
    token: Token = None,
) -> Response[bytes]:
    """Look over the graph for what is not as the models say, some twins at a time."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        page = await check_graph(tx, call.services.context, limit, token)
    found = [_view(finding) for finding in page.findings]
    link = next_link(request, page.token)
    return json_answer({"value": found, "examined": page.examined, "nextLink": link})


def _view(finding: Finding) -> dict[str, str]:
    return finding._asdict()


HANDLERS: list[HTTPRouteHandler] = [check]

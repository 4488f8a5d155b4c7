"""Queries over the live graph, as in the Azure Digital Twins data plane."""

from __future__ import annotations

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from gemel.api.bodies import json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.moments import AsOf, KnownAt, moment_of
from gemel.api.params import PageSize
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import QueryBody, QueryPage, QueryRequest
from gemel.query import Ask, run_query
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

WARNINGS_LENGTH_MAX = 2000
EXAMPLE = {
    "query": "SELECT * FROM digitaltwins T WHERE T.speed > 1400 AND IS_OF_MODEL('dtmi:example:Pump;1')"
}
HEADERS = {
    "query-charge": "Milliseconds that the database took for the page.",
    "gemel-warnings": "What the query asks for that the tenant does not have, where there is such.",
}


@post(
    "/query",
    **route(
        "Query",
        RouteInfo(
            Scope.READ,
            body={JSON: QueryBody},
            body_example=EXAMPLE,
            answer={JSON: QueryPage},
            headers=HEADERS,
        ),
    ),
)
async def query_twins(
    request: AnyRequest, page_size: PageSize = None, as_of: AsOf = None, known_at: KnownAt = None
) -> Response[bytes]:
    """Query twins and relationships; what a write answered for is seen by the very next query.

    With `asOf` or `knownAt`, in the body or as parameters, it goes over the graph and its values of that moment.
    """
    call = call_of(request)
    wanted: QueryRequest = await read_json(request, QueryRequest)
    as_of = as_of if wanted.asOf is None else wanted.asOf
    known_at = known_at if wanted.knownAt is None else wanted.knownAt
    moment = moment_of(request, as_of, known_at)
    async with call.services.database.read(call.tenant) as tx:
        ask = Ask(wanted.query, wanted.continuationToken, page_size, moment)
        page = await run_query(tx, call.services.context, ask)
    headers = {"query-charge": f"{page.charge:.2f}"}
    if page.warnings:
        headers["gemel-warnings"] = _header_text("; ".join(page.warnings))
    return json_answer({"value": page.items, "continuationToken": page.token}, headers=headers)


def _header_text(text: str) -> str:
    """Return a text as a header may have it: printable ASCII, and not endless."""
    printable = (character if character.isprintable() else " " for character in text[:WARNINGS_LENGTH_MAX])
    return "".join(printable).encode("ascii", "backslashreplace").decode()


HANDLERS: list[HTTPRouteHandler] = [query_twins]

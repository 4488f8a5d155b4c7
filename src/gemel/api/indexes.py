"""Indexes: which property paths queries find twins by."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed
from gemel.graph.indexes import add_index, list_indexes, remove_index
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "Query"


class IndexRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A property of a model, by its dotted path."""

    model: str
    path: str


class IndexView(msgspec.Struct):
    """An indexed path, and how many twins have a value of it."""

    path: str
    twins: int


@get("/v1/indexes", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[IndexView]})))
async def get_indexes(request: AnyRequest) -> Response[bytes]:
    """List the indexed paths."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer({"value": await list_indexes(tx, call.services.context)})


@post(
    "/v1/indexes",
    **route(
        TAG,
        RouteInfo(
            Scope.ADMIN,
            "index.add",
            body={JSON: IndexRequest},
            body_example={"model": "dtmi:example:Pump;1", "path": "speed"},
            answer={JSON: IndexView},
            failures=(404, 409),
        ),
        status=201,
    ),
)
async def post_index(request: AnyRequest) -> Response[bytes]:
    """Index a property, so that queries by it do not look at every twin; writes of it cost a little more."""
    call = call_of(request)
    wanted: IndexRequest = await read_json(request, IndexRequest)
    async with call.services.database.write(call.tenant) as tx:
        made = await add_index(tx, call.services.context, wanted.model, wanted.path)
        await record(tx, [call.entry(target=wanted.path)])
    return json_answer(made)


@delete(
    "/v1/indexes/{path:str}",
    **route(TAG, RouteInfo(Scope.ADMIN, "index.remove", failures=(404,)), status=204),
)
async def delete_index(
    request: AnyRequest, path: Annotated[str, PathParameter(description="The dotted path.")]
) -> Response[None]:
    """Index a path no longer."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await remove_index(tx, call.services.context, path)
        await record(tx, [call.entry()])
    return empty_answer()


HANDLERS: list[HTTPRouteHandler] = [get_indexes, post_index, delete_index]

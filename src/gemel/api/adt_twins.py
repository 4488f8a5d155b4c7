"""Twins, as in the Azure Digital Twins data plane."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.conditions import CONDITIONS, READER, tagged_answer
from gemel.api.deprecations import deprecation_headers
from gemel.api.moments import MOMENT
from gemel.api.params import MOMENT_SCHEMA, Component, TwinId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import JsonPatch, NewTwin, TwinBody
from gemel.base.errors import InvalidError
from gemel.graph import twins
from gemel.graph.content import parse_time_us
from gemel.graph.etag import Conditions
from gemel.graph.model_story import deprecation_of
from gemel.graph.patching import PatchRequest
from gemel.history.moment import LIVE, Moment
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["ETAG", "HANDLERS", "PATCH_EXAMPLE", "TWIN_EXAMPLE"]

TAG = "Twins"
ETAG = {"ETag": "The version of the twin: a weak entity tag."}
NEW_TWIN = {"$metadata": {"$model": "dtmi:example:Pump;1"}, "speed": 1450.0}
TWIN_EXAMPLE = {
    "$dtId": "pump-1",
    "$etag": 'W/"00000000-0000-002a-0006-4a1b2c3d4e5f"',
    "$lifecycle": "active",
    "speed": 1450.0,
    "$metadata": {
        "$model": "dtmi:example:Pump;1",
        "$lastUpdateTime": "2026-01-31T12:00:00.000000Z",
        "speed": {
            "lastUpdateTime": "2026-01-31T12:00:00.000000Z",
            "sourceTime": "2026-01-31T12:00:00.000000Z",
        },
    },
}
PATCH_EXAMPLE = [{"op": "replace", "path": "/speed", "value": 1480.0}]


@get(
    "/digitaltwins/{twin_id:str}",
    dependencies=MOMENT | READER,
    **route(
        TAG,
        RouteInfo(
            Scope.READ, answer={JSON: TwinBody}, answer_example=TWIN_EXAMPLE, headers=ETAG, failures=(404,)
        ),
    ),
)
async def get_twin(
    request: AnyRequest, twin_id: TwinId, moment: NamedDependency[Moment], held: NamedDependency[str | None]
) -> Response[bytes]:
    """Get a twin: its properties, each with its times, and its components; as of a moment, if one is given."""
    call = call_of(request)
    if moment == LIVE:
        found = await call.services.twins.get(call.tenant, twin_id)
    else:
        async with call.services.database.read(call.tenant) as tx:
            found = await twins.get_twin(tx, call.services.context, twin_id, moment)
    return tagged_answer(found.body, found.etag, held, moment)


@put(
    "/digitaltwins/{twin_id:str}",
    dependencies=CONDITIONS,
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "twin.put",
            body={JSON: NewTwin},
            body_example=NEW_TWIN,
            answer={JSON: TwinBody},
            answer_example=TWIN_EXAMPLE,
            headers=ETAG,
            failures=(412,),
        ),
    ),
)
async def put_twin(
    request: AnyRequest,
    twin_id: TwinId,
    conditions: NamedDependency[Conditions],
    valid_from: Annotated[
        str | None,
        QueryParameter(
            name="validFrom",
            description="Since when the twin has been there: RFC 3339, may be past.",
            schema_extra=MOMENT_SCHEMA,
        ),
    ] = None,
) -> Response[bytes]:
    """Create a twin, or replace one."""
    call = call_of(request)
    body = await read_json(request)
    valid_from_us = _time_us(valid_from)
    times_us = twins.explicit_times_us(body)
    await call.services.context.prepare(times_us if valid_from_us is None else [*times_us, valid_from_us])
    async with call.services.database.write(call.tenant) as tx:
        made = await twins.put_twin(
            tx,
            call.services.context,
            twin_id,
            body,
            conditions=conditions,
            valid_from_us=valid_from_us,
        )
        deprecation = await deprecation_of(tx, made.body["$metadata"]["$model"])
        await record(tx, [call.entry()])
    return json_answer(made.body, headers={"ETag": made.etag} | deprecation_headers(deprecation))


@patch(
    "/digitaltwins/{twin_id:str}",
    dependencies=CONDITIONS,
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "twin.patch",
            body={JSON: JsonPatch, "application/json-patch+json": JsonPatch},
            body_example=PATCH_EXAMPLE,
            headers=ETAG,
            failures=(404, 412),
        ),
        status=204,
    ),
)
async def patch_twin(
    request: AnyRequest, twin_id: TwinId, conditions: NamedDependency[Conditions]
) -> Response[None]:
    """Change properties of a twin, all or none; each change is also a sample of its history."""
    return await _patch(request, twin_id, None, conditions)


@delete(
    "/digitaltwins/{twin_id:str}",
    dependencies=CONDITIONS,
    **route(TAG, RouteInfo(Scope.WRITE, "twin.delete", failures=(404, 412)), status=204),
)
async def delete_twin(
    request: AnyRequest, twin_id: TwinId, conditions: NamedDependency[Conditions]
) -> Response[None]:
    """Delete a twin that has no relationships; its samples stay stored, and no new twin inherits them."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await twins.delete_twin(tx, call.services.context, twin_id, conditions)
        await record(tx, [call.entry()])
    return empty_answer()


@get(
    "/digitaltwins/{twin_id:str}/components/{component:str}",
    dependencies=MOMENT | READER,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: dict[str, Any]}, headers=ETAG, failures=(404,))),
)
async def get_component(
    request: AnyRequest,
    twin_id: TwinId,
    component: Component,
    moment: NamedDependency[Moment],
    held: NamedDependency[str | None],
) -> Response[bytes]:
    """Get one component of a twin."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found = await twins.get_component(tx, call.services.context, twin_id, component, moment)
    return tagged_answer(found.body, found.etag, held, moment)


@patch(
    "/digitaltwins/{twin_id:str}/components/{component:str}",
    dependencies=CONDITIONS,
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "component.patch",
            body={JSON: JsonPatch, "application/json-patch+json": JsonPatch},
            body_example=PATCH_EXAMPLE,
            headers=ETAG,
            failures=(404, 412),
        ),
        status=204,
    ),
)
async def patch_component(
    request: AnyRequest, twin_id: TwinId, component: Component, conditions: NamedDependency[Conditions]
) -> Response[None]:
    """Change properties of one component of a twin, all or none."""
    return await _patch(request, twin_id, component, conditions)


async def _patch(
    request: AnyRequest, twin_id: str, component: str | None, conditions: Conditions
) -> Response[None]:
    call = call_of(request)
    operations = await read_json(request)
    wanted = PatchRequest(twin_id, component, operations, call.entry(), conditions)
    etag = await call.services.patcher.submit(call.tenant, wanted)
    return empty_answer({"ETag": etag})


def _time_us(text: str | None) -> int | None:
    if text is None:
        return None
    time_us = parse_time_us(text)
    if time_us is None:
        raise InvalidError("InvalidArgument", f"validFrom={text[:60]!r} is not an RFC 3339 time with a zone.")
    return time_us


HANDLERS: list[HTTPRouteHandler] = [
    get_twin,
    put_twin,
    patch_twin,
    delete_twin,
    get_component,
    patch_component,
]

"""Models, as in the Azure Digital Twins data plane."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import MODEL_ID_SCHEMA, ModelId, PageSize, Token, next_link
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import JsonPatch, ModelData, Paged
from gemel.base.errors import InvalidError
from gemel.graph import library
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "Models"
EXAMPLE = [
    {
        "@context": "dtmi:dtdl:context;3",
        "@id": "dtmi:example:Pump;1",
        "@type": "Interface",
        "contents": [{"@type": "Property", "name": "speed", "schema": "double"}],
    }
]
DATA_EXAMPLE = {
    "id": "dtmi:example:Pump;1",
    "displayName": {},
    "description": {},
    "uploadTime": "2026-01-31T12:00:00+00:00",
    "decommissioned": False,
}
DECOMMISSION = [{"op": "replace", "path": "/decommissioned", "value": True}]

Definition = Annotated[
    bool,
    QueryParameter(name="includeModelDefinition", description="Give each model's DTDL as uploaded, too."),
]


@post(
    "/models",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "model.add",
            body={JSON: list[dict[str, Any]]},
            body_example=EXAMPLE,
            answer={JSON: list[ModelData]},
            answer_example=[DATA_EXAMPLE],
            failures=(409,),
        ),
        status=201,
    ),
)
async def add_models(request: AnyRequest) -> Response[bytes]:
    """Add models, all of them or none: an array of DTDL interfaces."""
    call = call_of(request)
    documents = await read_json(request)
    if not isinstance(documents, list):
        raise InvalidError("InvalidArgument", "The body must be an array of DTDL interfaces.")
    async with call.services.database.write(call.tenant) as tx:
        added = await library.add_models(tx, call.services.context.library, documents, call.principal.actor)
        await record(tx, [call.entry(target=data["id"]) for data in added])
    return json_answer(added)


@get(
    "/models",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Paged[ModelData]}, failures=(404,))),
)
async def list_models(
    request: AnyRequest,
    dependencies_for: Annotated[
        list[str] | None,
        QueryParameter(
            name="dependenciesFor",
            description="Only these models and all that they depend on.",
            schema_extra={"items": {"type": "string"} | MODEL_ID_SCHEMA},
        ),
    ] = None,
    definition: Definition = False,
    page_size: PageSize = None,
    token: Token = None,
) -> Response[bytes]:
    """List models in the order of their ids."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        page = await library.list_models(
            tx,
            call.services.context.library,
            dependencies_for or (),
            definition=definition,
            page_size=page_size,
            token=token,
        )
    return json_answer({"value": page.items, "nextLink": next_link(request, page.token)})


@get(
    "/models/{model_id:str}",
    **route(
        TAG,
        RouteInfo(Scope.READ, answer={JSON: ModelData}, answer_example=DATA_EXAMPLE, failures=(404,)),
    ),
)
async def get_model(
    request: AnyRequest, model_id: ModelId, definition: Definition = False
) -> Response[bytes]:
    """Get a model."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await library.get_model(tx, model_id, definition=definition))


@patch(
    "/models/{model_id:str}",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE, "model.patch", body={JSON: JsonPatch}, body_example=DECOMMISSION, failures=(404, 409)
        ),
        status=204,
    ),
)
async def update_model(request: AnyRequest, model_id: ModelId) -> Response[None]:
    """Take a model out of use for new twins, or back into use: replace `/decommissioned`."""
    call = call_of(request)
    operations = await read_json(request)
    async with call.services.database.write(call.tenant) as tx:
        await library.update_model(
            tx, call.services.context.library, model_id, operations, call.principal.actor
        )
        await record(tx, [call.entry()])
    return empty_answer()


@delete(
    "/models/{model_id:str}",
    **route(TAG, RouteInfo(Scope.WRITE, "model.delete", failures=(404, 409)), status=204),
)
async def delete_model(request: AnyRequest, model_id: ModelId) -> Response[None]:
    """Delete a model that no other model and no twin refers to."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await library.delete_model(tx, call.services.context.library, model_id, call.principal.actor)
        await record(tx, [call.entry()])
    return empty_answer()


HANDLERS: list[HTTPRouteHandler] = [add_models, list_models, get_model, update_model, delete_model]

"""Relationships, as in the Azure Digital Twins data plane."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.conditions import CONDITIONS, READER, tagged_answer
from gemel.api.moments import MOMENT
from gemel.api.params import PageSize, RelationshipId, Token, TwinId, next_link
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import IncomingRelationship, JsonPatch, NewRelationship, Paged, Relationship
from gemel.graph import relationship_reading, relationships
from gemel.graph.etag import Conditions
from gemel.graph.twins import explicit_times_us
from gemel.history.moment import Moment
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "Relationships"
ETAG = {"ETag": "The version of the relationship: a weak entity tag."}
NEW = {"$targetId": "pump-2", "$relationshipName": "feeds", "length": 2.5}
EXAMPLE = {
    "$relationshipId": "feeds-pump-2",
    "$etag": 'W/"00000000-0000-002a-0006-4a1b2c3d4e5f"',
    "$sourceId": "pump-1",
    **NEW,
}
PATCH = [{"op": "replace", "path": "/length", "value": 3.0}]
PLACE = "/digitaltwins/{twin_id:str}/relationships"
ONE = PLACE + "/{relationship_id:str}"


@get(
    ONE,
    dependencies=MOMENT | READER,
    **route(
        TAG,
        RouteInfo(
            Scope.READ, answer={JSON: Relationship}, answer_example=EXAMPLE, headers=ETAG, failures=(404,)
        ),
    ),
)
async def get_relationship(
    request: AnyRequest,
    twin_id: TwinId,
    relationship_id: RelationshipId,
    moment: NamedDependency[Moment],
    held: NamedDependency[str | None],
) -> Response[bytes]:
    """Get a relationship of a twin."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found = await relationship_reading.get_relationship(tx, twin_id, relationship_id, moment)
    return tagged_answer(found.body, found.etag, held, moment)


@put(
    ONE,
    dependencies=CONDITIONS,
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "relationship.put",
            body={JSON: NewRelationship},
            body_example=NEW,
            answer={JSON: Relationship},
            answer_example=EXAMPLE,
            headers=ETAG,
            failures=(404, 412),
        ),
    ),
)
async def put_relationship(
    request: AnyRequest,
    twin_id: TwinId,
    relationship_id: RelationshipId,
    conditions: NamedDependency[Conditions],
) -> Response[bytes]:
    """Relate a twin to another, or replace a relationship."""
    call = call_of(request)
    body = await read_json(request)
    await call.services.context.prepare(explicit_times_us(body))
    async with call.services.database.write(call.tenant) as tx:
        made = await relationships.put_relationship(
            tx, call.services.context, twin_id, relationship_id, body, conditions=conditions
        )
        await record(tx, [call.entry()])
    return json_answer(made.body, headers={"ETag": made.etag})


@patch(
    ONE,
    dependencies=CONDITIONS,
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "relationship.patch",
            body={JSON: JsonPatch, "application/json-patch+json": JsonPatch},
            body_example=PATCH,
            headers=ETAG,
            failures=(404, 409, 412),
        ),
        status=204,
    ),
)
async def patch_relationship(
    request: AnyRequest,
    twin_id: TwinId,
    relationship_id: RelationshipId,
    conditions: NamedDependency[Conditions],
) -> Response[None]:
    """Change properties of a relationship, all or none."""
    call = call_of(request)
    operations = await read_json(request)
    async with call.services.database.write(call.tenant) as tx:
        etag = await relationships.patch_relationship(
            tx, call.services.context, twin_id, relationship_id, operations, conditions=conditions
        )
        await record(tx, [call.entry()])
    return empty_answer({"ETag": etag})


@delete(
    ONE,
    dependencies=CONDITIONS,
    **route(TAG, RouteInfo(Scope.WRITE, "relationship.delete", failures=(404, 412)), status=204),
)
async def delete_relationship(
    request: AnyRequest,
    twin_id: TwinId,
    relationship_id: RelationshipId,
    conditions: NamedDependency[Conditions],
) -> Response[None]:
    """Delete a relationship; what it was stays recorded."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await relationships.delete_relationship(tx, twin_id, relationship_id, conditions)
        await record(tx, [call.entry()])
    return empty_answer()


@get(
    PLACE,
    dependencies=MOMENT,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Paged[Relationship]}, failures=(404,))),
)
async def list_relationships(
    request: AnyRequest,
    twin_id: TwinId,
    moment: NamedDependency[Moment],
    name: Annotated[
        str | None, QueryParameter(name="relationshipName", description="Only relationships of this name.")
    ] = None,
    page_size: PageSize = None,
    token: Token = None,
) -> Response[bytes]:
    """List the relationships that leave a twin."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        page = await relationship_reading.list_relationships(
            tx, twin_id, name, page_size=page_size, token=token, moment=moment
        )
    return json_answer({"value": page.items, "nextLink": next_link(request, page.token)})


@get(
    "/digitaltwins/{twin_id:str}/incomingrelationships",
    dependencies=MOMENT,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Paged[IncomingRelationship]}, failures=(404,))),
)
async def list_incoming(
    request: AnyRequest,
    twin_id: TwinId,
    moment: NamedDependency[Moment],
    page_size: PageSize = None,
    token: Token = None,
) -> Response[bytes]:
    """List the relationships that lead to a twin."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        page = await relationship_reading.list_incoming(
            tx, twin_id, page_size=page_size, token=token, moment=moment
        )
    return json_answer({"value": page.items, "nextLink": next_link(request, page.token)})


HANDLERS: list[HTTPRouteHandler] = [
    get_relationship,
    put_relationship,
    patch_relationship,
    delete_relationship,
    list_relationships,
    list_incoming,
]

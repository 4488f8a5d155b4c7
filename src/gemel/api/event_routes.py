"""Event routes, as in the Azure Digital Twins data plane, and how the delivery of each stands."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import PageSize, Token, next_link
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed, Paged, Time
from gemel.base.clock import iso_us
from gemel.routing import routes
from gemel.routing.routes import RouteRequest, RouteStatus
from gemel.routing.skipping import skip
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "EventRoute", "RouteDelivery", "Skipped"]

TAG = "Event routes"
EXAMPLE = {"endpointName": "hooks", "filter": "type = 'Microsoft.DigitalTwins.Twin.Update'"}

RouteId = Annotated[str, PathParameter(description="The id of the event route.")]


class EventRoute(msgspec.Struct, rename="camel"):
    """A route: which notifications go to which endpoint."""

    id: str
    endpoint_name: str
    filter: str


class RouteDelivery(msgspec.Struct, rename="camel"):
    """A route and how its delivery stands.

    `deliveredUpTo` is the last change that is dealt with; `lagChanges` are after it, the oldest of which has
    waited `lagSeconds`. `delivered` counts notifications. `error` and `nextTry` are there while it fails.
    """

    id: str
    endpoint_name: str
    filter: str
    state: Literal["delivering", "retrying", "disabled", "stopped"]
    created: Time
    delivered: int
    last_delivery: Time | None
    delivered_up_to: int
    lag_changes: int
    lag_seconds: float
    failures: int
    failing_since: Time | None
    next_try: Time | None
    error: str | None


class Skipped(msgspec.Struct, frozen=True):
    """The id of the event that is not sent."""

    skipped: str


@get("/eventroutes", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Paged[EventRoute]})))
async def list_event_routes(
    request: AnyRequest, page_size: PageSize = None, token: Token = None
) -> Response[bytes]:
    """List event routes in the order of their ids."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        page = await routes.list_routes(tx, page_size, token)
    return json_answer({"value": page.items, "nextLink": next_link(request, page.token)})


@get(
    "/eventroutes/{route_id:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: EventRoute}, failures=(404,))),
)
async def get_event_route(request: AnyRequest, route_id: RouteId) -> Response[bytes]:
    """Get an event route."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await routes.get_route(tx, route_id))


@put(
    "/eventroutes/{route_id:str}",
    **route(
        TAG,
        RouteInfo(Scope.WRITE, "route.put", body={JSON: RouteRequest}, body_example=EXAMPLE),
        status=204,
    ),
)
async def put_event_route(request: AnyRequest, route_id: RouteId) -> Response[None]:
    """Make an event route, which starts with the next change, or change one, which goes on from where it is."""
    call = call_of(request)
    wanted = routes.route_request(await read_json(request))
    async with call.services.database.write(call.tenant) as tx:
        await routes.put_route(tx, route_id, wanted)
        await record(tx, [call.entry()])
    return empty_answer()


@delete(
    "/eventroutes/{route_id:str}",
    **route(TAG, RouteInfo(Scope.WRITE, "route.delete", failures=(404,)), status=204),
)
async def delete_event_route(request: AnyRequest, route_id: RouteId) -> Response[None]:
    """Delete an event route; what it has not delivered, it never will."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await routes.delete_route(tx, route_id)
        await record(tx, [call.entry()])
    return empty_answer()


@get("/v1/routes", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[RouteDelivery]})))
async def list_routes(request: AnyRequest) -> Response[bytes]:
    """List event routes, each with how its delivery stands."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found = await routes.statuses(tx)
    return json_answer({"value": [_delivery(each) for each in found]})


@get(
    "/v1/routes/{route_id:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: RouteDelivery}, failures=(404,))),
)
async def show_route(request: AnyRequest, route_id: RouteId) -> Response[bytes]:
    """Show how the delivery of an event route stands."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(_delivery(await routes.route_status(tx, route_id)))


@post(
    "/v1/routes/{route_id:str}/skip",
    **route(TAG, RouteInfo(Scope.WRITE, "route.skip", answer={JSON: Skipped}, failures=(404,))),
)
async def skip_notification(request: AnyRequest, route_id: RouteId) -> Response[bytes]:
    """Leave out the notification that a failing route would send next, and go on with the one after it."""
    call = call_of(request)
    services = call.services
    source = f"{services.settings.event_source}/{call.principal.tenant_name}"
    async with services.database.write(call.tenant) as tx:
        event_id = await skip(tx, services.feed_reader, services.context, route_id, source)
        await record(tx, [call.entry(target=f"{call.target}/{event_id}")])
    return json_answer(Skipped(event_id))


def _delivery(status: RouteStatus) -> RouteDelivery:
    runs = status.state != "disabled"
    return RouteDelivery(
        status.route_id,
        status.endpoint,
        status.filter,
        status.state,
        iso_us(status.created_us),
        status.delivered,
        _time(status.delivered_us),
        status.delivered_up_to,
        status.lag_changes if runs else 0,
        round(status.lag_s or 0.0, 3) if runs else 0.0,
        status.failures,
        _time(status.failing_since_us),
        _time(status.next_try_us) if status.state == "retrying" else None,
        status.error,
    )


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else iso_us(time_us)


HANDLERS: list[HTTPRouteHandler] = [
    list_event_routes,
    get_event_route,
    put_event_route,
    delete_event_route,
    list_routes,
    show_route,
    skip_notification,
]

"""Endpoints: receivers that event routes lead to."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import msgspec
from litestar import Response, delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed, Time
from gemel.base.clock import iso_us
from gemel.base.errors import UnavailableError
from gemel.outbound.kafka import server_and_topic
from gemel.routing import endpoints
from gemel.routing.endpoints import EndpointView, KafkaTopic, MqttBroker, Wanted, Webhook, endpoint_of
from gemel.routing.publishing import broker_target
from gemel.security.audit import record
from gemel.security.principal import Scope
from gemel.sources.permits import Place

__all__ = ["HANDLERS", "EndpointAnswer"]

TAG = "Event routes"
EXAMPLE = {
    "kind": "webhook",
    "url": "https://hooks.example.com/gemel",
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "headers": {"Authorization": "Bearer abc"},
}

Name = Annotated[str, PathParameter(description="The endpoint's name.")]


class EndpointAnswer(msgspec.Struct, rename="camel"):
    """An endpoint: `signed` where it has a secret, and the names of the headers that go along."""

    name: str
    kind: str
    url: str
    signed: bool
    headers: list[str]
    settings: dict[str, str | int | bool]
    dead_letter_after: int
    created: Time
    changed: Time


@get(
    "/v1/endpoints",
    **route(TAG, RouteInfo(Scope.ADMIN, "endpoint.list", answer={JSON: Listed[EndpointAnswer]})),
)
async def list_endpoints(request: AnyRequest) -> Response[bytes]:
    """List endpoints by name; never their secrets and the values of their headers."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        found = await endpoints.list_endpoints(tx)
        await record(tx, [call.entry()])
    return json_answer({"value": [_answer(each) for each in found]})


@get(
    "/v1/endpoints/{name:str}",
    **route(TAG, RouteInfo(Scope.ADMIN, "endpoint.show", answer={JSON: EndpointAnswer}, failures=(404,))),
)
async def show_endpoint(request: AnyRequest, name: Name) -> Response[bytes]:
    """Show an endpoint, without its secrets."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        found = await endpoints.get_endpoint(tx, name)
        await record(tx, [call.entry()])
    return json_answer(_answer(found))


@put(
    "/v1/endpoints/{name:str}",
    **route(
        TAG,
        RouteInfo(
            Scope.ADMIN,
            "endpoint.put",
            body={JSON: Wanted},
            body_example=EXAMPLE,
            answer={JSON: EndpointAnswer},
        ),
    ),
)
async def put_endpoint(request: AnyRequest, name: Name) -> Response[bytes]:
    """Make an endpoint or put another in its place, secrets and all; its routes are tried again at once."""
    call = call_of(request)
    wanted = endpoint_of(await read_json(request))
    _check_references(wanted, Place(call.principal.tenant_name, call.services.sources.permits))
    # What may never be called is refused now; a name that has no address yet may have one by then.
    with suppress(UnavailableError, OSError):
        if isinstance(wanted, MqttBroker):
            await call.services.outbound.check_host(*broker_target(wanted.url)[:2])
        elif isinstance(wanted, KafkaTopic):
            for server in server_and_topic(wanted.url)[0]:
                await call.services.outbound.check(f"http://{server}")
        else:
            await call.services.outbound.check(wanted.url)
    async with call.services.database.write(call.tenant) as tx:
        made = await endpoints.put_endpoint(tx, call.services.sealer, name, wanted)
        await record(tx, [call.entry()])
    return json_answer(_answer(made))


@delete(
    "/v1/endpoints/{name:str}",
    **route(TAG, RouteInfo(Scope.ADMIN, "endpoint.delete", failures=(404, 409)), status=204),
)
async def delete_endpoint(request: AnyRequest, name: Name) -> Response[None]:
    """Delete an endpoint that no route leads to."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await endpoints.delete_endpoint(tx, name)
        await record(tx, [call.entry()])
    return empty_answer()


def _check_references(wanted: Wanted, place: Place) -> None:
    """Raise InvalidError (SourceNotAllowed) for references to secrets that this tenant may not use."""
    texts = [wanted.secret] if isinstance(wanted, Webhook) else []
    values = wanted.settings.values() if isinstance(wanted, KafkaTopic) else texts
    for text in values:
        if isinstance(text, str):
            place.check(text)


def _answer(view: EndpointView) -> EndpointAnswer:
    return EndpointAnswer(
        view.name,
        view.kind,
        view.url,
        view.signed,
        view.headers,
        view.settings,
        view.dead_letter_after,
        iso_us(view.created_us),
        iso_us(view.changed_us),
    )


HANDLERS: list[HTTPRouteHandler] = [list_endpoints, show_endpoint, put_endpoint, delete_endpoint]

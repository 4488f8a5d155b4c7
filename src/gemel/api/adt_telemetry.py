"""Telemetry of one twin, as in the Azure Digital Twins data plane: one event, taken or refused at once."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter

from gemel.api.bodies import empty_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import MOMENT_SCHEMA, TEXT_SCHEMA, Component, TwinId, checked_text
from gemel.api.routing import JSON, RouteInfo, route
from gemel.base.errors import InvalidError, NotFoundError
from gemel.ingest.events import Event
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "Events"

MessageId = Annotated[
    str,
    HeaderParameter(name="Message-Id", description="The id of this message.", schema_extra=TEXT_SCHEMA),
]
SourceTime = Annotated[
    str | None,
    HeaderParameter(
        name="Telemetry-Source-Time",
        description="When it was so: RFC 3339. Default: now.",
        schema_extra=MOMENT_SCHEMA,
    ),
]


@post(
    "/digitaltwins/{twin_id:str}/telemetry",
    **route(
        TAG,
        RouteInfo(
            Scope.INGEST,
            "twin.telemetry",
            body={JSON: dict[str, Any]},
            body_example={"speed": 1450.0},
            failures=(404,),
        ),
        status=204,
    ),
)
async def send_telemetry(
    request: AnyRequest, twin_id: TwinId, message_id: MessageId, source_time: SourceTime = None
) -> Response[None]:
    """Take telemetry of one twin: an object of name to value."""
    return await _telemetry(request, _event(twin_id, None, await read_json(request), message_id, source_time))


@post(
    "/digitaltwins/{twin_id:str}/components/{component:str}/telemetry",
    **route(
        TAG,
        RouteInfo(
            Scope.INGEST,
            "component.telemetry",
            body={JSON: dict[str, Any]},
            body_example={"temperature": 61.2},
            failures=(404,),
        ),
        status=204,
    ),
)
async def send_component_telemetry(
    request: AnyRequest,
    twin_id: TwinId,
    component: Component,
    message_id: MessageId,
    source_time: SourceTime = None,
) -> Response[None]:
    """Take telemetry of one component of a twin: an object of name to value."""
    event = _event(twin_id, component, await read_json(request), message_id, source_time)
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        twin = (await call.services.directory.resolve(tx, [twin_id])).twins.get(twin_id)
    if twin is not None and component not in twin.twin_type.twin_type.components:
        raise NotFoundError("ComponentNotFound", f"{twin_id} does not have component {component}.")
    return await _telemetry(request, event)


async def _telemetry(request: AnyRequest, event: Event) -> Response[None]:
    call = call_of(request)
    await call.services.ingest.telemetry(call.tenant, event, call.entry())
    return empty_answer()


def _event(
    twin_id: str, component: str | None, payload: Any, message_id: str, source_time: str | None
) -> Event:
    if not isinstance(payload, dict):
        raise InvalidError("InvalidArgument", "The body must be an object of name to value.")
    prefix = "" if component is None else f"{component}."
    envelope: dict[str, Any] = {
        "id": checked_text("Message-Id", message_id),
        "source": "/digitaltwins/telemetry",
        "type": "telemetry",
        "specversion": "1.0",
        "subject": twin_id,
        "data": {prefix + name: value for name, value in payload.items()},
    }
    if source_time is not None:
        envelope["time"] = source_time
    try:
        return msgspec.convert(envelope, Event)
    except msgspec.ValidationError as error:
        raise InvalidError(
            "InvalidArgument", f"Telemetry-Source-Time={source_time!r} is not an RFC 3339 time."
        ) from error


HANDLERS: list[HTTPRouteHandler] = [send_telemetry, send_component_telemetry]

"""Events in: CloudEvents bodies, and the telemetry routes of the Azure Digital Twins data plane."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, PathParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, Call, call_of
from gemel.api.params import Component, TwinId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.base.clock import now_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.history.ordering import OUTCOMES
from gemel.ingest.events import BATCH, LINES, SINGLE, Event
from gemel.ingest.positions import Position, read_position
from gemel.ingest.requests import IngestRequest, IngestResult
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "SourcePosition"]

TAG = "Events"
TEXT_LENGTH_MAX = 1024
EVENT = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/line/1",
    "type": "telemetry",
    "subject": "pump-1",
    "time": "2026-01-31T12:00:00.123456Z",
    "data": {"speed": 1450.0, "motor.temperature": 61.2},
}
RESULT = {
    "events": 1,
    "accepted": 2,
    "late": 0,
    "duplicate": 0,
    "corrected": 0,
    "quarantined": 0,
    "rejected": [],
}

Source = Annotated[
    str | None,
    HeaderParameter(name="Gemel-Source", description="What the events were read from, by any name."),
]
At = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-Position",
        description="How far Gemel-Source has been read with these events; kept in their commit.",
    ),
]
CreateModel = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-Create-Model",
        description="Create twins that do not exist, with this model; needs the scope write, too.",
    ),
]
MessageId = Annotated[str, HeaderParameter(name="Message-Id", description="The id of this message.")]
SourceTime = Annotated[
    str | None,
    HeaderParameter(name="Telemetry-Source-Time", description="When it was so: RFC 3339. Default: now."),
]


class SourcePosition(msgspec.Struct, frozen=True):
    """How far a source has been read; null where nothing of it was."""

    source: str
    position: str | None


@post(
    "/v1/events",
    **route(
        TAG,
        RouteInfo(
            Scope.INGEST,
            "events.ingest",
            body={BATCH: list[Event], SINGLE: Event, LINES: str, JSON: Event | list[Event]},
            body_example=EVENT,
            answer={JSON: IngestResult},
            answer_example=RESULT,
            failures=(413, 415, 429),
        ),
    ),
)
async def ingest(
    request: AnyRequest, source: Source = None, position: At = None, create_model: CreateModel = None
) -> Response[bytes]:
    """Take CloudEvents 1.0: one, a batch, or one a line; answered once they are durable and visible.

    `subject` is the twin and `data` an object of dotted path to value. A bad event goes to quarantine and the
    rest of its batch lands.
    """
    call = call_of(request)
    if create_model is not None:
        call.principal.require(Scope.WRITE)
    received_us = now_us()
    started_s = time.perf_counter()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    decoded = await call.services.ingest.decode(await request.body(), media_type)
    wanted = IngestRequest(
        decoded,
        received_us,
        call.entry(target=_target(source)),
        position=_position(source, position),
        create_model=create_model,
    )
    result = await call.services.ingest.submit(call.tenant, wanted)
    _count(call, result, time.perf_counter() - started_s)
    return json_answer(result)


@get(
    "/v1/sources/{source:str}/position",
    **route(TAG, RouteInfo(Scope.INGEST, answer={JSON: SourcePosition})),
)
async def source_position(
    request: AnyRequest, source: Annotated[str, PathParameter(description="Its name.")]
) -> Response[bytes]:
    """Say how far a source has been read, so that its reader can go on from there."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(SourcePosition(source, await read_position(tx, source)))


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
        "id": _text("Message-Id", message_id),
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


def _position(source: str | None, position: str | None) -> Position | None:
    if position is None:
        return None
    if source is None:
        raise InvalidError("MissingArgument", "Gemel-Position needs Gemel-Source.")
    return Position(_text("Gemel-Source", source), _text("Gemel-Position", position))


def _text(name: str, value: str) -> str:
    if not 0 < len(value) <= TEXT_LENGTH_MAX or not value.isprintable():
        raise InvalidError(
            "InvalidArgument", f"{name} must have 1 to {TEXT_LENGTH_MAX} printable characters."
        )
    return value


def _target(source: str | None) -> str:
    return "" if source is None else source


def _count(call: Call, result: IngestResult, seconds: float) -> None:
    outcomes = {name: getattr(result, name) for name in (*OUTCOMES, "quarantined")}
    call.services.metrics.count_batch(outcomes, seconds)
    call.services.tallies.add(call.tenant, {"events": result.events, **outcomes})


HANDLERS: list[HTTPRouteHandler] = [ingest, source_position, send_telemetry, send_component_telemetry]

"""Events in: CloudEvents bodies, and how far their sources were read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated
from urllib.parse import unquote

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, PathParameter

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import checked_text
from gemel.api.routing import JSON, RouteInfo, route
from gemel.base.clock import now_us
from gemel.base.errors import Detail, InvalidError
from gemel.history.origins import Sending
from gemel.ingest.arrow import ARROW
from gemel.ingest.binary import attributes_of, decode_binary
from gemel.ingest.bodies import decode_any, weigh_any
from gemel.ingest.events import BATCH, LINES, SINGLE, Decoded, Event
from gemel.ingest.positions import Position, read_position
from gemel.ingest.requests import IngestRequest, IngestResult
from gemel.ingest.table import EventTable
from gemel.observe.laps import Laps
from gemel.security.audit import storable
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "RESULT", "At", "Source", "SourcePosition", "batch_target", "read_to"]

TAG = "Events"
SOURCES_MAX = 3
SOURCE_LENGTH_MAX = 150
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
    HeaderParameter(
        name="Gemel-Source",
        description="What the events were read from, by any name; under that of a source of kind push they are "
        "taken by its contract.",
    ),
]
At = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-Position",
        description="How far Gemel-Source has been read with these events; kept in their commit.",
    ),
]
File = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-File",
        description="The file that the events were read from, percent-encoded; kept as their origin.",
    ),
]
Mapping = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-Mapping",
        description="The mapping that made the events, percent-encoded; kept as their origin.",
    ),
]
CreateModel = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-Create-Model",
        description="Create twins that do not exist, with this model; needs the scope write, too.",
    ),
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
            body={BATCH: list[Event], SINGLE: Event, LINES: str, JSON: Event | list[Event], ARROW: bytes},
            body_example=EVENT,
            answer={JSON: IngestResult},
            answer_example=RESULT,
            failures=(413, 415, 429),
        ),
    ),
)
async def ingest(
    request: AnyRequest,
    source: Source = None,
    position: At = None,
    file: File = None,
    mapping: Mapping = None,
    create_model: CreateModel = None,
) -> Response[bytes]:
    """Take CloudEvents 1.0: one, a batch, one a line, or an Arrow stream; answered once durable and visible.

    `subject` is the twin and `data` an object of dotted path to value. A bad event goes to quarantine and the
    rest of its batch lands. In binary content mode the headers `ce-specversion`, `ce-id`, `ce-source` and `ce-type`,
    with `ce-subject`, `ce-time` and those of extensions, are the event, percent-encoded, and the body is its `data`.
    """
    call = call_of(request)
    if create_model is not None:
        call.principal.require(Scope.WRITE)
    received_us = now_us()
    laps = Laps()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    attributes = attributes_of(_headers(request), media_type)
    position_read = read_to(source, position)
    sending = Sending(
        source and storable(source),
        position,
        _unquoted("Gemel-File", file),
        _unquoted("Gemel-Mapping", mapping),
    )

    async with call.services.sources.pushed.under(call.tenant, source) as pushing:

        def decode(held: bytes) -> Decoded:
            decoded = decode_any(held, media_type) if attributes is None else decode_binary(held, attributes)
            return decoded if pushing is None else pushing.shown(decoded, received_us)

        def request_of(decoded: Decoded) -> IngestRequest:
            return IngestRequest(
                decoded,
                received_us,
                call.entry(target=batch_target(source, decoded.events)),
                positions=position_read,
                sending=sending,
                create_model=create_model,
                guard=pushing,
                laps=laps,
            )

        body = await request.body()
        laps.end("receive")
        result = await call.services.ingest.receive(
            call.tenant, body, decode, request_of, lambda held: weigh_any(held, media_type)
        )
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


def read_to(source: str | None, position: str | None) -> list[Position]:
    """Return how far a source has been read, as its headers say; raise InvalidError where they do not do."""
    if position is None:
        return []
    if source is None:
        raise InvalidError("MissingArgument", "Gemel-Position needs Gemel-Source.")
    return [Position(checked_text("Gemel-Source", source), checked_text("Gemel-Position", position))]


def _headers(request: AnyRequest) -> Iterable[tuple[str, str]]:
    for name, value in request.scope["headers"]:
        yield name.decode("latin-1").lower(), value.decode("latin-1")


def _unquoted(name: str, value: str | None) -> str | None:
    return None if value is None else checked_text(name, unquote(value))


def batch_target(source: str | None, events: Sequence[Event | Detail]) -> str:
    """Return what the audit trail names as the target of a batch: its source, and how many events it has.

    The source is the one that the request names, else those of the events: at most three, then "…".
    """
    count = f"({len(events)} event{'' if len(events) == 1 else 's'})"
    sources = {source} if source else dict.fromkeys(_sources(events))
    # Clipped, so that the count stands within what the trail keeps of a target.
    shown = [_clipped(name) for name in islice(sources, SOURCES_MAX)]
    return " ".join([", ".join(shown) + ", …" * (len(sources) > SOURCES_MAX), count]).strip()


def _sources(events: Sequence[Event | Detail]) -> Iterable[str]:
    if isinstance(events, EventTable):
        return (name for name in events.sources.values if name)
    return (event.source for event in events if isinstance(event, Event))


def _clipped(name: str) -> str:
    return name if len(name) <= SOURCE_LENGTH_MAX else f"{name[: SOURCE_LENGTH_MAX - 1]}…"


HANDLERS: list[HTTPRouteHandler] = [ingest, source_position]

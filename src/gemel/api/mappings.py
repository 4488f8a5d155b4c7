"""Mappings of foreign payloads: kept by name in versions, and messages pushed through them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import unquote

from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from gemel.api.bodies import empty_answer, json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.events import RESULT, At, Source, batch_target, read_to
from gemel.api.params import checked_text
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed
from gemel.base.clock import now_us
from gemel.base.errors import TooLargeError
from gemel.history.origins import Sending
from gemel.ingest.events import LINES, Decoded
from gemel.ingest.framing import EVENTS_MAX, split_lines
from gemel.ingest.requests import IngestRequest, IngestResult
from gemel.mapping import stored
from gemel.mapping.scene import Message
from gemel.mapping.stored import StoredMapping
from gemel.observe.laps import Laps
from gemel.security.audit import record, storable
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "Mappings"
YAML = "application/yaml"
TEXT = "text/plain"
EXAMPLE = """version: 2
source: plant
time: {path: ts, format: unix_ms}
twins:
  - twin: "{device}"
    values: {speed: rpm}
"""
MESSAGE = {"device": "pump-1", "ts": 1769860800123, "rpm": 1450.0}

Name = Annotated[str, PathParameter(description="The mapping's name.")]
Topic = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-Topic",
        description="The topic of the message, percent-encoded, for mappings that read it.",
    ),
]
MessageId = Annotated[
    str | None,
    HeaderParameter(
        name="Gemel-Message-Id",
        description="Names the body, the same when it is sent again; needed where its messages hold no time.",
    ),
]
Version = Annotated[
    int | None,
    QueryParameter(
        name="version", ge=1, le=2**31 - 1, description="A version; the newest where none is named."
    ),
]


@get("/v1/mappings", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[StoredMapping]})))
async def list_mappings(request: AnyRequest) -> Response[bytes]:
    """List mappings by name, each with its newest version, without their texts."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer({"value": await stored.list_mappings(tx)})


@get(
    "/v1/mappings/{name:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: StoredMapping}, failures=(404,))),
)
async def show_mapping(request: AnyRequest, name: Name, version: Version = None) -> Response[bytes]:
    """Show a mapping with its text as it was sent."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await stored.get_mapping(tx, name, version))


@put(
    "/v1/mappings/{name:str}",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE, "mapping.put", body={YAML: str}, body_example=EXAMPLE, answer={JSON: StoredMapping}
        ),
    ),
)
async def put_mapping(request: AnyRequest, name: Name) -> Response[bytes]:
    """Keep a mapping (YAML or JSON) as the newest version of its name; earlier versions stay.

    One that says the same as the newest is no new version, whatever its layout.
    """
    call = call_of(request)
    document = await request.body()
    mapper = await asyncio.to_thread(stored.compile_stored, name, document)
    async with call.services.database.write(call.tenant) as tx:
        kept = await stored.put_mapping(tx, name, mapper.mapping.digest, document.decode())
        await record(tx, [call.entry(target=f"{name}@{kept.digest}")])
    return json_answer(kept)


@delete(
    "/v1/mappings/{name:str}",
    **route(TAG, RouteInfo(Scope.WRITE, "mapping.delete", failures=(404,)), status=204),
)
async def delete_mapping(request: AnyRequest, name: Name) -> Response[None]:
    """Delete a mapping with all its versions; what it brought in stays."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await stored.delete_mapping(tx, name)
        await record(tx, [call.entry()])
    return empty_answer()


@post(
    "/v1/push/{name:str}",
    **route(
        TAG,
        RouteInfo(
            Scope.INGEST,
            "events.push",
            body={JSON: Any, LINES: str, TEXT: str},
            body_example=MESSAGE,
            answer={JSON: IngestResult},
            answer_example=RESULT,
            failures=(404, 413, 429),
        ),
    ),
)
async def push(
    request: AnyRequest,
    name: Name,
    topic: Topic = None,
    message_id: MessageId = None,
    source: Source = None,
    position: At = None,
) -> Response[bytes]:
    """Take a message of any shape through a mapping, or with application/x-ndjson one a line.

    Answered once its events are durable and visible. What does not fit the mapping goes to quarantine, and the
    rest lands.
    """
    call = call_of(request)
    received_us = now_us()
    laps = Laps()
    position_read = read_to(source, position)
    told = None if topic is None else checked_text("Gemel-Topic", unquote(topic))
    named = None if message_id is None else checked_text("Gemel-Message-Id", message_id)
    is_lines = request.headers.get("content-type", "").partition(";")[0].strip().lower() == LINES
    async with call.services.database.read(call.tenant) as tx:
        mapper = await call.services.mappings.mapper(tx, name)

    async with call.services.sources.pushed.under(call.tenant, source) as pushing:

        def decode(body: bytes) -> Decoded:
            messages = [
                Message(payload, received_us, named and _place(named, number, is_lines), told)
                for number, payload in enumerate(split_lines(body) if is_lines else [body])
            ]
            made = mapper.run(messages) if pushing is None else pushing.mapped(mapper, messages)
            return _few_enough(made.decoded(body))

        def request_of(decoded: Decoded) -> IngestRequest:
            return IngestRequest(
                decoded,
                received_us,
                call.entry(target=batch_target(source or name, decoded.events)),
                positions=position_read,
                sending=Sending(storable(source or name), position, None, mapper.mapping.label),
                guard=pushing,
                laps=laps,
            )

        body = await request.body()
        laps.end("receive")
        result = await call.services.ingest.receive(call.tenant, body, decode, request_of)
    return json_answer(result)


def _few_enough(decoded: Decoded) -> Decoded:
    if len(decoded.events) > EVENTS_MAX:
        raise TooLargeError(
            "BodyTooLarge",
            f"The body makes {len(decoded.events)} events, more than {EVENTS_MAX}.",
            "Split it.",
        )
    return decoded


def _place(named: str, number: int, is_lines: bool) -> str:
    return f"{named}.{number}" if is_lines else named


HANDLERS: list[HTTPRouteHandler] = [list_mappings, show_mapping, put_mapping, delete_mapping, push]

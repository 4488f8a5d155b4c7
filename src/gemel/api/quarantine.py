"""Quarantined events: list, show, replay, discard."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter, QueryParameter

from gemel.api.bodies import json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import Limit
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed
from gemel.base.errors import InvalidError
from gemel.ingest import quarantine
from gemel.ingest.quarantine import Quarantined, Selection
from gemel.ingest.requests import IngestResult
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "Discarded"]

TAG = "Quarantine"
SELECTION = {"code": "TwinUnknown", "source": "/line/1"}
INT64_MAX = 2**63 - 1

Code = Annotated[str | None, QueryParameter(name="code", description="Only events of this error code.")]
Source = Annotated[str | None, QueryParameter(name="source", description="Only events of this source.")]
After = Annotated[
    int | None,
    QueryParameter(
        name="after", ge=0, le=INT64_MAX, description="Go on behind this number, in the order asked for."
    ),
]
Order = Annotated[
    Literal["asc", "desc"],
    QueryParameter(name="order", description="`asc`: the oldest first; `desc`: the newest first."),
]


SelectionBody = Annotated[
    Selection,
    msgspec.Meta(
        extra_json_schema={
            "properties": {
                "numbers": {
                    "type": ["array", "null"],
                    "items": {"type": "integer", "minimum": 0, "maximum": INT64_MAX},
                }
            },
            "anyOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("numbers", "array"), ("code", "string"), ("source", "string"))
            ],
        }
    ),
]


class Discarded(msgspec.Struct, frozen=True):
    """How many events were thrown away."""

    discarded: int


@get("/v1/quarantine", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[Quarantined]})))
async def list_events(
    request: AnyRequest,
    code: Code = None,
    source: Source = None,
    after: After = None,
    order: Order = "asc",
    limit: Limit = 100,
) -> Response[bytes]:
    """List rejected events with their reasons, in order of arrival or the newest first."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found = await quarantine.list_quarantine(
            tx, code=code, source=source, after=after, limit=limit, newest_first=order == "desc"
        )
    return json_answer({"value": found})


@get(
    "/v1/quarantine/{number:int}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Quarantined}, failures=(404,))),
)
async def show_event(
    request: AnyRequest,
    number: Annotated[int, PathParameter(ge=0, le=INT64_MAX, description="The event's number.")],
) -> Response[bytes]:
    """Show one rejected event whole."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await quarantine.show(tx, number))


@post(
    "/v1/quarantine/replay",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "quarantine.replay",
            body={JSON: SelectionBody},
            body_example=SELECTION,
            answer={JSON: IngestResult},
        ),
    ),
)
async def replay(request: AnyRequest) -> Response[bytes]:
    """Offer rejected events again; those that are taken now leave the quarantine."""
    call = call_of(request)
    selection = await _selection(request)
    entry = call.entry(target=_named(selection))
    return json_answer(await call.services.ingest.replay(call.tenant, selection, entry))


@post(
    "/v1/quarantine/discard",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "quarantine.discard",
            body={JSON: SelectionBody},
            body_example=SELECTION,
            answer={JSON: Discarded},
        ),
    ),
)
async def discard(request: AnyRequest) -> Response[bytes]:
    """Throw rejected events away for good."""
    call = call_of(request)
    selection = await _selection(request)
    async with call.services.database.write(call.tenant) as tx:
        count = await quarantine.discard(tx, selection)
        await record(tx, [call.entry(target=_named(selection))])
    return json_answer(Discarded(count))


async def _selection(request: AnyRequest) -> Selection:
    selection: Selection = await read_json(request, Selection)
    if selection == Selection():
        raise InvalidError("InvalidArgument", "Nothing is selected.", "Give numbers, code or source.")
    if any(not 0 <= number <= INT64_MAX for number in selection.numbers or ()):
        raise InvalidError("InvalidArgument", "A number is not one of an event.")
    return selection


def _named(selection: Selection) -> str:
    return msgspec.json.encode(selection).decode()


HANDLERS: list[HTTPRouteHandler] = [list_events, show_event, replay, discard]

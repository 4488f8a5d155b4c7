"""Quarantined events: list, group, show, replay, mend, discard, give up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter, QueryParameter

from gemel.api.bodies import json_answer, read_json
from gemel.api.call import AnyRequest, Call, call_of
from gemel.api.params import Limit
from gemel.api.quarantine_bodies import INT64_MAX, NAMING, ReplayBody, SelectionBody, given_selection
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed
from gemel.base.clock import now_us
from gemel.ingest import expiry, quarantine
from gemel.ingest.groups import Grouping, count_groups
from gemel.ingest.quarantine import Quarantined
from gemel.ingest.replay import Replayed, Replayer
from gemel.ingest.selection import Selection
from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.mapping.stored import compile_stored, get_mapping
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "Discarded"]

TAG = "Quarantine"
SELECTED = {"selection": Provide(given_selection, sync_to_thread=False)}
SELECTION = {"code": "TwinUnknown", "source": "/line/1"}

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
GroupBy = Annotated[
    list[Grouping] | None,
    QueryParameter(name="by", description="What to group by; may be given often. Default: one group of all."),
]


class Group(msgspec.Struct, rename="camel", omit_defaults=True):
    """Some quarantined events: what they share, how many, how often they came, when, and their numbers."""

    events: int
    seen: int
    first_received: str
    last_received: str
    first: int
    last: int
    code: str | None = None
    source: str | None = None
    read_from: str | None = None
    mapping: str | None = None
    hour: str | None = None
    day: str | None = None


class Expiry(msgspec.Struct, rename="camel"):
    """After how many days an event is given up, null for never; `due` counts by code those that are older now."""

    days: int | None
    due: dict[str, int]


class ExpiryBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """After how many days an event is to be given up, null for never; `dryRun` only says what would go now."""

    days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None
    dry_run: bool = False


class Expired(msgspec.Struct, rename="camel"):
    """After how many days events are given up, and how many went of each code, or would in a dry run."""

    days: int | None
    expired: dict[str, int]
    dry_run: bool


class Discarded(msgspec.Struct, frozen=True):
    """How many events were thrown away."""

    discarded: int


@get(
    "/v1/quarantine",
    dependencies=SELECTED,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[Quarantined]})),
)
async def list_events(
    request: AnyRequest,
    selection: NamedDependency[Selection],
    after: After = None,
    order: Order = "asc",
    limit: Limit = 100,
) -> Response[bytes]:
    """List rejected events with their reasons, in order of arrival or the newest first; times are of receipt."""
    call = call_of(request)
    newest_first = order == "desc"
    if after is not None:
        selection = replace(selection, upto=after - 1) if newest_first else replace(selection, after=after)
    async with call.services.database.read(call.tenant) as tx:
        found = await quarantine.list_quarantine(tx, selection, limit, newest_first=newest_first)
    return json_answer({"value": found})


@get(
    "/v1/quarantine/groups",
    dependencies=SELECTED,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[Group]})),
)
async def group_events(
    request: AnyRequest,
    selection: NamedDependency[Selection],
    by: GroupBy = None,
    limit: Limit = 100,
) -> Response[bytes]:
    """Count rejected events by code, source, what brought them, mapping, and hour or day; the largest groups first."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer({"value": await count_groups(tx, selection, by or [], limit)})


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
            body={JSON: Annotated[ReplayBody, msgspec.Meta(extra_json_schema=NAMING)]},
            body_example=SELECTION,
            answer={JSON: Replayed},
            failures=(404,),
        ),
    ),
)
async def replay(request: AnyRequest) -> Response[bytes]:
    """Offer rejected events again, as they came, patched or mapped anew; those that are taken leave the quarantine.

    A message of which several events are made leaves it with all of them or not at all. A dry run says what would
    become of each and writes nothing.
    """
    call = call_of(request)
    body: ReplayBody = await read_json(request, ReplayBody)
    services = call.services
    replayer = Replayer(services.database, services.ingest)
    wanted = body.wanted(await _mapper(call, body))
    return json_answer(await replayer.replay(call.tenant, wanted, call.entry(target=body.told())))


@post(
    "/v1/quarantine/discard",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "quarantine.discard",
            body={JSON: Annotated[SelectionBody, msgspec.Meta(extra_json_schema=NAMING)]},
            body_example=SELECTION,
            answer={JSON: Discarded},
        ),
    ),
)
async def discard(request: AnyRequest) -> Response[bytes]:
    """Throw rejected events away for good."""
    call = call_of(request)
    body: SelectionBody = await read_json(request, SelectionBody)
    selection = body.selection()
    async with call.services.database.write(call.tenant) as tx:
        count = await quarantine.discard(tx, selection)
        await record(tx, [call.entry(target=body.told())])
    return json_answer(Discarded(count))


@get("/v1/quarantine/expiry", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Expiry})))
async def get_expiry(request: AnyRequest) -> Response[bytes]:
    """Say after how many days rejected events are given up, and how many are due."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        days = await expiry.expiry_days(tx)
        due = {} if days is None else await expiry.count_due(tx, days, now_us())
    return json_answer(Expiry(days, due))


@put(
    "/v1/quarantine/expiry",
    **route(
        TAG,
        RouteInfo(
            Scope.ADMIN,
            "quarantine.expiry",
            body={JSON: ExpiryBody},
            body_example={"days": 90, "dryRun": True},
            answer={JSON: Expired},
        ),
    ),
)
async def set_expiry(request: AnyRequest) -> Response[bytes]:
    """Give rejected events up after some days from now on, beginning with those that are older already."""
    call = call_of(request)
    body: ExpiryBody = await read_json(request, ExpiryBody)
    if body.dry_run:
        async with call.services.database.read(call.tenant) as tx:
            due = {} if body.days is None else await expiry.count_due(tx, body.days, now_us())
        return json_answer(Expired(body.days, due, dry_run=True))
    async with call.services.database.write(call.tenant) as tx:
        await expiry.set_expiry_days(tx, body.days)
        gone = {} if body.days is None else await expiry.expire(tx, body.days, now_us())
        target = "never" if body.days is None else expiry.told(body.days, gone)
        await record(tx, [call.entry(target=target)])
    return json_answer(Expired(body.days, gone, dry_run=False))


async def _mapper(call: Call, body: ReplayBody) -> Mapper | None:
    """Return the mapping that a body names or holds, compiled. Raises NotFoundError (MappingNotFound)."""
    if body.mapping is None:
        return None
    if body.mapping_text is not None:
        text, name = body.mapping_text.encode(), body.mapping
        return await asyncio.to_thread(lambda: Mapper(parse_payload_mapping(text, name)))
    async with call.services.database.read(call.tenant) as tx:
        if body.mapping_version is None:
            return await call.services.mappings.mapper(tx, body.mapping)
        kept = await get_mapping(tx, body.mapping, body.mapping_version)
    document = (kept.document or "").encode()
    return await asyncio.to_thread(compile_stored, kept.name, document)


HANDLERS: list[HTTPRouteHandler] = [
    list_events,
    group_events,
    get_expiry,
    set_expiry,
    show_event,
    replay,
    discard,
]

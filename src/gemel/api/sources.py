"""Sources: what is read into the twins; described, tried, started, stopped, and how they go."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed, Time
from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.security.audit import record
from gemel.security.principal import Scope
from gemel.sources.contract import QueueProbe
from gemel.sources.definition import Definition
from gemel.sources.drift import Drift, forget_drift, list_drift
from gemel.sources.records import (
    SourceRow,
    State,
    Texts,
    get_source,
    list_sources,
    put_source,
    remove_source,
    set_wanted,
)
from gemel.sources.service import Trial, probe_source

__all__ = ["HANDLERS", "SourceView"]

TAG = "Sources"
DESCRIPTION = """name: meters
kind: folder
connection: {folder: /data/in, files: "*.csv"}
mapping: meters.yaml
create_twins: true
"""
TEXTS = {"definition": DESCRIPTION, "mapping": "version: 1\n…"}

Name = Annotated[str, PathParameter(description="The source's name.")]


class SourceView(msgspec.Struct, rename="camel"):
    """How a source goes; `error` and `errorCode` say what is wrong, `nextTry` when it is tried again.

    `contract` is the name and version of its contract, if it has one.

    The counts are since it was first described: batches, events, and values as `POST /v1/events` counts them.
    """

    name: str
    kind: str
    contract: str | None
    wanted: str
    state: State
    since: Time
    failures: int
    next_try: Time | None
    error_code: str | None
    error: str | None
    counts: dict[str, int]
    last_batch: Time | None
    version: int
    created: Time
    changed: Time


@get("/v1/sources", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[SourceView]})))
async def get_sources(request: AnyRequest) -> Response[bytes]:
    """List sources by name, and how each goes."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer({"value": [_view(row) for row in await list_sources(tx)]})


@get(
    "/v1/sources/{source:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: SourceView}, failures=(404,))),
)
async def show_source(request: AnyRequest, source: Name) -> Response[bytes]:
    """Say how a source goes."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(_view(await get_source(tx, source)))


@get(
    "/v1/sources/{source:str}/drift",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[Drift]}, failures=(404,))),
)
async def show_drift(request: AnyRequest, source: Name) -> Response[bytes]:
    """Say how a source has drifted from its contract: what lasts, then the newest first."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        await get_source(tx, source)
        return json_answer({"value": await list_drift(tx, source)})


@delete(
    "/v1/sources/{source:str}/drift",
    **route(TAG, RouteInfo(Scope.ADMIN, "source.drift.forget", failures=(404,)), status=204),
)
async def clear_drift(request: AnyRequest, source: Name) -> Response[None]:
    """Forget how a source has drifted: what was seen is dealt with, and counted from nothing again."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await get_source(tx, source)
        await forget_drift(tx, source)
        await record(tx, [call.entry()])
    return empty_answer()


@get(
    "/v1/sources/{source:str}/definition",
    **route(TAG, RouteInfo(Scope.ADMIN, "source.show", answer={JSON: Texts}, failures=(404,))),
)
async def show_definition(request: AnyRequest, source: Name) -> Response[bytes]:
    """Give a source's description as it was given; secrets stand in it as references."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        found = await get_source(tx, source)
        await record(tx, [call.entry()])
    return json_answer(found.texts)


@put(
    "/v1/sources/{source:str}",
    **route(
        TAG,
        RouteInfo(
            Scope.ADMIN,
            "source.put",
            body={JSON: Texts},
            body_example=TEXTS,
            answer={JSON: SourceView},
        ),
    ),
)
async def describe_source(request: AnyRequest, source: Name) -> Response[bytes]:
    """Describe a source in YAML, or describe it anew; one that is started goes on by the new description.

    `mapping` and `contract` are the texts of the files that the description names, if it names them.
    """
    call = call_of(request)
    texts, definition = await _texts(request, source)
    async with call.services.database.write(call.tenant) as tx:
        kept = await put_source(tx, definition, texts)
        await record(tx, [call.entry()])
    call.services.sources.tell()
    return json_answer(_view(kept))


@post(
    "/v1/sources/{source:str}/test",
    **route(
        TAG,
        RouteInfo(
            Scope.ADMIN,
            "source.test",
            body={JSON: Texts},
            body_example=TEXTS,
            answer={JSON: Trial},
            failures=(503,),
        ),
        status=200,
    ),
)
async def try_source(request: AnyRequest, source: Name) -> Response[bytes]:
    """Open a source as described, and read a little of it; nothing is kept, and nothing acknowledged."""
    call = call_of(request)
    texts, _ = await _texts(request, source)
    tried = await call.services.sources.attempt(call.tenant, call.principal.tenant_name, texts)
    async with call.services.database.write(call.tenant) as tx:
        await record(tx, [call.entry()])
    return json_answer(tried)


@post(
    "/v1/sources/{source:str}/probe",
    **route(
        TAG,
        RouteInfo(Scope.ADMIN, "source.probe", answer={JSON: QueueProbe}, failures=(404, 503)),
        status=200,
    ),
)
async def probe(request: AnyRequest, source: Name) -> Response[bytes]:
    """Try out how many messages the broker of a source keeps while nobody reads, on a topic of our own.

    5,000 small ones are published to a session that is away, and what is left of them is counted.
    """
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        row = await get_source(tx, source)
    found = await probe_source(call.services.sources, call.principal.tenant_name, row.texts)
    async with call.services.database.write(call.tenant) as tx:
        await record(tx, [call.entry()])
    return json_answer(found)


@post(
    "/v1/sources/{source:str}/start",
    **route(
        TAG, RouteInfo(Scope.ADMIN, "source.start", answer={JSON: SourceView}, failures=(404,)), status=200
    ),
)
async def start_source(request: AnyRequest, source: Name) -> Response[bytes]:
    """Start a source, from where it was left; one that failed or waits is tried again at once."""
    return await _want(request, source, "started")


@post(
    "/v1/sources/{source:str}/stop",
    **route(
        TAG, RouteInfo(Scope.ADMIN, "source.stop", answer={JSON: SourceView}, failures=(404,)), status=200
    ),
)
async def stop_source(request: AnyRequest, source: Name) -> Response[bytes]:
    """Stop a source after the batch under way; it stays where it is until it is started again."""
    return await _want(request, source, "stopped")


@delete(
    "/v1/sources/{source:str}",
    **route(TAG, RouteInfo(Scope.ADMIN, "source.remove", failures=(404,)), status=204),
)
async def delete_source(request: AnyRequest, source: Name) -> Response[None]:
    """Forget a source, and how far it was read; what it brought stays."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await remove_source(tx, source)
        await record(tx, [call.entry()])
    call.services.sources.tell()
    return empty_answer()


async def _texts(request: AnyRequest, source: str) -> tuple[Texts, Definition]:
    """Return the description in a request's body, which must be of the source that its path names."""
    texts: Texts = await read_json(request, Texts)
    call = call_of(request)
    definition = await call.services.sources.check(call.principal.tenant_name, texts)
    if definition.name != source:
        message = f"The source's name: is {definition.name!r}, and the path says {source[:80]!r}."
        raise InvalidError("SourceInvalid", message)
    return texts, definition


async def _want(request: AnyRequest, source: str, wanted: Literal["started", "stopped"]) -> Response[bytes]:
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        kept = await set_wanted(tx, source, wanted)
        await record(tx, [call.entry()])
    call.services.sources.tell()
    return json_answer(_view(kept))


def _view(row: SourceRow) -> SourceView:
    return SourceView(
        name=row.name,
        kind=row.kind,
        contract=row.contract,
        wanted=row.wanted,
        state=row.state,
        since=iso_us(row.since_us),
        failures=row.failures,
        next_try=_time(row.next_try_us),
        error_code=row.error_code,
        error=row.error,
        counts=row.counts,
        last_batch=_time(row.last_batch_us),
        version=row.version,
        created=iso_us(row.created_us),
        changed=iso_us(row.changed_us),
    )


def _time(us: int | None) -> str | None:
    return None if us is None else iso_us(us)


HANDLERS: list[HTTPRouteHandler] = [
    get_sources,
    show_source,
    show_drift,
    clear_drift,
    show_definition,
    describe_source,
    try_source,
    probe,
    start_source,
    stop_source,
    delete_source,
]

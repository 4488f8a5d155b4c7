"""Models beyond the Azure Digital Twins data plane: search, changelog, deprecation."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, Call, call_of
from gemel.api.durations import parse_moment_us
from gemel.api.params import Limit, ModelId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed, Time
from gemel.base.clock import now_us
from gemel.graph import model_story
from gemel.graph.model_log import ModelLogEntry, append_log
from gemel.graph.upgrade import Upgrade, Upgrader
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "Models"
NOTE = Annotated[str, msgspec.Meta(max_length=4000)]


class ModelHit(msgspec.Struct, rename="camel"):
    """A model that a search found; `places` says where: id, displayName, or the name of a content."""

    id: str
    display_name: dict[str, str]
    places: list[str]
    decommissioned: bool
    deprecated: bool


class DeprecationBody(msgspec.Struct, forbid_unknown_fields=True):
    """From when new twins should be of another model (default: now), when it is meant to be gone, and why."""

    from_: str | None = msgspec.field(name="from", default=None)
    removal: str | None = None
    successor: str | None = None
    note: NOTE = ""


class DeprecationView(msgspec.Struct):
    """A deprecation as it stands."""

    from_: Time = msgspec.field(name="from")
    removal: Time | None = None
    successor: str | None = None


class NoteBody(msgspec.Struct, forbid_unknown_fields=True):
    """A line for the changelog."""

    note: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class LogEntryView(msgspec.Struct):
    """One entry of a changelog; `changes` are those from the version before, each compatible or breaking."""

    number: int
    at: Time
    actor: str | None
    kind: str
    note: str
    changes: list[dict[str, Any]]


class ModelStory(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model with its deprecation, versions, number of twins and changelog, newest first."""

    id: str
    deleted: bool
    versions: list[str]
    log: list[LogEntryView]
    display_name: dict[str, str] | None = None
    description: dict[str, str] | None = None
    upload_time: Time | None = None
    decommissioned: bool | None = None
    deprecation: DeprecationView | None = None
    twins: int | None = None


class UpgradeRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which twins are to have which model.

    `dryRun` only looks; `drop` removes values that do not fit, which their history keeps, where their twins would
    else stay as they are; a `continuationToken` goes on with the next twins, at most `limit`.
    """

    from_: str = msgspec.field(name="from")
    to: str
    dry_run: bool = True
    drop: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    continuation_token: str | None = None


class MisfitView(msgspec.Struct):
    """What of a twin does not fit: its dotted path, empty for the twin itself, its value, and why."""

    twin: str
    path: str
    value: Any
    reason: str


class UpgradeResult(msgspec.Struct, rename="camel"):
    """How many twins were looked at and moved (in a dry run: would be), and what does not fit."""

    examined: int
    moved: int
    misfits: list[MisfitView]
    continuation_token: str | None


@get("/v1/models", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[ModelHit]})))
async def search_models(
    request: AnyRequest,
    search: Annotated[
        str,
        QueryParameter(
            name="search",
            min_length=1,
            max_length=200,
            description="Words, all of which a model has in its id, names or texts; in any case.",
        ),
    ],
    limit: Limit = 50,
) -> Response[bytes]:
    """Search models by text, the best first."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found = await model_story.find_models(tx, call.services.context.library, search, limit)
    return json_answer({"value": found})


@get(
    "/v1/models/{model_id:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: ModelStory}, failures=(404,))),
)
async def get_story(request: AnyRequest, model_id: ModelId) -> Response[bytes]:
    """Get what became of a model: deprecation, versions, number of twins, changelog; also of a deleted one."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await model_story.model_story(tx, call.services.context.library, model_id))


@put(
    "/v1/models/{model_id:str}/deprecation",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "model.deprecate",
            body={JSON: DeprecationBody},
            body_example={"successor": "dtmi:example:Pump;2", "removal": "2027-06-30T00:00:00Z"},
            failures=(404,),
        ),
        status=204,
    ),
)
async def deprecate_model(request: AnyRequest, model_id: ModelId) -> Response[None]:
    """Say from when a model should have no new twins: answers that make one then say so in their headers."""
    call = call_of(request)
    body: DeprecationBody = await read_json(request, DeprecationBody)
    deprecation = model_story.Deprecation(
        now_us() if body.from_ is None else parse_moment_us("from", body.from_),
        None if body.removal is None else parse_moment_us("removal", body.removal),
        body.successor,
    )
    async with call.services.database.write(call.tenant) as tx:
        entry = _entry(call, model_id, "deprecated", body.note)
        await model_story.deprecate(tx, call.services.context.library, entry, deprecation)
        await record(tx, [call.entry()])
    return empty_answer()


@delete(
    "/v1/models/{model_id:str}/deprecation",
    **route(TAG, RouteInfo(Scope.WRITE, "model.undeprecate", failures=(404,)), status=204),
)
async def withdraw_deprecation(request: AnyRequest, model_id: ModelId) -> Response[None]:
    """Take a deprecation back."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await model_story.withdraw_deprecation(tx, _entry(call, model_id, "undeprecated", ""))
        await record(tx, [call.entry()])
    return empty_answer()


@post(
    "/v1/models/{model_id:str}/log",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "model.note",
            body={JSON: NoteBody},
            body_example={"note": "speed is now in 1/min, as the drives report it"},
            failures=(404,),
        ),
        status=204,
    ),
)
async def add_note(request: AnyRequest, model_id: ModelId) -> Response[None]:
    """Add a line to a model's changelog."""
    call = call_of(request)
    body: NoteBody = await read_json(request, NoteBody)
    async with call.services.database.write(call.tenant) as tx:
        await model_story.add_note(tx, _entry(call, model_id, "noted", body.note))
        await record(tx, [call.entry()])
    return empty_answer()


@post(
    "/v1/models/upgrade",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "model.upgrade",
            body={JSON: UpgradeRequest},
            body_example={"from": "dtmi:example:Pump;1", "to": "dtmi:example:Pump;2"},
            answer={JSON: UpgradeResult},
            failures=(404,),
        ),
    ),
)
async def upgrade_models(request: AnyRequest) -> Response[bytes]:
    """Move twins of one model to another, a page at a time; by default only say which would not fit, and why."""
    call = call_of(request)
    body: UpgradeRequest = await read_json(request, UpgradeRequest)
    services = call.services
    upgrader = Upgrader(services.database, services.context, services.patcher)
    wanted = Upgrade(body.from_, body.to, body.dry_run, body.drop)
    page = await upgrader.page(call.tenant, wanted, call.entry(), body.limit, body.continuation_token)
    async with services.database.write(call.tenant) as tx:
        if page.moved and not body.dry_run:
            await append_log(tx, [_entry(call, body.to, "upgraded", f"{page.moved} twins of {body.from_}")])
        await record(tx, [call.entry(target=f"{body.from_} {body.to}")])
    answer = {
        "examined": page.examined,
        "moved": page.moved,
        "misfits": [misfit._asdict() for misfit in page.misfits],
        "continuationToken": page.token,
    }
    return json_answer(answer)


def _entry(call: Call, model_id: str, kind: str, note: str) -> ModelLogEntry:
    return ModelLogEntry(model_id, call.principal.actor, kind, note)


HANDLERS: list[HTTPRouteHandler] = [
    search_models,
    get_story,
    deprecate_model,
    withdraw_deprecation,
    add_note,
    upgrade_models,
]

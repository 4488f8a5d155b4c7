"""The past told: what happened to a twin, why its values are what they are, what differs between two moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.durations import parse_moment_us
from gemel.api.history_query import given_window, readable_of
from gemel.api.moments import MOMENT, KnownAt, past_us
from gemel.api.params import ID_SCHEMA, MOMENT_SCHEMA, TwinId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.base.clock import now_us
from gemel.base.errors import InvalidError
from gemel.base.words import did_you_mean
from gemel.graph.differences import Between
from gemel.history.moment import END_US, Moment
from gemel.history.moves import Stretch
from gemel.history.read import Window
from gemel.past.diff import Diff, DiffWanted, read_diff
from gemel.past.explain import Explained, explain
from gemel.past.timeline import KINDS, Kind, Timeline, TimelineWanted, read_timeline
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "Explanation", "Part", "given_diff", "given_part"]

TAG = "History"
VALUES: tuple[Kind, ...] = ("property", "telemetry", "correction")
CAUSE = {
    "actor": "key:line-1",
    "keyId": "k7f3",
    "action": "events.ingest",
    "target": "/line/1 (500 events)",
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    "event": {
        "id": "a-1",
        "source": "/line/1",
        "type": "telemetry",
        "place": 17,
        "timed": True,
        "readFrom": None,
        "position": None,
        "file": None,
        "mapping": None,
    },
}
TIMELINE = {
    "twin": "pump-1",
    "entries": [
        {
            "time": "2026-01-31T12:00:00.000000Z",
            "recorded": "2026-01-31T12:00:00.250000Z",
            "what": "property",
            "before": 1440.0,
            "after": 1450.0,
            "cause": CAUSE,
            "path": "speed",
            "quality": "good",
            "revision": 0,
        }
    ],
    "after": None,
}


DIFF = {
    "from": "2026-01-31T12:00:00.000000Z",
    "to": "2026-01-31T13:00:00.000000Z",
    "items": [
        {
            "twin": "pump-1",
            "change": "changed",
            "before": {"model": "dtmi:example:Pump;1", "lifecycle": "active"},
            "after": {"model": "dtmi:example:Pump;1", "lifecycle": "active"},
            "values": [{"path": "speed", "role": "property", "before": 1440.0, "after": 1450.0}],
        }
    ],
    "after": None,
}


class Explanation(msgspec.Struct, frozen=True):
    """Values of a twin, current or of a moment, each with what made it so."""

    twin: str
    values: list[Explained]


Paths = Annotated[
    list[str] | None,
    QueryParameter(name="path", description="A dotted path; may be given often. Default: all."),
]


class Part(NamedTuple):
    """Which part of a timeline, but for its times."""

    paths: list[str]
    kinds: Sequence[Kind]
    newest_first: bool
    limit: int
    after: str | None
    known_at_us: int


def given_part(
    path: Paths = None,
    kind: Annotated[
        list[Kind] | None,
        QueryParameter(
            name="kind", description="What to tell of; may be given often. Default: all but telemetry."
        ),
    ] = None,
    order: Annotated[
        Literal["asc", "desc"],
        QueryParameter(name="order", description="By time: `desc`, the newest first, or `asc`."),
    ] = "desc",
    limit: Annotated[
        int, QueryParameter(name="limit", ge=1, le=1000, description="Entries of a page.")
    ] = 100,
    after: Annotated[str | None, QueryParameter(name="after", description="From the page before.")] = None,
    known_at: KnownAt = None,
) -> Part:
    """Return which part of a timeline a request asks for; with paths alone, values of either role."""
    kinds = kind or (VALUES if path else [each for each in KINDS if each != "telemetry"])
    return Part(path or [], kinds, order == "desc", limit, after, past_us("knownAt", known_at))


@get(
    "/v1/twins/{twin_id:str}/timeline",
    dependencies={
        "window": Provide(given_window, sync_to_thread=False),
        "part": Provide(given_part, sync_to_thread=False),
    },
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Timeline}, answer_example=TIMELINE, failures=(404,))),
)
async def timeline(
    request: AnyRequest, twin_id: TwinId, window: NamedDependency[Window], part: NamedDependency[Part]
) -> Response[bytes]:
    """Tell what happened to a twin, a deleted one too: who or what changed which value when."""
    call = call_of(request)
    stretch = Stretch(window.from_us, window.to_us - 1, part.newest_first, part.known_at_us)
    wanted = TimelineWanted(stretch, part.kinds, part.paths, part.limit, part.after)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await read_timeline(tx, call.services.context.paths, twin_id, wanted))


@get(
    "/v1/twins/{twin_id:str}/explain",
    dependencies=MOMENT,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Explanation}, failures=(404,))),
)
async def explain_values(
    request: AnyRequest, twin_id: TwinId, moment: NamedDependency[Moment], path: Paths = None
) -> Response[bytes]:
    """Explain values, current or of a moment: the event or request that made each so, its source, times and rules."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        twin = await readable_of(call.services, tx, twin_id, moment)
        for each in path or ():
            if each not in twin.paths:
                raise InvalidError(
                    "PathNotInModel",
                    f"The model of {twin_id} has no path {each[:200]!r}.",
                    did_you_mean(each, twin.paths),
                )
        found = await explain(tx, call.services.context.paths, twin, path or (), moment)
    return json_answer(Explanation(twin_id, found))


def given_diff(
    start: Annotated[
        str,
        QueryParameter(name="from", description="The first moment: RFC 3339.", schema_extra=MOMENT_SCHEMA),
    ],
    end: Annotated[
        str | None,
        QueryParameter(
            name="to",
            description="The second moment: RFC 3339. Default: now.",
            schema_extra=MOMENT_SCHEMA,
        ),
    ] = None,
    twin: Annotated[
        str | None,
        QueryParameter(
            name="twin", description="Only of this twin and its surroundings.", schema_extra=ID_SCHEMA
        ),
    ] = None,
    depth: Annotated[
        int,
        QueryParameter(name="depth", ge=0, le=10, description="How many relationships around the twin."),
    ] = 0,
    telemetry: Annotated[
        bool, QueryParameter(name="telemetry", description="Tell of telemetry, too.")
    ] = False,
    known_at: KnownAt = None,
) -> DiffWanted:
    """Return which differences a request asks for."""
    from_us = max(0, parse_moment_us("from", start))
    to_us = now_us() if end is None else min(END_US, parse_moment_us("to", end))
    if from_us > to_us:
        raise InvalidError("InvalidArgument", "from must not be after to.")
    if depth and twin is None:
        raise InvalidError("MissingArgument", "depth needs twin.")
    return DiffWanted(
        Between(from_us, to_us, past_us("knownAt", known_at)), twin, depth, telemetry, end is None
    )


@get(
    "/v1/diff",
    dependencies={"wanted": Provide(given_diff, sync_to_thread=False)},
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: Diff}, answer_example=DIFF, failures=(404,))),
)
async def diff(
    request: AnyRequest,
    wanted: NamedDependency[DiffWanted],
    limit: Annotated[
        int, QueryParameter(name="limit", ge=1, le=1000, description="Items of a page, at most.")
    ] = 100,
    after: Annotated[
        str | None,
        QueryParameter(
            name="after", description="From the page before; it goes on between the same moments."
        ),
    ] = None,
) -> Response[bytes]:
    """Tell what differs between two moments: of a twin, of its neighbourhood, or of the whole graph."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await read_diff(tx, call.services.context.paths, wanted, limit, after))


HANDLERS: list[HTTPRouteHandler] = [timeline, explain_values, diff]

"""What was, and the last values: history of a twin's paths, and its telemetry."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.history_formats import ARROW, CSV, to_arrow, to_csv, with_times
from gemel.api.history_query import (
    PageWanted,
    Period,
    Wanted,
    given_buckets,
    given_page,
    given_period,
    read_history,
    readable_of,
)
from gemel.api.moments import MOMENT
from gemel.api.params import TwinId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Time
from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.history.moment import Moment
from gemel.history.paths import series_of
from gemel.history.read import Buckets
from gemel.history.state import read_state
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "History", "LastValue", "LastValues"]

TAG = "History"
RAW_COLUMNS = ("path", "time", "value", "removed", "quality", "revision", "recorded")
AFTER_HEADER = "Gemel-After"
EXAMPLE = {
    "twin": "pump-1",
    "values": [
        {
            "path": "speed",
            "time": "2026-01-31T12:00:00.000000Z",
            "value": 1450.0,
            "removed": False,
            "quality": "good",
            "revision": 0,
            "recorded": "2026-01-31T12:00:00.250000Z",
        }
    ],
    "after": None,
}


class History(msgspec.Struct):
    """Rows in the order of time: samples, or buckets with the aggregates asked for; `after` continues."""

    twin: str
    values: list[dict[str, Any]]
    after: str | None


class LastValue(msgspec.Struct):
    """The last value of a path; `unit` is the model's, where it names one."""

    value: Any
    sourceTime: Time  # noqa: N815
    recorded: Time
    quality: str
    unit: str | None


class LastValues(msgspec.Struct):
    """The last values of a twin by dotted path, properties and telemetry."""

    twin: str
    values: dict[str, LastValue]


@get(
    "/v1/twins/{twin_id:str}/history",
    dependencies={
        "period": Provide(given_period, sync_to_thread=False),
        "buckets": Provide(given_buckets, sync_to_thread=False),
        "page": Provide(given_page, sync_to_thread=False),
    },
    **route(
        TAG,
        RouteInfo(
            Scope.READ,
            answer={JSON: History, CSV: str, ARROW: bytes},
            answer_example=EXAMPLE,
            headers={AFTER_HEADER: "Where to go on from, as the parameter `after`; absent at the end."},
            failures=(404,),
        ),
    ),
)
async def history(
    request: AnyRequest,
    twin_id: TwinId,
    period: NamedDependency[Period],
    buckets: NamedDependency[Buckets | None],
    page: NamedDependency[PageWanted],
    path: Annotated[
        list[str] | None,
        QueryParameter(name="path", description="A dotted path; may be given often. Default: all."),
    ] = None,
) -> Response[bytes]:
    """Read samples of a twin back, or their aggregates by bucket: JSON, CSV or Arrow by Accept.

    `asOf` ends them there, and finds a twin that was deleted since; `knownAt` gives the values as known then.
    """
    call = call_of(request)
    media_type = _accepted(request)
    async with call.services.database.read(call.tenant) as tx:
        twin = await readable_of(call.services, tx, twin_id, period.moment)
        rows, token = await read_history(tx, twin, Wanted(path or [], period.window, buckets, page))
    headers = {} if token is None else {AFTER_HEADER: token}
    if media_type == JSON:
        answer = {"twin": twin_id, "values": with_times(rows), "after": token}
        return json_answer(answer, headers=headers)
    columns = RAW_COLUMNS if buckets is None else ("path", "time", *buckets.aggregates)
    body = await asyncio.to_thread(to_csv if media_type == CSV else to_arrow, columns, rows)
    return Response(body, media_type=media_type, headers=headers)


@get(
    "/v1/twins/{twin_id:str}/telemetry",
    dependencies=MOMENT,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: LastValues}, failures=(404,))),
)
async def last_values(
    request: AnyRequest, twin_id: TwinId, moment: NamedDependency[Moment]
) -> Response[bytes]:
    """Give the last value of every path of a twin, properties and telemetry, with unit and quality."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        twin = await readable_of(call.services, tx, twin_id, moment)
        state = await read_state(tx, call.services.context.paths, [twin.twin_no], moment)
    values = {
        held.path: LastValue(
            held.value,
            iso_us(held.source_time_us),
            iso_us(held.recorded_us),
            held.quality,
            twin.paths[held.path].unit,
        )
        for held in state[twin.twin_no]
        if not held.removed
        and held.path in twin.paths
        and series_of(twin.twin_no, twin.paths[held.path].path_no) == held.series
    }
    return json_answer(LastValues(twin_id, values))


def _accepted(request: AnyRequest) -> str:
    best = request.accept.best_match([JSON, CSV, ARROW])
    if best is None:
        accept = request.headers.get("accept", "")[:80]
        raise InvalidError("MediaTypeUnsupported", f"Accept: {accept} names none of {JSON}, {CSV}, {ARROW}.")
    return best


HANDLERS: list[HTTPRouteHandler] = [history, last_values]

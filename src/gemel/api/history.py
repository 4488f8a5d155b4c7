"""What was, and the last values: history of a twin's paths, and its telemetry."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.durations import parse_duration_us, parse_moment_us
from gemel.api.history_formats import ARROW, CSV, bucket_rows, raw_rows, to_arrow, to_csv, with_times
from gemel.api.params import TwinId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Time
from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.graph.directory import TwinRef
from gemel.graph.loading import twin_not_found
from gemel.graph.names import check_twin_id
from gemel.history.paths import path_no_of, series_of, twin_no_of
from gemel.history.read import Buckets, Cursor, Window, read_buckets, read_raw
from gemel.history.state import read_state
from gemel.security.principal import Scope
from gemel.store.database import ReadTransaction

__all__ = ["HANDLERS", "History", "LastValue", "LastValues"]

TAG = "History"
TIME_MAX_US = 9_214_646_400_000_000  # 2262-01-01
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


class PageWanted(NamedTuple):
    """How many rows, and from where."""

    limit: int
    after: str | None


class Wanted(NamedTuple):
    """What a history request asks for, parsed."""

    paths: list[str]
    window: Window
    buckets: Buckets | None
    page: PageWanted


def given_window(
    start: Annotated[str | None, QueryParameter(name="from", description="Since then: RFC 3339.")] = None,
    end: Annotated[
        str | None, QueryParameter(name="to", description="Up to then, exclusive: RFC 3339.")
    ] = None,
) -> Window:
    """Return the window that a request names, open where it names no end."""
    window = Window(
        0 if start is None else max(0, parse_moment_us("from", start)),
        TIME_MAX_US if end is None else min(TIME_MAX_US, parse_moment_us("to", end)),
    )
    if window.from_us >= window.to_us:
        raise InvalidError("InvalidArgument", "from must be before to.")
    return window


def given_buckets(
    every: Annotated[
        str | None, QueryParameter(name="every", description="Buckets of this width, such as 10s, 5m or 1h.")
    ] = None,
    agg: Annotated[
        list[str] | None,
        QueryParameter(
            name="agg",
            description="Of each bucket: mean, min, max, first, last, count; often, or with commas. "
            "Default: mean.",
        ),
    ] = None,
    fill: Annotated[
        str | None,
        QueryParameter(
            name="fill", description="`previous`: empty buckets carry the last value; needs from and to."
        ),
    ] = None,
) -> Buckets | None:
    """Return the buckets that a request asks for, or None for raw samples."""
    if every is None:
        if agg or fill:
            raise InvalidError("MissingArgument", "agg and fill need every, such as every=1m.")
        return None
    if fill not in (None, "previous"):
        raise InvalidError("InvalidArgument", f"fill={fill[:40]!r} is unknown; use previous.")
    names = [name.strip() for text in agg or ["mean"] for name in text.split(",")]
    return Buckets(parse_duration_us("every", every), list(dict.fromkeys(names)), fill is not None)


def given_page(
    limit: Annotated[
        int, QueryParameter(name="limit", ge=1, le=100_000, description="Rows of a page.")
    ] = 1000,
    after: Annotated[str | None, QueryParameter(name="after", description="From the page before.")] = None,
) -> PageWanted:
    """Return which page a request asks for."""
    return PageWanted(limit, after)


@get(
    "/v1/twins/{twin_id:str}/history",
    dependencies={
        "window": Provide(given_window, sync_to_thread=False),
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
    window: NamedDependency[Window],
    buckets: NamedDependency[Buckets | None],
    page: NamedDependency[PageWanted],
    path: Annotated[
        list[str] | None,
        QueryParameter(name="path", description="A dotted path; may be given often. Default: all."),
    ] = None,
) -> Response[bytes]:
    """Read samples of a twin back, or their aggregates by bucket: JSON, CSV or Arrow by Accept."""
    call = call_of(request)
    media_type = _accepted(request)
    if buckets is not None and buckets.carry_forward and (window.from_us == 0 or window.to_us == TIME_MAX_US):
        raise InvalidError("MissingArgument", "fill=previous needs from and to.")
    async with call.services.database.read(call.tenant) as tx:
        twin = await _twin(request, tx, twin_id)
        rows, token = await _read(tx, twin, Wanted(path or [], window, buckets, page))
    headers = {} if token is None else {AFTER_HEADER: token}
    if media_type == JSON:
        answer = {"twin": twin_id, "values": with_times(rows), "after": token}
        return json_answer(answer, headers=headers)
    columns = RAW_COLUMNS if buckets is None else ("path", "time", *buckets.aggregates)
    body = await asyncio.to_thread(to_csv if media_type == CSV else to_arrow, columns, rows)
    return Response(body, media_type=media_type, headers=headers)


@get(
    "/v1/twins/{twin_id:str}/telemetry",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: LastValues}, failures=(404,))),
)
async def last_values(request: AnyRequest, twin_id: TwinId) -> Response[bytes]:
    """Give the last value of every path of a twin, properties and telemetry, with unit and quality."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        twin = await _twin(request, tx, twin_id)
        state = await read_state(tx, call.services.context.paths, [twin.twin_no])
    slots = twin.twin_type.slots
    values = {
        held.path: LastValue(
            held.value,
            iso_us(held.source_time_us),
            iso_us(held.recorded_us),
            held.quality,
            slots[held.path].slot.unit,
        )
        for held in state[twin.twin_no]
        if not held.removed and held.path in slots and slots[held.path].slot.role == held.role
    }
    return json_answer(LastValues(twin_id, values))


async def _twin(request: AnyRequest, tx: ReadTransaction, twin_id: str) -> TwinRef:
    check_twin_id(twin_id)
    view = await call_of(request).services.directory.resolve(tx, [twin_id])
    if twin_id not in view.twins:
        raise twin_not_found(twin_id)
    return view.twins[twin_id]


async def _read(
    tx: ReadTransaction, twin: TwinRef, wanted: Wanted
) -> tuple[list[dict[str, Any]], str | None]:
    slots = twin.twin_type.slots
    unknown = [path for path in wanted.paths if path not in slots]
    if unknown:
        raise InvalidError(
            "PathNotInModel",
            f"The model {twin.twin_type.twin_type.model} has no property or telemetry {unknown[0]!r}.",
        )
    series = {series_of(twin.twin_no, slots[path].path_no): path for path in wanted.paths or slots}
    if not series:
        return [], None
    cursor = None if wanted.page.after is None else _cursor(wanted.page.after, twin.twin_no)
    if wanted.buckets is None:
        raw = await read_raw(tx, series, wanted.window, wanted.page.limit, cursor)
        return raw_rows(raw.rows), _token(raw.after)
    page = await read_buckets(tx, series, wanted.window, wanted.buckets, wanted.page.limit, cursor)
    return bucket_rows(page.rows), _token(page.after)


def _accepted(request: AnyRequest) -> str:
    best = request.accept.best_match([JSON, CSV, ARROW])
    if best is None:
        accept = request.headers.get("accept", "")[:80]
        raise InvalidError("MediaTypeUnsupported", f"Accept: {accept} names none of {JSON}, {CSV}, {ARROW}.")
    return best


def _token(cursor: Cursor | None) -> str | None:
    return None if cursor is None else f"{cursor.time_us}.{path_no_of(cursor.series)}"


def _cursor(token: str, twin_no: int) -> Cursor:
    time_text, _, path_text = token.partition(".")
    if not (time_text.isdecimal() and path_text.isdecimal() and len(token) <= 24 and token.isascii()):
        raise InvalidError("InvalidArgument", f"after={token[:40]!r} is not from a page before.")
    cursor = Cursor(int(time_text), series_of(twin_no, int(path_text)))
    if cursor.time_us > TIME_MAX_US or twin_no_of(cursor.series) != twin_no:
        raise InvalidError("InvalidArgument", f"after={token[:40]!r} is not from a page before.")
    return cursor


HANDLERS: list[HTTPRouteHandler] = [history, last_values]

"""What a history request asks for, out of its parameters, and the reading of it."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from litestar.params import QueryParameter

from gemel.api.call import AnyRequest
from gemel.api.durations import parse_duration_us, parse_moment_us
from gemel.api.history_formats import bucket_rows, raw_rows
from gemel.api.moments import AsOf, KnownAt, moment_of
from gemel.api.params import From, To
from gemel.api.services import Services
from gemel.base.errors import InvalidError
from gemel.graph.loading import twin_not_found
from gemel.graph.names import check_twin_id
from gemel.graph.readable import ReadableTwin, readable, readable_then
from gemel.history.moment import LIVE, Moment
from gemel.history.paths import path_no_of, series_of, twin_no_of
from gemel.history.read import Buckets, Cursor, Window, read_buckets, read_raw
from gemel.store.database import ReadTransaction

__all__ = [
    "PageWanted",
    "Period",
    "Wanted",
    "given_buckets",
    "given_page",
    "given_period",
    "given_window",
    "period_of",
    "read_history",
    "readable_of",
]

TIME_MAX_US = 9_214_646_400_000_000  # 2262-01-01


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


class Period(NamedTuple):
    """From when to when, and as of and known at which moment; the window ends there."""

    window: Window
    moment: Moment


def given_window(start: From = None, end: To = None) -> Window:
    """Return the window that a request names, open where it names no end."""
    window = Window(
        0 if start is None else max(0, parse_moment_us("from", start)),
        TIME_MAX_US if end is None else min(TIME_MAX_US, parse_moment_us("to", end)),
    )
    if window.from_us >= window.to_us:
        raise InvalidError("InvalidArgument", "from must be before to.")
    return window


def given_period(
    request: AnyRequest, start: From = None, end: To = None, as_of: AsOf = None, known_at: KnownAt = None
) -> Period:
    """Return the window and the moment that a request names; the window ends with the moment."""
    return period_of(given_window(start, end), moment_of(request, as_of, known_at))


def period_of(window: Window, moment: Moment) -> Period:
    """Return a window that ends with a moment; raise InvalidError (InvalidArgument) where it begins behind it."""
    if window.from_us > moment.as_of_us:
        raise InvalidError("InvalidArgument", "from must not be after asOf, nor after knownAt.")
    until_us = min(window.to_us, moment.as_of_us + 1)
    return Period(Window(window.from_us, until_us, moment.known_at_us), moment)


def given_buckets(
    every: Annotated[
        str | None,
        QueryParameter(
            name="every",
            description="Buckets of this width, such as 10s, 5m or 1h.",
            schema_extra={"pattern": "^[1-9][0-9]{0,2}(us|ms|s|m|h|d|w)$"},
        ),
    ] = None,
    agg: Annotated[
        list[str] | None,
        QueryParameter(
            name="agg",
            description="Of each bucket: mean, min, max, first, last, count; often, or with commas. "
            "Default: mean.",
            schema_extra={"items": {"enum": ["mean", "min", "max", "first", "last", "count"]}},
        ),
    ] = None,
    fill: Annotated[
        str | None,
        QueryParameter(
            name="fill",
            description="`previous`: empty buckets carry the last value; needs from and to.",
            schema_extra={"enum": ["previous"]},
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


async def readable_of(services: Services, tx: ReadTransaction, twin_id: str, moment: Moment) -> ReadableTwin:
    """Return what can be read of a twin, live or as of a moment.

    Raises NotFoundError (DigitalTwinNotFound), InvalidError (InvalidArgument).
    """
    if moment != LIVE:
        return await readable_then(tx, services.context, twin_id, moment)
    check_twin_id(twin_id)
    view = await services.directory.resolve(tx, [twin_id])
    if twin_id not in view.twins:
        raise twin_not_found(twin_id)
    return readable(view.twins[twin_id])


async def read_history(
    tx: ReadTransaction, twin: ReadableTwin, wanted: Wanted
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows of a page and the token of the next; raise InvalidError for what cannot be read."""
    window, buckets = wanted.window, wanted.buckets
    if buckets is not None and buckets.carry_forward and (window.from_us == 0 or window.to_us == TIME_MAX_US):
        raise InvalidError("MissingArgument", "fill=previous needs from and to.")
    unknown = [path for path in wanted.paths if path not in twin.paths]
    if unknown:
        raise InvalidError(
            "PathNotInModel",
            f"The model {twin.model_id} has no property or telemetry {unknown[0]!r}.",
        )
    series = {series_of(twin.twin_no, twin.paths[path].path_no): path for path in wanted.paths or twin.paths}
    if not series:
        return [], None
    cursor = None if wanted.page.after is None else _cursor(wanted.page.after, twin.twin_no)
    if buckets is None:
        raw = await read_raw(tx, series, window, wanted.page.limit, cursor)
        return raw_rows(raw.rows), _token(raw.after)
    page = await read_buckets(tx, series, window, buckets, wanted.page.limit, cursor)
    return bucket_rows(page.rows), _token(page.after)


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

"""Twins, queries and history by gRPC, read as HTTP reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

import gemel.rpc.gemel_pb2 as pb
from gemel.api.call import Call
from gemel.api.history_query import PageWanted, Wanted, given_window, period_of, read_history, readable_of
from gemel.api.moments import moment_from
from gemel.graph import twins
from gemel.history.moment import LIVE, Moment
from gemel.history.paths import series_of
from gemel.history.state import read_state
from gemel.query import Ask, run_query
from gemel.rpc.messages import moment_texts, sample_of, time_text

__all__ = ["get_twin", "history", "last_values", "query"]

PAGE_SAMPLES = 2_000
"""Samples of one message: what a slow reader has us hold."""


async def get_twin(call: Call, request: Any) -> Any:
    """Give a twin as its document."""
    moment = _moment(call, request)
    if moment == LIVE:
        found = await call.services.twins.get(call.tenant, request.twin)
    else:
        async with call.services.database.read(call.tenant) as tx:
            found = await twins.get_twin(tx, call.services.context, request.twin, moment)
    return pb.Twin(json=msgspec.json.encode(found.body).decode(), etag=found.etag)


async def last_values(call: Call, request: Any) -> Any:
    """Give the last value of every path of a twin."""
    moment = _moment(call, request)
    async with call.services.database.read(call.tenant) as tx:
        twin = await readable_of(call.services, tx, request.twin, moment)
        state = await read_state(tx, call.services.context.paths, [twin.twin_no], moment)
    rows = [
        {
            "path": held.path,
            "time": held.source_time_us,
            "value": held.value,
            "removed": False,
            "quality": held.quality,
            "revision": held.revision,
            "recorded": held.recorded_us,
        }
        for held in state[twin.twin_no]
        if not held.removed
        and held.path in twin.paths
        and series_of(twin.twin_no, twin.paths[held.path].path_no) == held.series
    ]
    return pb.Samples(samples=map(sample_of, rows))


async def query(call: Call, request: Any) -> AsyncIterator[Any]:
    """Yield the pages of a query's answer, each read when the one before is on its way."""
    ask = Ask(request.query, None, request.page_size or None, _moment(call, request))
    while True:
        async with call.services.database.read(call.tenant) as tx:
            page = await run_query(tx, call.services.context, ask)
        yield pb.QueryPage(items=[msgspec.json.encode(item).decode() for item in page.items])
        if page.token is None:
            return
        ask = Ask(None, page.token, request.page_size or None)


async def history(call: Call, request: Any) -> AsyncIterator[Any]:
    """Yield the samples of a twin in the order of time, page by page."""
    start = time_text(getattr(request, "from")) if request.HasField("from") else None
    end = time_text(request.to) if request.HasField("to") else None
    period = period_of(given_window(start, end), _moment(call, request))
    left, after = request.limit or None, None
    while True:
        size = PAGE_SAMPLES if left is None else min(left, PAGE_SAMPLES)
        async with call.services.database.read(call.tenant) as tx:
            twin = await readable_of(call.services, tx, request.twin, period.moment)
            wanted = Wanted(list(request.paths), period.window, None, PageWanted(size, after))
            rows, after = await read_history(tx, twin, wanted)
        yield pb.Samples(samples=map(sample_of, rows))
        left = None if left is None else left - len(rows)
        if after is None or left == 0:
            return


def _moment(call: Call, request: Any) -> Moment:
    if not request.HasField("moment"):
        return LIVE
    return moment_from(call.services.context.future_tolerance_us, *moment_texts(request.moment))

"""The change feed as a stream of server-sent events, resumed by Last-Event-ID."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, NamedTuple

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from gemel.api.call import AnyRequest, Call, call_of
from gemel.api.change_events import Known, Wanted, render
from gemel.api.routing import RouteInfo, route
from gemel.base.errors import InvalidError, NotFoundError, UnauthenticatedError, UnavailableError
from gemel.graph.roster import Roster
from gemel.history.changes import SAMPLES, Change, read_changes, samples_of
from gemel.history.feed import FeedHead, feed_range
from gemel.history.paths import path_no_of, twin_no_of
from gemel.history.samples import SampleBatch
from gemel.security.principal import Scope
from gemel.store.database import ReadTransaction

__all__ = ["HANDLERS"]

HEARTBEAT_S = 15.0
CHANGES_MAX = 4
"""Changes read at once: a chunk may have a megabyte, and a slow reader holds that many."""

EXAMPLE = (
    'id: 17\nevent: samples\ndata: {"recorded":"…","samples":[{"twin":"pump-1","path":"speed","value":1}]}'
)


class Part(NamedTuple):
    """Some changes in order, their decoded chunks, and what their numbers stand for."""

    changes: list[tuple[Change, SampleBatch | None]]
    known: Known


@get(
    "/v1/changes",
    **route(
        "Changes",
        RouteInfo(Scope.READ, answer={"text/event-stream": str}, answer_example=EXAMPLE, failures=(404,)),
    ),
)
async def changes(
    request: AnyRequest,
    last: Annotated[
        str | None,
        HeaderParameter(name="Last-Event-ID", description="Go on after this change. Default: from now on."),
    ] = None,
    twin: Annotated[
        list[str] | None, QueryParameter(name="twin", description="Only of this twin; may be given often.")
    ] = None,
    model: Annotated[
        list[str] | None,
        QueryParameter(name="model", description="Only of twins of this model or of one that extends it."),
    ] = None,
) -> Stream:
    """Follow what changes: samples, twins, relationships, models, each once and in the order of commit."""
    call = call_of(request)
    feed: FeedHead = request.app.state.feed
    async with call.services.database.read(call.tenant) as tx:
        after = await _start(tx, last)
        wanted = Wanted(frozenset(twin or ()), await _models(call, tx, model or []))
    reader = _Reader(call, feed, request.app.state.roster, wanted, after)
    return Stream(
        reader.events(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


class _Reader:
    """One client's way through the feed: it reads as the client takes, and holds no connection meanwhile."""

    def __init__(self, call: Call, feed: FeedHead, roster: Roster, wanted: Wanted, after: int) -> None:
        self._call = call
        self._feed = feed
        self._roster = roster
        self._wanted = wanted
        self._after = after
        self._beat_s = time.monotonic()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the stream until the server stops, the key is revoked or the feed has a gap."""
        # The id tells a reader that is cut off before its first change where to go on.
        yield b"retry: 1000\nid: %d\n: changes follow\n\n" % self._after
        while not self._feed.closed:
            try:
                part = await self._read()
                if not part.changes:
                    await self._feed.beyond(self._call.tenant, self._after, HEARTBEAT_S)
                if time.monotonic() - self._beat_s >= HEARTBEAT_S:
                    # The id moves a reader on past changes that its filters left out.
                    yield b": alive\nid: %d\n\n" % self._after
                    self._beat_s = time.monotonic()
                    await self._call.services.keyring.authenticate(self._call.token)
            except UnavailableError as error:
                yield b": waiting for the database\n\n"
                await asyncio.sleep(error.retry_after_s)
                continue
            except UnauthenticatedError:
                return
            for change, batch in part.changes:
                if change.change_no != self._after + 1:
                    # Forgotten while this reader was slow: the refusal of its resume tells it so.
                    return
                for event in render(change, batch, part.known, self._wanted):
                    yield event
                self._after = change.change_no

    async def _read(self) -> Part:
        async with self._call.services.database.read(self._call.tenant) as tx:
            found = await read_changes(tx, self._after, CHANGES_MAX)
            decoded = [(each, samples_of(each) if each.kind == SAMPLES else None) for each in found]
            twin_nos: set[int] = set()
            path_nos: set[int] = set()
            for change, batch in decoded:
                if batch is None:
                    twin_nos.update(no for no in [change.payload().get("no")] if no is not None)
                    continue
                series = set(batch.series.tolist())
                twin_nos.update(map(twin_no_of, series))
                path_nos.update(map(path_no_of, series))
            if not decoded:
                return Part([], Known({}, {}))
            paths = await self._call.services.context.paths.keys(tx, path_nos)
            return Part(decoded, Known(await self._roster.names(tx, twin_nos), paths))


async def _start(tx: ReadTransaction, last: str | None) -> int:
    """Return the number of the change to go on after."""
    known = await feed_range(tx)
    if not last:
        return known.newest
    if not (last.isascii() and last.isdecimal() and len(last) < 19):
        raise InvalidError("InvalidArgument", f"Last-Event-ID {last[:40]!r} is not the number of a change.")
    after = int(last)
    if not known.oldest - 1 <= after <= known.newest:
        raise InvalidError(
            "ChangesGone",
            f"Change {after} cannot be gone on from: changes {known.oldest} to {known.newest} are kept.",
            "Read the state anew, then follow without Last-Event-ID.",
        )
    return after


async def _models(call: Call, tx: ReadTransaction, model_ids: list[str]) -> frozenset[str]:
    """Return some models and all that extend them."""
    if not model_ids:
        return frozenset()
    models = await call.services.context.library.models(tx)
    wanted: set[str] = set()
    for model_id in model_ids:
        if model_id not in models.ids:
            raise NotFoundError("ModelNotFound", f"There is no model {model_id[:200]!r}.")
        wanted.update((model_id, *models.descendants(model_id)))
    return frozenset(wanted)


HANDLERS: list[HTTPRouteHandler] = [changes]

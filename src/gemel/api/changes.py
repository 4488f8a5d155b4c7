"""The change feed as a stream of server-sent events, resumed by Last-Event-ID."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from gemel.api.call import AnyRequest, Call, call_of
from gemel.api.change_events import Wanted, render
from gemel.api.routing import RouteInfo, route
from gemel.base.errors import InvalidError, NotFoundError, UnauthenticatedError, UnavailableError
from gemel.history.feed import FeedHead, feed_range
from gemel.routing.feed import FeedReader, Part
from gemel.security.principal import Scope
from gemel.store.database import ReadTransaction

__all__ = ["HANDLERS"]

HEARTBEAT_S = 15.0
CHANGES_MAX = 64
CHANGES_BYTES_MAX = 4 << 20
"""How much is read at once: a slow reader holds it."""

EXAMPLE = (
    'id: 17\nevent: samples\ndata: {"recorded":"…","samples":[{"twin":"pump-1","path":"speed","value":1}]}'
)


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
    feed = call.services.feed
    async with call.services.database.read(call.tenant) as tx:
        after = await _start(tx, last)
        wanted = Wanted(frozenset(twin or ()), await _models(call, tx, model or []))
    reader = _Reader(call, feed, call.services.feed_reader, wanted, after)
    return Stream(
        reader.events(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


class _Reader:
    """One client's way through the feed: it reads as the client takes, and holds no connection meanwhile."""

    def __init__(self, call: Call, feed: FeedHead, reader: FeedReader, wanted: Wanted, after: int) -> None:
        self._call = call
        self._feed = feed
        self._reader = reader
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
                if not part.told:
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
            for told in part.told:
                if told.change.change_no != self._after + 1:
                    # Forgotten while this reader was slow: the refusal of its resume tells it so.
                    return
                for event in render(told, part.known, self._wanted):
                    yield event
                self._after = told.change.change_no

    async def _read(self) -> Part:
        async with self._call.services.database.read(self._call.tenant) as tx:
            return await self._reader.read(tx, self._after, CHANGES_MAX, CHANGES_BYTES_MAX)


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

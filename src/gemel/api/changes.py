"""The change feed as a stream of server-sent events, resumed by Last-Event-ID."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from gemel.api.call import AnyRequest, call_of
from gemel.api.change_events import Wanted
from gemel.api.following import Follower, models_wanted, start_after
from gemel.api.routing import RouteInfo, route
from gemel.base.errors import InvalidError, UnauthenticatedError
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

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
    asked = _number(last)
    async with call.services.database.read(call.tenant) as tx:
        after = await start_after(tx, asked)
        wanted = Wanted(frozenset(twin or ()), await models_wanted(call, tx, model or []))
    return Stream(
        _stream(Follower(call, wanted, after), after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(follower: Follower, after: int) -> AsyncIterator[bytes]:
    """Yield the bytes of the stream until the server stops, the key is revoked or the feed has a gap."""
    # The id tells a reader that is cut off before its first change where to go on.
    yield b"retry: 1000\nid: %d\n: changes follow\n\n" % after
    # What ends a stream is told to the reader when it resumes.
    with suppress(UnauthenticatedError, InvalidError):
        async for step in follower.steps():
            if step.waiting:
                yield b": waiting for the database\n\n"
            elif not step.events:
                # The id moves a reader on past changes that its filters left out.
                yield b": alive\nid: %d\n\n" % step.after
            for number, kind, body in step.events:
                head = b"id: %d\n" % number if number else b""
                yield b"%sevent: %s\ndata: %s\n\n" % (head, kind.encode(), msgspec.json.encode(body))


def _number(last: str | None) -> int | None:
    if not last:
        return None
    if not (last.isascii() and last.isdecimal() and len(last) < 19):
        raise InvalidError("InvalidArgument", f"Last-Event-ID {last[:40]!r} is not the number of a change.")
    return int(last)


HANDLERS: list[HTTPRouteHandler] = [changes]

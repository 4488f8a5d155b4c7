"""The change feed by gRPC: what is read goes out before more is read, so that a slow reader holds little."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

import gemel.rpc.gemel_pb2 as pb
from gemel.api.call import Call
from gemel.api.change_events import Wanted
from gemel.api.following import Follower, models_wanted, start_after

__all__ = ["subscribe"]


async def subscribe(call: Call, request: Any) -> AsyncIterator[Any]:
    """Yield changes from a number on, until the server stops or the caller has enough."""
    async with call.services.database.read(call.tenant) as tx:
        after = await start_after(tx, request.after if request.HasField("after") else None)
        wanted = Wanted(frozenset(request.twins), await models_wanted(call, tx, request.models))
    # Told at once, so that a reader that is cut off before its first change knows where to go on.
    yield pb.Change(number=after)
    async for step in Follower(call, wanted, after).steps():
        if not step.events and not step.waiting:
            yield pb.Change(number=step.after)
        for number, kind, body in step.events:
            yield pb.Change(number=number, kind=kind, json=msgspec.json.encode(body).decode())

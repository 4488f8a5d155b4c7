"""Events in by gRPC: batch by batch on one stream, each answered once it is durable and visible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gemel.rpc.gemel_pb2 as pb
from gemel.api.call import Call
from gemel.api.events import batch_target, read_to
from gemel.base.clock import now_us
from gemel.base.errors import (
    EnvironmentFaultError,
    GemelError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    TooLargeError,
)
from gemel.history.origins import Sending
from gemel.ingest.arrow import ARROW
from gemel.ingest.bodies import decode_any, weigh_any
from gemel.ingest.events import BATCH, LINES, Decoded
from gemel.ingest.positions import read_position
from gemel.ingest.requests import IngestRequest, IngestResult
from gemel.ingest.room import Room
from gemel.observe.laps import Laps
from gemel.rpc.calls import record_refusal
from gemel.rpc.messages import ack_of, event_json, failed_ack
from gemel.security.audit import storable
from gemel.security.principal import Scope

__all__ = ["STREAMS_MAX", "BatchTaker", "position"]

STREAMS_MAX = 32
"""Streams of batches at once: each holds one batch that was read, at most."""

REFUSING = (InvalidError, NotFoundError, TooLargeError, EnvironmentFaultError)
"""What is wrong with a batch alone; anything else ends the stream."""


class BatchTaker:
    """Takes the batches of all streams; those for which there is no room wait, and their senders with them."""

    def __init__(self, bytes_max: int) -> None:
        self._room = Room(bytes_max)
        self._streams = 0

    async def run(self, call: Call, batches: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield the answer to each batch, in order; the next is read once the one before is answered."""
        if self._streams >= STREAMS_MAX:
            raise OverloadedError(
                "Overloaded",
                f"There are {STREAMS_MAX} streams of events already.",
                "Use one for several sources, or wait for retry-after-s.",
                retry_after_s=1,
            )
        self._streams += 1
        try:
            async for batch in batches:
                # A key that was revoked ends the stream, however long it has been open.
                principal = await call.services.keyring.authenticate(call.token)
                principal.require(Scope.INGEST)
                try:
                    async with self._room.hold(batch.ByteSize()):
                        ack = ack_of(batch.number, await _take(call, batch))
                except REFUSING as error:
                    await record_refusal(call, error)
                    ack = failed_ack(batch.number, error)
                yield ack
        finally:
            self._streams -= 1


async def position(call: Call, request: Any) -> Any:
    """Say how far a source has been read."""
    async with call.services.database.read(call.tenant) as tx:
        return pb.PositionReply(position=await read_position(tx, request.source))


async def _take(call: Call, batch: Any) -> IngestResult:
    if batch.create_model:
        call.principal.require(Scope.WRITE)
    received_us, laps = now_us(), Laps()
    source, at = batch.source or None, batch.position or None
    positions = read_to(source, at)
    body, media_type = await asyncio.to_thread(_body, batch)
    if len(body) > call.services.settings.body_bytes_max:
        raise _too_large(call)
    laps.end("receive")

    async with call.services.sources.pushed.under(call.tenant, source) as pushing:

        def decode(held: bytes) -> Decoded:
            decoded = decode_any(held, media_type)
            return decoded if pushing is None else pushing.shown(decoded, received_us)

        def request_of(decoded: Decoded) -> IngestRequest:
            return IngestRequest(
                decoded,
                received_us,
                call.entry(target=batch_target(source, decoded.events)),
                positions=positions,
                sending=Sending(source and storable(source), at),
                create_model=batch.create_model or None,
                guard=pushing,
                laps=laps,
            )

        return await call.services.ingest.receive(
            call.tenant, body, decode, request_of, lambda held: weigh_any(held, media_type)
        )


def _body(batch: Any) -> tuple[bytes, str]:
    kind = batch.WhichOneof("body")
    if kind == "arrow":
        return batch.arrow, ARROW
    if kind == "json":
        return batch.json, BATCH
    if kind is None or not batch.events.events:
        raise InvalidError("MissingArgument", "The batch has no events.", "Fill events, arrow or json.")
    return b"\n".join(map(event_json, batch.events.events)), LINES


def _too_large(call: Call) -> GemelError:
    limit = call.services.settings.body_bytes_max
    return TooLargeError("BodyTooLarge", f"The batch is larger than {limit} bytes.", "Split it.")

"""Event routes over a test's tenant: deliveries that hurry, and a receiver that answers as a test says."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from gemel.graph.roster import Roster
from gemel.history.feed import FeedHead
from gemel.observe.intake import Intake
from gemel.observe.metrics import Metrics
from gemel.observe.spans import SpanExport
from gemel.observe.traffic import Traffic
from gemel.outbound import Outbound, OutboundPolicy
from gemel.routing import deliveries as deliveries_module
from gemel.routing import delivery as delivery_module
from gemel.routing import retries, sending
from gemel.routing.deliveries import Deliveries
from gemel.routing.delivery import DeliveryParts
from gemel.routing.endpoints import endpoint_of, put_endpoint
from gemel.routing.feed import FeedReader
from gemel.routing.kafka import KafkaSender
from gemel.routing.mqtt import MqttSender
from gemel.routing.routes import RouteStatus, put_route, route_request, route_status
from gemel.routing.webhooks import WebhookSender
from gemel.security.sealing import Sealer
from gemel.sources.permits import Permits, Place
from support.http_peer import Received, Reply
from support.parts import TenantParts, event, open_parts
from support.postgres import Dsns

__all__ = [
    "SEALER",
    "Receiver",
    "add_route",
    "delivering",
    "hurry",
    "set_values",
    "status",
    "until",
    "with_parts",
]

SEALER = Sealer(b"k" * 32)
WAIT_S = 20.0


@dataclass
class Receiver:
    """Remembers the events of every batch that it acknowledged, and of every batch that came."""

    answer: Callable[[list[dict[str, Any]]], Reply] = lambda events: Reply(204)
    taken: list[dict[str, Any]] = field(default_factory=list)
    came: list[list[dict[str, Any]]] = field(default_factory=list)

    def __call__(self, request: Received) -> Reply:
        events = msgspec.json.decode(request.body)
        self.came.append(events)
        reply = self.answer(events)
        if 200 <= reply.status < 300:
            self.taken += events
        return reply

    @property
    def ids(self) -> list[str]:
        """The ids of the events that were acknowledged, in order."""
        return [event["id"] for event in self.taken]


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let deliveries look, retry and time out in fractions of a second."""
    monkeypatch.setattr(deliveries_module, "LOOK_S", 0.02)
    monkeypatch.setattr(delivery_module, "AGAIN_S", 0.02)
    monkeypatch.setattr(delivery_module, "MOVE_S", 0.05)
    monkeypatch.setattr(retries, "FIRST_S", 0.01)
    monkeypatch.setattr(retries, "GREATEST_S", 0.05)
    monkeypatch.setattr(sending, "TIMEOUT_S", 0.5)


@asynccontextmanager
async def delivering(
    dsns: Dsns,
    parts: TenantParts,
    allow: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    export: SpanExport | None = None,
) -> AsyncIterator[Deliveries]:
    """Run deliveries as a server does, allowed to call this machine; `tls` says whom to trust."""
    outbound = Outbound(OutboundPolicy.parse(allow), tls=tls)
    place = Place("test", Permits.parse("env:SINK_SECRET"))

    def resolve(_: str, text: str) -> str:
        return place.resolve(text)

    made = DeliveryParts(
        database=parts.db,
        feed=FeedHead(parts.db),
        executor=ThreadPoolExecutor(1),
        reader=FeedReader(Roster(), parts.context.paths),
        context=parts.context,
        sealer=SEALER,
        senders={
            "webhook": WebhookSender(outbound, resolve),
            "kafka": KafkaSender(outbound, resolve),
            "mqtt": MqttSender(outbound),
        },
        metrics=Metrics(Intake()),
        traffic=Traffic(),
        export=export,
    )
    deliveries = Deliveries(dsns.owner, "test", made)
    running = asyncio.create_task(deliveries.run())
    try:
        yield deliveries
    finally:
        deliveries.close()
        await running
        for sender in made.senders.values():
            await sender.close()
        await outbound.aclose()
        made.executor.shutdown()


async def add_route(parts: TenantParts, route_id: str, url: str, text: str = "true", **more: Any) -> None:
    """Make a route with an endpoint of its own, of the same name."""
    async with parts.db.write(parts.tenant) as tx:
        await put_endpoint(tx, SEALER, route_id, endpoint_of({"url": url, **more}))
        await put_route(tx, route_id, route_request({"endpointName": route_id, "filter": text}))


async def status(parts: TenantParts, route_id: str) -> RouteStatus:
    """Return how the delivery of a route stands."""
    async with parts.db.read(parts.tenant) as tx:
        return await route_status(tx, route_id)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds; it may return something to await."""
    end_s = time.monotonic() + WAIT_S
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < end_s, "it never came to be"
        await asyncio.sleep(0.01)


async def set_values(parts: TenantParts, values: list[float], twin: str = "t0", first: int = 0) -> None:
    """Set a twin's temperature to one value after another, each in a commit of its own."""
    for number, value in enumerate(values, first):
        time = f"2026-01-05T00:{number // 60:02}:{number % 60:02}Z"
        assert (await parts.send([event(number, twin, time, temperature=value)])).accepted == 1


def with_parts(database: Dsns, body: Callable[[TenantParts], Awaitable[None]]) -> None:
    """Run a test on a tenant of its own."""

    async def main() -> None:
        async with open_parts(database) as parts:
            await body(parts)

    asyncio.run(main())

"""Batches to MQTT brokers, as a sender: over a connection for each route that stays open between them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from gemel.base.errors import UnavailableError
from gemel.outbound import Outbound
from gemel.outbound.mqtt import Declined, MqttConnection, Outgoing
from gemel.routing.batches import Batch
from gemel.routing.endpoints import Endpoint
from gemel.routing.publishing import broker_target, connect, outgoing
from gemel.routing.sending import Trouble

__all__ = ["MqttSender"]

IDLE_S: Final = 300.0
"""After how long without a batch a connection is let go."""
LINKS_MAX: Final = 64
REFUSALS: Final = frozenset({0x80, 0x83, 0x90, 0x95, 0x99})
"""Reason codes of MQTT 5 that are about the event sent, and not about who sends, or when."""
NOT_ALLOWED: Final = 0x87
PLACES: Final = ("{twin}", "{type}")


class _Link(NamedTuple):
    """A connection of a route that waits for its next batch; `made_of` is the endpoint as it was then."""

    connection: MqttConnection
    made_of: bytes
    expiry: asyncio.TimerHandle


class MqttSender:
    """Publishes to brokers that may be called."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._links: dict[str, _Link] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, endpoint: Endpoint, batch: Batch, name: str) -> Trouble | None:
        """Publish a batch; None once the broker acknowledged every event of it. Raises as `connect` does."""
        topic = broker_target(endpoint.url).topic
        messages = [outgoing(letter.event, topic) for letter in batch.letters]
        # A replay of dead letters has its route's name: two connections of one name would end each other.
        async with self._turns[name]:
            declined = await self._deliver(endpoint, messages, name)
        if declined is None:
            return None
        # A user who may publish to some topics and not to others is refused the event; one who may not publish at all
        # is refused as such, where all go to one topic.
        varies = any(place in topic for place in PLACES)
        refused = declined.code in REFUSALS or (varies and declined.code == NOT_ALLOWED)
        return Trouble(declined.why, refused=refused)

    async def close(self) -> None:
        """Close all connections."""
        for name in list(self._links):
            self._let_go(name)
        await asyncio.gather(*self._closing)

    async def _deliver(self, endpoint: Endpoint, messages: Sequence[Outgoing], name: str) -> Declined | None:
        made_of = msgspec.json.encode((endpoint.url, endpoint.settings, endpoint.headers))
        link = self._links.pop(name, None)
        if link is not None:
            link.expiry.cancel()
            if link.made_of == made_of and not link.connection.is_lost:
                try:
                    return await self._over(link.connection, made_of, messages, name)
                except UnavailableError:
                    pass  # it may have been gone for long: a new one tells
            else:
                await link.connection.close()
        connection = await connect(self._outbound, endpoint.url, endpoint.settings, endpoint.headers, name)
        return await self._over(connection, made_of, messages, name)

    async def _over(
        self, connection: MqttConnection, made_of: bytes, messages: Sequence[Outgoing], name: str
    ) -> Declined | None:
        """Deliver over a connection, and keep it for the next batch; close it where that goes wrong."""
        try:
            declined = await connection.deliver(messages)
        except BaseException:
            await connection.close()
            raise
        if len(self._links) >= LINKS_MAX:
            self._let_go(next(iter(self._links)))
        expiry = asyncio.get_running_loop().call_later(IDLE_S, self._let_go, name)
        self._links[name] = _Link(connection, made_of, expiry)
        return declined

    def _let_go(self, name: str) -> None:
        link = self._links.pop(name)
        link.expiry.cancel()
        task = asyncio.get_running_loop().create_task(link.connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

"""How many messages a broker keeps for a client that is away: tried out with a session and a topic of our own.

A broker tells its limits nowhere (Mosquitto: max_queued_messages, max_queued_bytes, max_inflight_messages); what is
over them is dropped without a word. So a session is left, messages are published to it, and what is left is counted.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Final

from gemel.base.errors import UnavailableError
from gemel.connectors.mqtt_settings import broker_of, hello_of, read_settings
from gemel.outbound import OutboundPolicy
from gemel.outbound.mqtt import Broker, MqttConnection, Outgoing
from gemel.outbound.mqtt_wire import Hello
from gemel.sources.contract import QueueProbe
from gemel.sources.definition import Definition
from gemel.sources.permits import Place

__all__ = ["probe_queue"]

MESSAGES: Final = 5000
PAYLOAD: Final = b"." * 64
QUIET_S: Final = 1.0
EXPIRY_S: Final = 120
TOPIC: Final = "gemel/probe"


async def probe_queue(
    definition: Definition, place: Place, policy: OutboundPolicy, messages: int = MESSAGES
) -> QueueProbe:
    """Find out how much a broker keeps while nobody reads; nothing stays behind, and the source is not touched.

    Raises InvalidError (SourceInvalid, SourceNotAllowed, OutboundRefused), UnavailableError (SecretMissing,
    OutboundFailed), too, where this user may not use topics under gemel/probe.
    """
    settings = read_settings(definition, place)
    broker = await asyncio.to_thread(broker_of, settings, place)
    tag = secrets.token_hex(6)
    hello = replace(
        hello_of(settings, place, fresh=False),
        client_id=f"{settings.client_id}-probe-{tag}",
        expiry_s=EXPIRY_S,
    )
    topic = f"{TOPIC}/{tag}"
    away = await MqttConnection.open(broker, hello, policy)
    try:
        await away.subscribe([topic])
        await away.close()
        maximum, declined = await _publish(broker, hello, policy, [Outgoing(topic, PAYLOAD)] * messages)
        kept = await _count(broker, hello, policy, messages)
    finally:
        await away.close()
        with suppress(UnavailableError):
            await (await MqttConnection.open(broker, replace(hello, fresh=True, expiry_s=0), policy)).close()
    return QueueProbe(messages, kept, maximum, declined)


async def _publish(
    broker: Broker, hello: Hello, policy: OutboundPolicy, messages: list[Outgoing]
) -> tuple[int, str | None]:
    """Publish to the one who is away; return how many the broker takes at once, and what it declined, if it did."""
    own = replace(hello, client_id=f"{hello.client_id}-out", fresh=True, expiry_s=0)
    sender = await MqttConnection.open(broker, own, policy)
    try:
        await sender.deliver(messages)
    except UnavailableError as error:
        return sender.receive_maximum, error.message
    finally:
        await sender.close()
    return sender.receive_maximum, None


async def _count(broker: Broker, hello: Hello, policy: OutboundPolicy, most: int) -> int:
    """Come back, and count what is still there."""
    back = await MqttConnection.open(broker, hello, policy)
    kept = 0
    try:
        while kept < most:
            back.arrived.clear()
            if not back.inbox:
                try:
                    async with asyncio.timeout(QUIET_S):
                        await back.arrived.wait()
                except TimeoutError:
                    break
            back.check()
            came = list(back.inbox)
            back.inbox.clear()
            back.taken(sum(len(each.payload) for each in came))
            back.ack([each.packet_id for each in came if each.packet_id])
            kept += len(came)
    finally:
        await back.close()
    return kept

"""A connection to an MQTT broker: what comes is kept until it is taken, and nothing is acknowledged by itself.

Made here and not by a library for the sake of speed: whole reads of the socket are taken apart at once, and the
acknowledgements of a batch leave in one write.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from gemel.base.errors import InvalidError, UnavailableError
from gemel.outbound import mqtt_wire as wire
from gemel.outbound.network import resolve
from gemel.outbound.policy import OutboundPolicy

__all__ = ["Broker", "Declined", "MqttConnection", "Outgoing"]

CONNACK, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 4, 9, 11, 13, 14
PACKET_BYTES_MOST: Final = 268_435_460
"""What the longest length of MQTT lets a packet have."""
CONNECT_S: Final = 10.0
ANSWER_S: Final = 15.0
CLOSE_S: Final = 5.0
KEEPALIVE_CODE, RECEIVE_MAXIMUM_CODE, REASON_CODE, PACKET_MAXIMUM_CODE = 0x13, 0x21, 0x1F, 0x27
TOO_LARGE: Final = 0x95
INBOX_BYTES_MAX: Final = 16 << 20
"""What came and was not taken yet: beyond it the socket is not read, until half of it is gone."""

# MQTT 3.1.1, 3.2.2.3, and those codes of MQTT 5 (2.4) that are met.
REASONS: Final = {
    1: "it does not speak this version of MQTT", 2: "it takes no client of this name", 3: "it is not available",
    4: "it does not know this user and password", 5: "this client may not connect", 0x80: "an error",
    0x81: "a malformed packet", 0x82: "a fault of protocol", 0x84: "it does not speak this version of MQTT",
    0x85: "it takes no client of this name", 0x86: "it does not know this user and password",
    0x87: "this is not allowed", 0x88: "it is not available", 0x89: "it is busy", 0x8A: "this client is banned",
    0x8B: "it shuts down", 0x8D: "nothing was heard from us", 0x8E: "another client came under the same name",
    0x8F: "it takes no such topic filter", 0x90: "it takes no such topic", 0x93: "too much was in flight",
    0x95: "a packet was too large", 0x97: "a quota is exceeded", 0x99: "it takes no such payload",
    0x9C: "it is to be found elsewhere", 0x9D: "it is to be found elsewhere", 0x9E: "no shared subscriptions",
    0xA1: "no subscription identifiers", 0xA2: "no wildcards in topic filters",
}  # fmt: skip
STAY_WRONG: Final = {1, 2, 0x84, 0x85}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is; `tls` is given where the connection is encrypted."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """Its address as errors tell it."""
        return f"{self.host}:{self.port}"


class Outgoing(NamedTuple):
    """A message to send; `headers` go along with MQTT 5 alone."""

    topic: str
    payload: bytes
    headers: Mapping[str, str] = wire.NO_HEADERS


class Declined(NamedTuple):
    """Why a broker does not take a message: what it said, and by which reason code of MQTT 5 (2.4)."""

    why: str
    code: int


@dataclass(slots=True)
class _Welcome:
    """What the broker said when it took us."""

    session: bool = False
    receive_maximum: int = 65_535
    properties: dict[int, Any] = field(default_factory=dict)


class MqttConnection(asyncio.Protocol):
    """An open connection; `open_connection` makes it.

    `inbox` holds what came, oldest first; whoever takes from it calls `taken`. `arrived` is set when something
    came or the connection is lost, and cleared by whoever waits for it.
    """

    def __init__(self, broker: Broker, hello: wire.Hello) -> None:
        self.inbox: deque[wire.Publish] = deque()
        self.arrived = asyncio.Event()
        self.session = False
        self.receive_maximum = 65_535
        self.packet_bytes_max = PACKET_BYTES_MOST
        self._broker = broker
        self._hello = hello
        self._reader = wire.Reader(hello.level)
        self._transport: asyncio.Transport | None = None
        self._lost: UnavailableError | InvalidError | None = None
        self._closed = asyncio.Event()
        self._held = 0
        self._paused = False
        self._next_id = 0
        self._answers: dict[tuple[int, int], asyncio.Future[Any]] = {}
        self._welcome: asyncio.Future[_Welcome] = asyncio.get_running_loop().create_future()
        self._keepalive_s = float(hello.keepalive_s)
        self._heard_s = self._sent_s = asyncio.get_running_loop().time()
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def open(cls, broker: Broker, hello: wire.Hello, policy: OutboundPolicy) -> MqttConnection:
        """Connect to a broker that the policy takes, and wait for its welcome.

        Raises UnavailableError (OutboundFailed), InvalidError (OutboundRefused) where the policy does not take
        the address, or the broker neither this version of MQTT nor this client's name.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                addresses = await resolve(broker.host, broker.port)
                policy.check(broker.host, broker.port, addresses)
                found = await _connected(lambda: cls(broker, hello), broker, addresses)
        except (OSError, TimeoutError) as error:
            said = str(error) or "no answer in time"
            message = f"The broker {broker.name} cannot be reached: {said}."
            raise UnavailableError(
                "OutboundFailed", message, "Check its address, and that it runs."
            ) from error
        try:
            async with asyncio.timeout(CONNECT_S):
                welcome = await found._welcome
        except TimeoutError as error:
            found._abort(f"The broker {broker.name} took the connection and says nothing.")
            raise found._failure() from error
        found.session = welcome.session
        found.receive_maximum = welcome.receive_maximum
        found.packet_bytes_max = int(welcome.properties.get(PACKET_MAXIMUM_CODE, PACKET_BYTES_MOST))
        if KEEPALIVE_CODE in welcome.properties:
            found._keepalive_s = float(welcome.properties[KEEPALIVE_CODE])
        if found._keepalive_s:
            found._timer = loop.call_later(found._keepalive_s / 4, found._look)
        return found

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return self._lost is not None

    @property
    def held(self) -> int:
        """How many bytes of payloads wait in the inbox."""
        return self._held

    def taken(self, size: int) -> None:
        """Say that messages of so many bytes were taken from the inbox."""
        self._held -= size
        if self._paused and self._held < INBOX_BYTES_MAX // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def check(self) -> None:
        """Raise what the connection was lost by, if it was: UnavailableError (OutboundFailed) mostly."""
        if self._lost is not None:
            raise self._failure()

    def ack(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages, in one write."""
        if packet_ids:
            self._write(wire.puback(packet_ids))

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with QoS 1. Raises UnavailableError (OutboundFailed), too, where the broker declines one."""
        if not filters:
            return
        packet_id = self._id()
        packet = wire.subscribe(packet_id, filters, self._hello.level)
        codes = await self._ask(SUBACK, packet_id, packet)
        for code, each in zip(codes, filters, strict=False):
            if code >= 0x80:
                why = REASONS.get(code, f"code {code}")
                message = f"The broker {self._broker.name} declines the subscription to {each}: {why}."
                raise UnavailableError("OutboundFailed", message, "Check what this user may read there.")

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribe."""
        if filters:
            packet_id = self._id()
            await self._ask(UNSUBACK, packet_id, wire.unsubscribe(packet_id, filters, self._hello.level))

    def tell(self, message: Outgoing) -> None:
        """Send a message with QoS 0, and do not wait."""
        self._write(wire.publish(message.topic, message.payload, 0, self._hello.level, message.headers))

    async def deliver(self, messages: Sequence[Outgoing]) -> Declined | None:
        """Send messages in order with QoS 1, as many at once as the broker takes; wait till it has them all.

        Returns None then, or why it declined the first that it declined; what was under way behind it may have been
        taken. Raises UnavailableError (OutboundFailed).
        """
        window = max(1, min(self.receive_maximum, 1000))
        waiting: deque[tuple[Outgoing, asyncio.Future[Any]]] = deque()
        declined: Declined | None = None
        for message in messages:
            if len(waiting) >= window:
                declined = await self._delivered(*waiting.popleft())
            if declined is not None:
                break
            packet_id, level = self._id(), self._hello.level
            packet = wire.publish(message.topic, message.payload, packet_id, level, message.headers)
            if len(packet) > self.packet_bytes_max:
                declined = self._declined(message, TOO_LARGE)
                break
            waiting.append((message, self._expect(PUBACK, packet_id)))
            self._write(packet)
            await self._writable.wait()
        while waiting:
            # Those before it are told first.
            declined = await self._delivered(*waiting.popleft()) or declined
        return declined

    async def close(self) -> None:
        """Say goodbye, and wait for the broker to hang up: it has read all acknowledgements then.

        The session stays as its Hello says.
        """
        if self._transport is not None and not self._transport.is_closing():
            self._write(wire.disconnect())
            # What still comes is not read, and must not keep the end of it from being seen.
            self.taken(self._held)
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._closed.wait()
            except TimeoutError:
                self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._write(wire.connect(self._hello))

    def data_received(self, data: bytes) -> None:
        """Take packets apart."""
        self._heard_s = asyncio.get_running_loop().time()
        try:
            packets = self._reader.feed(data)
            published = [packet for packet in packets if type(packet) is wire.Publish]
            self.inbox.extend(published)
            self._held += sum([len(packet.payload) for packet in published])
            if len(published) < len(packets):
                for packet in packets:
                    if type(packet) is wire.Control:
                        self._control(packet)
        except (wire.MqttFaultError, IndexError) as error:
            self._abort(f"The broker {self._broker.name} says what is not MQTT: {error}.")
            return
        if self.inbox:
            self.arrived.set()
        if self._held > INBOX_BYTES_MAX and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Note that the socket takes no more."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that the socket takes more."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        if self._lost is None:
            why = f": {exc}" if exc is not None else ""
            message = f"The broker {self._broker.name} closed the connection{why}."
            self._lost = UnavailableError("OutboundFailed", message)
        if self._timer is not None:
            self._timer.cancel()
        for future in (*self._answers.values(), self._welcome):
            if not future.done():
                future.set_exception(self._failure())
                future.exception()  # nobody need be waiting for it
        self._writable.set()
        self._closed.set()
        self.arrived.set()

    def _control(self, packet: wire.Control) -> None:
        if packet.type == PUBACK:
            packet_id, code = wire.read_puback(packet.body)
            self._answer((PUBACK, packet_id), code)
        elif packet.type in {SUBACK, UNSUBACK}:
            packet_id, codes = wire.read_suback(packet.body, self._hello.level)
            self._answer((packet.type, packet_id), codes)
        elif packet.type == CONNACK:
            self._welcomed(packet.body)
        elif packet.type == DISCONNECT:
            code = packet.body[0] if packet.body else 0
            self._abort(f"The broker {self._broker.name} ended the connection: {REASONS.get(code, code)}.")
        elif packet.type != PINGRESP:
            raise wire.MqttFaultError(f"a packet of type {packet.type}")

    def _welcomed(self, body: bytes) -> None:
        session, code, properties = wire.read_connack(body, self._hello.level)
        if code:
            why = properties.get(REASON_CODE) or REASONS.get(code, f"code {code}")
            message = f"The broker {self._broker.name} refuses the connection: {why}."
            self._lost = (
                InvalidError("OutboundRefused", message)
                if code in STAY_WRONG
                else UnavailableError("OutboundFailed", message)
            )
            self._abort(message)
        elif not self._welcome.done():
            maximum = properties.get(RECEIVE_MAXIMUM_CODE, 65_535)
            self._welcome.set_result(_Welcome(session, maximum, properties))

    async def _delivered(self, message: Outgoing, answer: asyncio.Future[Any]) -> Declined | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                code = await answer
        except TimeoutError as error:
            self._abort(f"The broker {self._broker.name} did not acknowledge a message in {ANSWER_S:.0f} s.")
            raise self._failure() from error
        return self._declined(message, code) if code >= 0x80 else None

    def _declined(self, message: Outgoing, code: int) -> Declined:
        why = REASONS.get(code, f"code {code}")
        return Declined(f"The broker {self._broker.name} declines a message to {message.topic}: {why}.", code)

    async def _ask(self, kind: int, packet_id: int, packet: bytes) -> Any:
        answer = self._expect(kind, packet_id)
        self._write(packet)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError as error:
            self._abort(f"The broker {self._broker.name} did not answer in {ANSWER_S:.0f} s.")
            raise self._failure() from error

    def _expect(self, kind: int, packet_id: int) -> asyncio.Future[Any]:
        self.check()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[kind, packet_id] = answer
        return answer

    def _answer(self, key: tuple[int, int], value: object) -> None:
        future = self._answers.pop(key, None)
        if future is not None and not future.done():
            future.set_result(value)

    def _id(self) -> int:
        self._next_id = self._next_id % 65_535 + 1
        return self._next_id

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self._sent_s = asyncio.get_running_loop().time()

    def _look(self) -> None:
        """Show that we live, and end where the other side no longer does."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if not self._paused and now_s - self._heard_s > 1.5 * self._keepalive_s:
            self._abort(
                f"Nothing was heard of the broker {self._broker.name} for {now_s - self._heard_s:.0f} s."
            )
            return
        if max(now_s - self._sent_s, now_s - self._heard_s) >= self._keepalive_s / 2:
            self._write(wire.ping())
        self._timer = loop.call_later(self._keepalive_s / 4, self._look)

    def _abort(self, message: str) -> None:
        if self._lost is None:
            self._lost = UnavailableError("OutboundFailed", message)
        if self._transport is not None:
            self._transport.abort()

    def _failure(self) -> UnavailableError | InvalidError:
        """Return the error anew: one that was raised keeps where it was."""
        assert self._lost is not None
        return type(self._lost)(self._lost.code, self._lost.message, self._lost.hint)


async def _connected(
    make: Callable[[], MqttConnection], broker: Broker, addresses: Sequence[str]
) -> MqttConnection:
    """Connect to the first address that answers. Raises OSError."""
    loop = asyncio.get_running_loop()
    failed = OSError("the name has no address")
    for address in addresses:
        try:
            _, found = await loop.create_connection(
                make,
                address,
                broker.port,
                ssl=broker.tls,
                server_hostname=broker.host if broker.tls is not None else None,
            )
        except OSError as error:
            failed = error
        else:
            return found
    raise failed

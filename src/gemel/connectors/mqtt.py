"""An MQTT broker as a source: a session that the broker keeps, acknowledged by hand behind our commits."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gemel.base.clock import now_us
from gemel.base.errors import InvalidError, UnavailableError
from gemel.connectors.looking import WatchedPayloads
from gemel.connectors.message_traces import with_traces
from gemel.connectors.mqtt_payloads import EventPayloads, MappedPayloads, Payloads, Session
from gemel.connectors.mqtt_probe import probe_queue
from gemel.connectors.mqtt_settings import MqttSettings, broker_of, hello_of, read_settings
from gemel.connectors.sparkplug import SparkplugNodes, parts_of
from gemel.ingest.events import LINES, Decoded
from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.outbound import OutboundPolicy
from gemel.outbound.mqtt import MqttConnection
from gemel.outbound.mqtt_wire import Publish
from gemel.sources.contract import Marks, QueueProbe, SourceBatch
from gemel.sources.definition import Definition, Limits
from gemel.sources.permits import Place

__all__ = ["MqttKind", "MqttSource"]

SESSION: Final = "session"
TOPICS: Final = "topics"
TRACE: Final = "traceparent"
INLINE_MESSAGES: Final = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """How messages become events: by what, under which label of a mapping, and of which model new twins are.

    `nodes` is given for Sparkplug, which remembers what was born; `payloads` are read by it then.
    """

    payloads: Payloads
    nodes: SparkplugNodes | None = None
    mapping: str | None = None
    create_model: str | None = None


@dataclass(frozen=True, slots=True)
class MqttKind:
    """Sources of kind `mqtt`; `policy` says which brokers may be called."""

    policy: OutboundPolicy

    def check(self, definition: Definition, place: Place) -> None:
        """Raise InvalidError (SourceInvalid, SourceNotAllowed, MappingInvalid) for what can be seen from here."""
        _reading(definition, read_settings(definition, place))

    async def open(self, definition: Definition, place: Place, marks: Marks) -> MqttSource:
        """Connect, take up the session and subscribe.

        Raises as `check`, InvalidError (OutboundRefused), UnavailableError (SourceUnavailable, SecretMissing).
        """
        settings = read_settings(definition, place)
        reading = await asyncio.to_thread(_reading, definition, settings)
        if place.trial:
            settings = settings.for_trial(f"trial-{secrets.token_hex(3)}")
        broker = await asyncio.to_thread(broker_of, settings, place)
        hello = hello_of(settings, place, fresh=place.trial)
        kept = {} if place.trial else await marks.read([SESSION, TOPICS])
        try:
            connection = await MqttConnection.open(broker, hello, self.policy)
            try:
                source = await _take_up(connection, settings, reading, marks, kept)
            except BaseException:
                await connection.close()
                raise
        except UnavailableError as error:
            raise _unavailable(error) from error
        if place.trial:
            source.first, source.trial = None, True
        return source

    async def probe(self, definition: Definition, place: Place) -> QueueProbe:
        """Find out how much the broker keeps for who is away, with a session and a topic of our own.

        Raises as `open`.
        """
        try:
            return await probe_queue(definition, place, self.policy)
        except UnavailableError as error:
            raise _unavailable(error) from error


class MqttSource:
    """What comes over one connection, by batch; each is acknowledged once it is committed."""

    def __init__(self, connection: MqttConnection, session: Session, reading: Reading, marks: Marks) -> None:
        self._connection = connection
        self._marks = marks
        self._session = session
        self._reading = reading
        self._uncommitted: deque[list[int]] = deque()
        self._next_us = 0
        self.first: SourceBatch | None = None
        self.trial = False

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        """Return what came, once the batch before is committed or there is a whole one."""
        if self.first is not None:
            batch, self.first = self.first, None
            self._uncommitted.append([])
            return batch
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.wait_s):
                while not self._is_due(limits):
                    self._connection.arrived.clear()
                    await self._connection.arrived.wait()
        try:
            self._connection.check()
        except UnavailableError as error:
            raise _unavailable(error) from error
        if not self._connection.inbox or (self._uncommitted and not self._is_due(limits)):
            return None
        return await self._batch(self._take(limits))

    async def commit(self, position: Mapping[str, str]) -> None:
        """Acknowledge the messages of the oldest batch that is not acknowledged."""
        self._connection.ack(self._uncommitted.popleft())
        self._connection.arrived.set()

    async def close(self) -> None:
        """Disconnect; the broker keeps the session, and gives again what was not acknowledged."""
        await self._connection.close()

    def _is_due(self, limits: Limits) -> bool:
        """Whether a batch is to be made: it is full, or nothing is under way that more could wait for."""
        connection = self._connection
        if connection.is_lost:
            return True
        if not connection.inbox:
            return False
        full = len(connection.inbox) >= limits.events_max or connection.held >= limits.bytes_max
        return full or not self._uncommitted

    def _take(self, limits: Limits) -> list[Publish]:
        inbox, size = self._connection.inbox, self._connection.held
        if len(inbox) <= limits.events_max and size <= limits.bytes_max:
            taken = list(inbox)
            inbox.clear()
            self._connection.taken(size)
            return taken
        size, taken = 0, []
        while inbox and len(taken) < limits.events_max:
            size += len(inbox[0].payload)
            if taken and size > limits.bytes_max:
                size -= len(inbox[0].payload)
                break
            taken.append(inbox.popleft())
        self._connection.taken(size)
        return taken

    async def _batch(self, messages: list[Publish]) -> SourceBatch:
        # Events without a time get one µs each from here on: of two batches none may be that of another.
        received_us = max(now_us(), self._next_us)
        self._uncommitted.append(
            [packet_id for packet_id in [message.packet_id for message in messages] if packet_id]
        )
        reading = self._reading
        if reading.nodes is not None:
            await self._remember(reading.nodes, messages)
        if len(messages) <= INLINE_MESSAGES:
            decoded = self._decode(messages, received_us)
        else:
            decoded = await asyncio.to_thread(self._decode, messages, received_us)
        self._next_us = received_us + len(decoded.events)
        return SourceBatch(
            decoded=decoded,
            received_us=received_us,
            position={SESSION: f"{self._session.tag} {self._session.count}"} | self._born(),
            weight=sum(len(message.payload) for message in messages),
            mapping=reading.mapping,
            create_model=reading.create_model,
            traceparent=None
            if reading.nodes
            else with_traces(decoded, [message.headers.get(TRACE) for message in messages]),
        )

    def _decode(self, messages: list[Publish], received_us: int) -> Decoded:
        return self._reading.payloads.decode(messages, self._session.names(messages), received_us)

    async def _remember(self, nodes: SparkplugNodes, messages: list[Publish]) -> None:
        """Look up what was born before this process listened."""
        unknown = parts_of(nodes.unknown(messages))
        if unknown:
            kept = await self._marks.read(list(unknown))
            for part, key in unknown.items():
                nodes.restore(key, kept.get(part))

    def _born(self) -> dict[str, str]:
        """Return what is to be kept of nodes that were born, and send what is to be asked of others."""
        nodes = self._reading.nodes
        if nodes is None:
            return {}
        if not self.trial:
            for message in nodes.asking:
                self._connection.tell(message)
        nodes.asking.clear()
        kept = {part: nodes.keep(key) for part, key in parts_of(nodes.changed).items()}
        nodes.changed.clear()
        return kept


async def _take_up(
    connection: MqttConnection,
    settings: MqttSettings,
    reading: Reading,
    marks: Marks,
    kept: Mapping[str, str],
) -> MqttSource:
    """Subscribe to what the session does not have yet, and read on in it, or begin a new one."""
    tag, _, count = kept.get(SESSION, "").partition(" ")
    before = frozenset(json.loads(kept.get(TOPICS, "[]")))
    wanted = frozenset(settings.topics)
    problem = None
    if not connection.session:
        if tag:
            problem = (
                "The broker had forgotten the session: what was published while nobody listened is lost."
            )
        tag, before = "", frozenset()
    # A session that we know nothing of may hold other subscriptions, which cannot be asked for.
    await connection.subscribe(sorted(wanted - before))
    await connection.unsubscribe(sorted(before - wanted))
    session = Session(tag or secrets.token_hex(4), int(count) if tag else 0)
    source = MqttSource(connection, session, reading, marks)
    if not tag or before != wanted:
        position = {SESSION: f"{session.tag} {session.count}", TOPICS: json.dumps(sorted(wanted))}
        source.first = SourceBatch(Decoded([], b"", LINES), now_us(), position, problem=problem)
    return source


def _reading(definition: Definition, settings: MqttSettings) -> Reading:
    if definition.mapping is None:
        if definition.create_twins:
            message = "The source's create_twins: needs a mapping, which names the model."
            raise InvalidError("SourceInvalid", message, "Add a mapping, or create the twins first.")
        nodes = None
        if settings.sparkplug is not None:
            nodes = SparkplugNodes(settings.sparkplug, None, secrets.token_hex(4))
        payloads: Payloads = nodes or EventPayloads()
        watch = definition.watch
        return Reading(payloads if watch is None else WatchedPayloads(payloads, watch), nodes)
    mapping = parse_payload_mapping(definition.mapping.text.encode(), definition.mapping.file)
    models = {rule.model for rule in mapping.twins}
    if definition.create_twins and (len(models) > 1 or None in models):
        message = f"{mapping.file}: twins: twins are to be created, and not all name the same model."
        raise InvalidError("MappingInvalid", message, "Create the twins first, or read them by two sources.")
    model = next(iter(models)) if definition.create_twins else None
    mapper = Mapper(mapping, definition.watch)
    if settings.sparkplug is None:
        return Reading(MappedPayloads(mapper), None, mapping.label, model)
    nodes = SparkplugNodes(settings.sparkplug, mapper, secrets.token_hex(4))
    return Reading(nodes, nodes, mapping.label, model)


def _unavailable(error: UnavailableError) -> UnavailableError:
    return UnavailableError("SourceUnavailable", error.message, error.hint)

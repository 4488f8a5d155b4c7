"""Kafka as a source: a member of a consumer group, which goes on from the offsets that commit with the events."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, replace
from typing import Any, Final

from gemel.base.errors import InvalidError
from gemel.connectors.avro import AvroPayloads, Registry
from gemel.connectors.kafka_messages import EventReader, MappedReader, Reader
from gemel.connectors.kafka_source import KafkaSource, Origin, Topics
from gemel.connectors.looking import WatchedReader
from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.outbound import Outbound, parse_target
from gemel.outbound.kafka import SECRETS, client_config, kafka_library, server_list, setting_fault
from gemel.sources.contract import Marks
from gemel.sources.definition import Definition
from gemel.sources.fields import Fields
from gemel.sources.permits import Place

__all__ = ["KafkaKind"]

TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
GROUP: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?")
TOPICS_MAX: Final = 64
REFERENCE: Final = "${"
SESSION_MS: Final = 10_000
"""After how long a member that was killed is taken for dead: until then nobody reads its partitions."""
STARTS: Final = ("earliest", "latest")
OURS: Final[dict[str, Any]] = {
    # Offsets are kept with the events; what is told to the broker is for those who look there.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "range,roundrobin",
    "allow.auto.create.topics": False,
    # What is fetched ahead is memory; and a full queue must not make the fetcher sleep for its second.
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 10,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """A connection as described: servers, topics, the group if one is named, and where a new group starts."""

    servers: list[str]
    topics: list[str]
    group: str | None
    start: str
    settings: dict[str, Any]
    avro: Registry | None


@dataclass(frozen=True, slots=True)
class KafkaKind:
    """Sources of kind `kafka`; the addresses that may be called are those of `outbound`."""

    outbound: Outbound

    def check(self, definition: Definition, place: Place) -> None:
        """Raise InvalidError (SourceInvalid, SourceNotAllowed, MappingInvalid) for what can be seen from here.

        Raises EnvironmentFaultError (ExtraMissing) without the library.
        """
        settings = _settings(definition.connection_fields())
        for value in (*settings.settings.values(), settings.avro and settings.avro.password):
            if isinstance(value, str):
                place.check(value)
        mapper = _mapper(definition)
        if settings.avro is not None and mapper is None:
            message = "The source's connection.avro: needs a mapping, which says what records mean."
            raise InvalidError("SourceInvalid", message, "Add one.")
        kafka_library()
        self._payloads(settings.avro and replace(settings.avro, password=None), place)

    async def open(self, definition: Definition, place: Place, marks: Marks) -> KafkaSource:
        """Join the group, or only look where it is a trial; raises as `check`, and UnavailableError.

        Raises InvalidError (OutboundRefused) for servers that may not be called.
        """
        settings = _settings(definition.connection_fields())
        for server in settings.servers:
            await self.outbound.check(f"http://{server}")
        mapper = await asyncio.to_thread(_mapper, definition)
        reader: Reader = EventReader()
        if mapper is not None:
            reader = MappedReader(mapper, self._payloads(settings.avro, place))
        elif definition.watch is not None:
            reader = WatchedReader(reader, definition.watch)
        config = client_config(settings.servers, settings.settings, place.resolve) | OURS
        config.setdefault("session.timeout.ms", SESSION_MS)
        group = settings.group or f"gemel.{place.tenant_name}.{definition.name}"
        config["group.id"] = f"{group}.{secrets.token_hex(6)}" if definition.trial else group
        topics = Topics(settings.topics, settings.group, settings.start, definition.trial)
        label, model = (None, None) if mapper is None else (mapper.mapping.label, _model(definition, mapper))
        source = KafkaSource(topics, reader, marks, Origin(label, model))
        try:
            await source.start(config)
        except BaseException:
            await source.close()
            raise
        return source

    def _payloads(self, avro: Registry | None, place: Place) -> AvroPayloads | None:
        if avro is None:
            return None
        password = None if avro.password is None else place.resolve(avro.password)
        return AvroPayloads(self.outbound, replace(avro, password=password))


def _settings(fields: Fields) -> Settings:
    try:
        servers = server_list(fields.text("servers"))
    except ValueError as error:
        raise fields.fault(
            "servers", str(error), "As in kafka-1.example.com:9092,kafka-2.example.com:9092."
        ) from error
    group = fields.text("group", None)
    if group is not None and GROUP.fullmatch(group) is None:
        raise fields.fault("group", f"{group[:80]!r} is not a name", "Use A-Z a-z 0-9 _ . -, at most 128.")
    found = Settings(
        servers=servers,
        topics=_topics(fields),
        group=group,
        start=fields.text("start", "earliest"),
        settings=_library_settings(fields),
        avro=_registry(fields),
    )
    if found.start not in STARTS:
        raise fields.fault("start", f"is {found.start[:40]!r}", f"Use one of: {', '.join(STARTS)}.")
    fields.finish()
    return found


def _registry(fields: Fields) -> Registry | None:
    given = fields.take("avro", None)
    if given is None:
        return None
    own = Fields(f"{fields.place}.avro", given)
    url, user, password = own.text("registry"), own.text("user", None), own.text("password", None)
    try:
        parse_target(url)
    except InvalidError as error:
        raise own.fault("registry", error.message, "As in https://registry.example.com.") from error
    subject, version = own.text("reader", None), own.whole("version", 0, 0, 2**31 - 1)
    reader = None if subject is None else (subject, str(version or "latest"))
    own.finish()
    return Registry(url, user, password, reader)


def _topics(fields: Fields) -> list[str]:
    topics = fields.take("topics")
    topics = [topics] if isinstance(topics, str) else topics
    if not isinstance(topics, list) or not 0 < len(topics) <= TOPICS_MAX:
        raise fields.fault("topics", f"must be a list of 1 to {TOPICS_MAX} topics")
    for topic in topics:
        if not isinstance(topic, str) or TOPIC.fullmatch(topic) is None or topics.count(topic) > 1:
            raise fields.fault("topics", f"{str(topic)[:80]!r} is not a topic's name, or stands there twice")
    return topics


def _library_settings(fields: Fields) -> dict[str, Any]:
    settings = fields.take("settings", {})
    if not isinstance(settings, dict):
        raise fields.fault("settings", "must be keys with values")
    for name, value in settings.items():
        fault = setting_fault(name, value)
        if fault is not None:
            raise fields.fault(f"settings.{str(name)[:80]}", fault)
        if name in SECRETS and (not isinstance(value, str) or not value.startswith(REFERENCE)):
            raise fields.fault(
                f"settings.{name}", "holds a secret in clear", "Use ${env:NAME} or ${file:/path}."
            )
    return settings


def _mapper(definition: Definition) -> Mapper | None:
    """Return the mapping, compiled; None where messages are CloudEvents."""
    if definition.mapping is None:
        if definition.create_twins:
            message = "The source's create_twins: needs a mapping, which names the model of the twins."
            raise InvalidError("SourceInvalid", message, "Add one, or create the twins first.")
        return None
    mapper = Mapper(
        parse_payload_mapping(definition.mapping.text.encode(), definition.mapping.file), definition.watch
    )
    _model(definition, mapper)
    return mapper


def _model(definition: Definition, mapper: Mapper) -> str | None:
    """Return the one model of twins that are to be created. Raises InvalidError (MappingInvalid) for another number."""
    if not definition.create_twins:
        return None
    models = {rule.model for rule in mapper.mapping.twins}
    if len(models) != 1 or None in models:
        message = (
            f"{mapper.mapping.file}: twins: name {len(models - {None})} models, and twins are to be created."
        )
        raise InvalidError(
            "MappingInvalid", message, "Give all entries one model, or create the twins first."
        )
    return models.pop()

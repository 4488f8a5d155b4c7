"""Messages of Kafka as events: CloudEvents as they come, or any payload by a mapping. Decoded by batch.

Source: the Kafka protocol binding of CloudEvents 1.0.2 (structured, batched and binary mode).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import msgspec

from gemel.base.errors import Detail, GemelError
from gemel.ingest.events import BATCH, LINES, Decoded, Event, decode_body, decode_event
from gemel.mapping.mapper import Mapper
from gemel.mapping.scene import Message

__all__ = ["EventReader", "KafkaMessage", "MappedReader", "Payloads", "Reader", "place_of", "traces_of"]

MARK: Final = "ce_specversion"
PREFIX: Final = "ce_"
TRACE: Final = "traceparent"

Headers = Sequence[tuple[str, bytes | None]] | None


# The library's own type (confluent_kafka.Message), which is not there without its extra.
KafkaMessage = Any


class Reader(Protocol):
    """Makes events of messages; it may wait for what it needs of others in `prepare`, and `decode` runs in a thread."""

    async def prepare(self, messages: Sequence[KafkaMessage]) -> None:
        """Get what decoding these messages needs. Raises UnavailableError."""

    def decode(self, messages: Sequence[KafkaMessage], received_us: int) -> Decoded:
        """Return the events of messages, in order."""


class Payloads(Protocol):
    """Takes payloads apart that are not JSON."""

    async def prepare(self, values: Sequence[bytes]) -> None:
        """Get what these payloads need to be read. Raises UnavailableError."""

    def read(self, value: bytes) -> Any:
        """Return a payload as JSON values. Raises ValueError, saying why there are none."""


@dataclass(frozen=True, slots=True)
class EventReader:
    """Reads CloudEvents: one a message, a batch of them, or the attributes in headers and the data as value."""

    async def prepare(self, messages: Sequence[KafkaMessage]) -> None:
        """Do nothing: events need nobody else."""

    def decode(self, messages: Sequence[KafkaMessage], received_us: int) -> Decoded:
        """Return the events of messages; where all are plain, they decode in one call."""
        values: list[bytes] = [message.value() for message in messages]
        body = b"\n".join(values)
        are_lines = {value[:1] for value in values} == {b"{"} and body.count(b"\n") == len(values) - 1
        if are_lines and not _any_binary(messages):
            decoded = decode_body(body, LINES)
            if len(decoded.events) == len(values):
                decoded.places = _Places(messages, range(len(values)))
                return decoded
        return _one_by_one(messages, values)


@dataclass(frozen=True, slots=True)
class MappedReader:
    """Reads any payload by a mapping, by way of `payloads` where it is not JSON or text itself."""

    mapper: Mapper
    payloads: Payloads | None = None

    async def prepare(self, messages: Sequence[KafkaMessage]) -> None:
        """Get what the payloads need."""
        if self.payloads is not None:
            await self.payloads.prepare([message.value() for message in messages])

    def decode(self, messages: Sequence[KafkaMessage], received_us: int) -> Decoded:
        """Return the events that the mapping makes of messages."""
        if self.payloads is not None:
            return self._read_apart(self.payloads, messages, received_us)
        made = self.mapper.run([_seen(message, received_us) for message in messages])
        decoded = made.decoded(b"")
        decoded.places = _Places(messages, made.messages)
        return decoded

    def _read_apart(self, payloads: Payloads, messages: Sequence[KafkaMessage], received_us: int) -> Decoded:
        """Return the events of messages whose payloads can be read, and behind them what stands for the others."""
        good: list[Message] = []
        owners: list[int] = []
        refused: list[tuple[int, Detail, bytes]] = []
        for number, message in enumerate(messages):
            seen = _seen(message, received_us)
            try:
                good.append(replace(seen, payload=payloads.read(seen.payload)))
                owners.append(number)
            except ValueError as error:
                refused.append((number, *self.mapper.refuse(seen, f"the payload cannot be read: {error}")))
        made = self.mapper.run(good)
        events: list[Event | Detail] = [*made.events, *(detail for _, detail, _ in refused)]
        raws = [*made.raws, *(raw for _, _, raw in refused)] if refused else made.raws
        decoded = Decoded(events, b"", LINES, raws)
        places = [owners[index] for index in made.messages] + [number for number, _, _ in refused]
        decoded.places, decoded.owners = _Places(messages, places), places
        return decoded


def place_of(message: KafkaMessage) -> str:
    """Return what names a message for good: topic, partition and offset."""
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


def traces_of(messages: Sequence[KafkaMessage]) -> list[str | None]:
    """Return the `traceparent` that stands in the headers of each message, if one does."""
    return [None if headers is None else _texts(headers).get(TRACE) for headers in _headers(messages)]


class _Places(Sequence[str]):
    """Where each event's message stands, said when it is asked for."""

    def __init__(self, messages: Sequence[KafkaMessage], owners: Sequence[int]) -> None:
        self._messages = messages
        self._owners = owners

    def __len__(self) -> int:
        return len(self._owners)

    def __getitem__(self, index: Any) -> Any:
        return place_of(self._messages[self._owners[index]])


def _one_by_one(messages: Sequence[KafkaMessage], values: Sequence[bytes]) -> Decoded:
    events: list[Event | Detail] = []
    raws: list[bytes] = []
    owners: list[int] = []
    for number, (message, value) in enumerate(zip(messages, values, strict=True)):
        for event, raw in _events_of(message, value):
            events.append(event)
            raws.append(raw)
            owners.append(number)
    decoded = Decoded(events, b"", LINES, raws)
    decoded.places, decoded.owners = _Places(messages, owners), owners
    return decoded


def _events_of(message: KafkaMessage, value: bytes) -> list[tuple[Event | Detail, bytes]]:
    if _is_binary(message):
        value = _enveloped(message.headers(), value)
    elif value.lstrip()[:1] == b"[":
        try:
            batch = decode_body(value, BATCH)
        except GemelError as error:
            return [(Detail(error.code, error.message), value)]
        return [(event, batch.raw(index)) for index, event in enumerate(batch.events)]
    return [(decode_event(value), value)]


def _any_binary(messages: Sequence[KafkaMessage]) -> bool:
    # Most topics have no headers at all.
    found = [headers for headers in _headers(messages) if headers]
    return any(name == MARK for headers in found for name, _ in headers)


def _headers(messages: Sequence[KafkaMessage]) -> list[Headers]:
    return [message.headers() for message in messages]


def _is_binary(message: KafkaMessage) -> bool:
    headers: Headers = message.headers()
    return headers is not None and any(name == MARK for name, _ in headers)


def _enveloped(headers: Headers, value: bytes) -> bytes:
    """Return an event in binary mode as one in structured mode."""
    named = {name[len(PREFIX) :]: text for name, text in _texts(headers).items() if name.startswith(PREFIX)}
    event: dict[str, Any] = {**named, "data": _json(value)}
    if named.get("revision", "").isdecimal():
        event["revision"] = int(named["revision"])
    return msgspec.json.encode(event)


def _json(value: bytes) -> Any:
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return value.decode("utf-8", "backslashreplace")
    return msgspec.Raw(value)


def _seen(message: KafkaMessage, received_us: int) -> Message:
    key = message.key()
    kind, sent_ms = message.timestamp()
    return Message(
        message.value(),
        received_us,
        place_of(message),
        message.topic(),
        None if key is None else key.decode("utf-8", "replace"),
        _texts(message.headers()),
        None if kind == 0 else sent_ms * 1000,
    )


def _texts(headers: Headers) -> Mapping[str, str]:
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers or ()}

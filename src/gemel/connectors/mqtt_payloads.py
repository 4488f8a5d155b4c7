"""Messages of a broker to events: as CloudEvents, or by a mapping. A whole batch at once."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

from gemel.base.errors import Detail
from gemel.ingest.events import LINES, Decoded, decode_body, decode_event
from gemel.mapping.mapper import Mapper
from gemel.mapping.scene import Message
from gemel.outbound.mqtt_wire import PACKET_BYTES_MAX, Publish

__all__ = ["EventPayloads", "MappedPayloads", "Payloads", "Session"]

CYCLE: Final = 65_535
"""Packet ids are 1 to 65,535, and then from 1 again."""


class Session:
    """Names messages so that one which comes again has the name that it had.

    A broker numbers the messages of a session one after the other. `tag` is the session, `count` the greatest
    number so far, counted on beyond the 16 bits that a packet has for it.
    """

    def __init__(self, tag: str, count: int) -> None:
        self.tag = tag
        self.count = count

    def names(self, messages: Sequence[Publish]) -> Sequence[str | None]:
        """Return the names of messages; None for one that never comes again, since nobody acknowledges it.

        Its content is a part of a name: a broker that lost its memory gives a number twice.
        """
        numbers = []
        count = self.count
        for message in messages:
            packet_id = message.packet_id
            # Of all numbers that end in this packet id, the one nearest to the last is meant: mostly the next.
            ahead = (packet_id - 1 - count) % CYCLE
            number = count + (ahead - CYCLE if ahead > CYCLE // 2 else ahead)
            if packet_id and number > count:
                count = number
            numbers.append(number)
        self.count = count
        return _Names(self.tag, numbers, messages)


class _Names(Sequence[str | None]):
    """The names of messages, each made when it is asked for."""

    def __init__(self, tag: str, numbers: Sequence[int], messages: Sequence[Publish]) -> None:
        self._tag = tag
        self._numbers = numbers
        self._messages = messages

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        message = self._messages[index]
        if not message.packet_id:
            return None
        check = zlib.crc32(message.payload, zlib.crc32(message.topic))
        return f"{self._tag}.{self._numbers[index]}.{check:08x}"


class Payloads(Protocol):
    """How the payloads of a source are read."""

    def decode(self, messages: Sequence[Publish], names: Sequence[str | None], received_us: int) -> Decoded:
        """Return the events of messages, and why of the others there are none."""


class EventPayloads:
    """Each payload is a CloudEvent."""

    def decode(self, messages: Sequence[Publish], names: Sequence[str | None], received_us: int) -> Decoded:
        """Return the events, in order."""
        raws = [message.payload for message in messages]
        body = b"\n".join(raws)
        are_lines = {raw[:1] for raw in raws} == {b"{"} and body.count(b"\n") == len(raws) - 1
        if are_lines and not _has_long(messages):
            decoded = decode_body(body, LINES)
            if len(decoded.events) == len(raws):
                return decoded
        events = [
            too_long(message) if message.size > PACKET_BYTES_MAX else decode_event(message.payload)
            for message in messages
        ]
        return Decoded(events, b"", LINES, raws)


class MappedPayloads:
    """Payloads are read by a mapping."""

    def __init__(self, mapper: Mapper) -> None:
        self._mapper = mapper
        self._topics: dict[bytes, str] = {}

    def decode(self, messages: Sequence[Publish], names: Sequence[str | None], received_us: int) -> Decoded:
        """Return the events, in order."""
        topics = self._topics
        if len(topics) > TOPICS_KEPT:
            topics.clear()
        read = []
        for message, name in zip(messages, names, strict=True):
            topic = topics.get(message.topic)
            if topic is None:
                topic = topics[message.topic] = message.topic.decode("utf-8", "replace")
            read.append(Message(message.payload, received_us, name, topic, None, message.headers))
        mapped = self._mapper.run(read)
        if not _has_long(messages):
            return mapped.decoded(b"")
        events = [
            too_long(messages[owner]) if messages[owner].size > PACKET_BYTES_MAX else event
            for event, owner in zip(mapped.events, mapped.messages, strict=True)
        ]
        return Decoded(events, b"", LINES, mapped.raws)


TOPICS_KEPT: Final = 50_000


def too_long(message: Publish) -> Detail:
    """Return the reason why a message that was cut off is kept back."""
    return Detail(
        "EventMalformed",
        f"The message has {message.size} bytes, {PACKET_BYTES_MAX} at most; what is kept is its beginning.",
    )


def _has_long(messages: Sequence[Publish]) -> bool:
    return max([message.size for message in messages], default=0) > PACKET_BYTES_MAX

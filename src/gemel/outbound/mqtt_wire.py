"""MQTT on the wire, as a client needs it: packets out as bytes, and bytes in, many packets at a time. Pure.

Sources: MQTT 3.1.1 and MQTT 5.0, OASIS standards of 2014 and 2019.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = [
    "PACKET_BYTES_MAX",
    "Control",
    "Hello",
    "MqttFaultError",
    "Publish",
    "Reader",
    "connect",
    "disconnect",
    "ping",
    "puback",
    "publish",
    "read_connack",
    "read_puback",
    "read_suback",
    "subscribe",
    "unsubscribe",
]

PACKET_BYTES_MAX: Final = 8 << 20
"""A longer message is not held: its beginning is given, cut off at HEAD_BYTES."""
HEAD_BYTES: Final = 80 << 10

# How the value of each property of MQTT 5 is written, by its number (MQTT 5.0, 2.2.2.2).
PROPERTIES: Final[dict[int, str]] = {
    0x01: "B", 0x02: "I", 0x03: "text", 0x08: "text", 0x09: "text", 0x0B: "varint", 0x11: "I", 0x12: "text",
    0x13: "H", 0x15: "text", 0x16: "text", 0x17: "B", 0x19: "B", 0x1A: "text", 0x1C: "text", 0x1F: "text",
    0x21: "H", 0x22: "H", 0x23: "H", 0x24: "B", 0x25: "B", 0x26: "pair", 0x27: "I", 0x28: "B", 0x29: "B",
    0x2A: "B",
}  # fmt: skip
EXPIRY, RECEIVE_MAXIMUM, CONTENT_TYPE, USER_PROPERTY = 0x11, 0x21, 0x03, 0x26


class MqttFaultError(Exception):
    """What came is not MQTT; never leaves gemel.outbound."""


class Publish(NamedTuple):
    """A message that came: `packet_id` 0 where it wants no acknowledgement.

    `again` says that the other side sent it before; `size` is its payload's bytes, of which a payload longer
    than PACKET_BYTES_MAX has the first alone. `headers` are the user properties and content type of MQTT 5.
    """

    topic: bytes
    payload: bytes
    packet_id: int
    again: bool
    headers: Mapping[str, str]
    size: int


class Control(NamedTuple):
    """Any other packet: its type (the upper four bits of its first byte) and what follows its length."""

    type: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client says of itself; `level` is 4 for MQTT 3.1.1 and 5 for MQTT 5.

    `fresh` asks for a session without what was; a session that is not is kept for `expiry_s` after the
    connection (with 3.1.1 for as long as the broker likes). `receive_maximum` is how many messages may be
    unacknowledged at once (MQTT 5).
    """

    level: int
    client_id: str
    keepalive_s: int = 60
    fresh: bool = True
    expiry_s: int = 0
    receive_maximum: int = 65_535
    username: str | None = None
    password: str | None = field(default=None, repr=False)


NO_HEADERS: Final[dict[str, str]] = {}
_tuple = tuple.__new__


class Reader:
    """Takes bytes as they come and gives the packets that they make whole."""

    def __init__(self, level: int) -> None:
        self._properties = level == 5
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 2
        self._skip = 0

    def feed(self, data: bytes) -> list[Publish | Control]:
        """Return the packets that end in `data`. Raises MqttFaultError."""
        if self._skip:
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            data = data[dropped:]
        self._chunks.append(data)
        self._have += len(data)
        if self._have < self._need:
            return []
        buffer = b"".join(self._chunks) if len(self._chunks) > 1 else data
        out: list[Publish | Control] = []
        try:
            at = self._packets(buffer, out)
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise MqttFaultError(f"a packet ends within itself ({error})") from error
        self._chunks = [buffer[at:]] if at < len(buffer) else []
        self._have = max(0, len(buffer) - at)
        return out

    def _packets(self, buffer: bytes, out: list[Publish | Control]) -> int:
        """Append the packets of a buffer; return where the first that is not whole begins."""
        at, end = 0, len(buffer)
        while end - at >= 2:
            first, length, start = buffer[at], buffer[at + 1], at + 2
            if length > 127:
                if start < end and buffer[start] < 128:
                    length, start = length & 127 | buffer[start] << 7, start + 1
                else:
                    found = _length(buffer, at + 1)
                    if found is None:
                        self._need = end - at + 1
                        return at
                    length, start = found
            stop = start + length
            if stop > end:
                if length > PACKET_BYTES_MAX and first & 0xF0 == 0x30:
                    if end - start < HEAD_BYTES:
                        self._need = start - at + HEAD_BYTES
                        return at
                    out.append(self._publish(buffer, first, start, start + HEAD_BYTES, length))
                    self._skip = stop - end
                    self._need = 2
                    return end
                self._need = stop - at
                return at
            if first & 0xF0 == 0x30:
                out.append(self._publish(buffer, first, start, stop, length))
            else:
                out.append(Control(first >> 4, buffer[start:stop]))
            at = stop
        self._need = 2
        return at

    def _publish(self, buffer: bytes, first: int, at: int, stop: int, length: int) -> Publish:
        began = at
        topic_end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
        topic = buffer[at + 2 : topic_end]
        at, packet_id = topic_end, 0
        headers: Mapping[str, str] = NO_HEADERS
        if first & 0x06:
            packet_id = buffer[at] << 8 | buffer[at + 1]
            at += 2
        if self._properties:
            if buffer[at]:
                found, at = _properties(buffer, at)
                headers = _headers(found)
            else:
                at += 1
        if at > stop:
            raise MqttFaultError("a message is shorter than its topic")
        # A named tuple's own call is slower, and each message is one.
        return _tuple(
            Publish, (topic, buffer[at:stop], packet_id, first & 0x08 != 0, headers, length - (at - began))
        )


def connect(hello: Hello) -> bytes:
    """Return CONNECT."""
    flags = 0x02 if hello.fresh else 0
    body = [_text(hello.client_id)]
    if hello.username is not None:
        flags |= 0x80
        body.append(_text(hello.username))
    if hello.password is not None:
        flags |= 0x40
        body.append(_text(hello.password))
    properties = b""
    if hello.level == 5:
        properties = bytes([EXPIRY]) + struct.pack("!I", hello.expiry_s)
        properties += bytes([RECEIVE_MAXIMUM]) + struct.pack("!H", hello.receive_maximum)
        properties = _varint(len(properties)) + properties
    head = _text("MQTT") + bytes([hello.level, flags]) + struct.pack("!H", hello.keepalive_s)
    return _packet(0x10, head + properties + b"".join(body))


def subscribe(packet_id: int, filters: Sequence[str], level: int) -> bytes:
    """Return SUBSCRIBE with QoS 1; with MQTT 5, retained messages come only where a subscription is new."""
    options = b"\x11" if level == 5 else b"\x01"
    parts = [struct.pack("!H", packet_id), b"\0" if level == 5 else b""]
    parts += [_text(each) + options for each in filters]
    return _packet(0x82, b"".join(parts))


def unsubscribe(packet_id: int, filters: Sequence[str], level: int) -> bytes:
    """Return UNSUBSCRIBE."""
    parts = [struct.pack("!H", packet_id), b"\0" if level == 5 else b"", *map(_text, filters)]
    return _packet(0xA2, b"".join(parts))


def publish(topic: str, payload: bytes, packet_id: int, level: int, headers: Mapping[str, str]) -> bytes:
    """Return PUBLISH: with QoS 1, or 0 where the packet id is 0; `headers` go along with MQTT 5 alone."""
    parts = [_text(topic)]
    if packet_id:
        parts.append(struct.pack("!H", packet_id))
    if level == 5:
        properties = b"".join(
            bytes([CONTENT_TYPE]) + _text(value)
            if name == "content-type"
            else bytes([USER_PROPERTY]) + _text(name) + _text(value)
            for name, value in headers.items()
        )
        parts += [_varint(len(properties)), properties]
    parts.append(payload)
    return _packet(0x32 if packet_id else 0x30, b"".join(parts))


def puback(packet_ids: Iterable[int]) -> bytes:
    """Return a PUBACK for each message."""
    packets = np.array([(0x4002, packet_id) for packet_id in packet_ids], ">u2")
    return packets.tobytes()


def ping() -> bytes:
    """Return PINGREQ."""
    return b"\xc0\0"


def disconnect() -> bytes:
    """Return DISCONNECT: a normal one, behind which the session stays."""
    return b"\xe0\0"


def read_connack(body: bytes, level: int) -> tuple[bool, int, dict[int, Any]]:
    """Return whether the broker has a session of before, its reason code and its properties."""
    properties = _properties(body, 2)[0] if level == 5 and len(body) > 2 else {}
    return bool(body[0] & 1), body[1], properties


def read_suback(body: bytes, level: int) -> tuple[int, bytes]:
    """Return the packet id that a SUBACK or UNSUBACK is of, and its reason codes."""
    at = 2
    if level == 5:
        at = _properties(body, 2)[1]
    return body[0] << 8 | body[1], body[at:]


def read_puback(body: bytes) -> tuple[int, int]:
    """Return the packet id that a PUBACK is of, and its reason code."""
    return body[0] << 8 | body[1], body[2] if len(body) > 2 else 0


def _headers(properties: dict[int, Any]) -> Mapping[str, str]:
    headers = dict(properties.get(USER_PROPERTY, ()))
    if CONTENT_TYPE in properties:
        headers.setdefault("content-type", properties[CONTENT_TYPE])
    return headers or NO_HEADERS


def _properties(buffer: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the properties that begin at a place, and where they end."""
    found = _length(buffer, at)
    if found is None:
        raise MqttFaultError("a packet has no properties")
    length, at = found
    end = at + length
    properties: dict[int, Any] = {}
    while at < end:
        number = buffer[at]
        form = PROPERTIES.get(number)
        at += 1
        if form is None:
            raise MqttFaultError(f"there is no property {number}")
        value: Any
        if form == "pair":
            name, at = _read_text(buffer, at)
            value, at = _read_text(buffer, at)
            properties.setdefault(number, []).append((name, value))
            continue
        if form == "text":
            value, at = _read_text(buffer, at)
        elif form == "varint":
            length_of = _length(buffer, at)
            if length_of is None:
                raise MqttFaultError("a property ends within itself")
            value, at = length_of
        else:
            (value,) = struct.unpack_from(f"!{form}", buffer, at)
            at += struct.calcsize(form)
        properties[number] = value
    return properties, end


def _read_text(buffer: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
    return buffer[at + 2 : end].decode("utf-8", "replace"), end


def _length(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Return a number of variable length and where it ends, or None where more bytes are needed."""
    value = 0
    for place in range(4):
        if at + place >= len(buffer):
            return None
        byte = buffer[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise MqttFaultError("a length has more than four bytes")


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | 128 if value else low)
        if not value:
            return bytes(out)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _varint(len(body)) + body

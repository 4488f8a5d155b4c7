"""An edge node of Sparkplug B to be: payloads as bytes, and a node that is born again when it is asked to."""

from __future__ import annotations

import struct
import threading
from typing import Any

import paho.mqtt.client as paho

from support.mosquitto import Client

__all__ = ["EdgeNode", "metric", "payload"]

DOUBLE = 10


def payload(time_ms: int | None, seq: int | None, *metrics: bytes) -> bytes:
    """Return a payload."""
    head = b"" if time_ms is None else b"\x08" + varint(time_ms)
    body = b"".join(b"\x12" + varint(len(each)) + each for each in metrics)
    return head + body + (b"" if seq is None else b"\x18" + varint(seq))


def metric(name: str | None, value: Any, **own: int) -> bytes:
    """Return a metric: a float as Double, an int as Int64 (or `type`); `alias`, `time_ms`, `quality` as given."""
    out = b"" if name is None else b"\x0a" + varint(len(name.encode())) + name.encode()
    if "alias" in own:
        out += b"\x10" + varint(own["alias"])
    if "time_ms" in own:
        out += b"\x18" + varint(own["time_ms"])
    out += b"\x20" + varint(own.get("type", DOUBLE if isinstance(value, float) else 4))
    if "quality" in own:
        inner = b"\x18" + varint(own["quality"])
        properties = b"\x0a\x07Quality\x12" + varint(len(inner)) + inner
        out += b"\x4a" + varint(len(properties)) + properties
    if value is None:
        return out + b"\x38\x01"
    if isinstance(value, float):
        return out + b"\x69" + struct.pack("<d", value)
    return out + b"\x58" + varint(value % (1 << 64))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


class EdgeNode:
    """Node `e` of group `g` with the device `t1`: temperature (alias 1) of the node, count (alias 2) of the device."""

    def __init__(self, port: int, birth_seq: int = 0) -> None:
        self.time_ms = 1_700_000_000_000
        self.births = 0
        self._seq = 0
        self._birth_seq = birth_seq
        self._born = threading.Event()
        self._client = Client(port)
        self._client.paho.on_message = self._asked
        self._client.subscribe("spBv1.0/g/NCMD/e")

    def __enter__(self) -> EdgeNode:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.__exit__()

    def be_born(self, temperature: float = 1.0, count: int = 1) -> None:
        """Say what there is, first of the node, then of the device."""
        self._seq = -1
        self.births += 1
        self.say("NBIRTH", metric("bdSeq", self._birth_seq), metric("temperature", temperature, alias=1))
        self.say("DBIRTH", metric("count", count, alias=2))
        self._born.set()

    def say(self, kind: str, *metrics: bytes, skip: int = 0) -> None:
        """Publish a message, the next in sequence; `skip` leaves numbers out, as if messages were lost."""
        self._seq = (self._seq + 1 + skip) % 256
        self.time_ms += 1000
        device = "/t1" if kind.startswith("D") else ""
        sent = payload(self.time_ms, self._seq, *metrics)
        self._client.paho.publish(f"spBv1.0/g/{kind}/e{device}", sent, 1)

    def die(self, birth_seq: int | None = None) -> None:
        """Publish what the broker says in its place once it is gone."""
        told = payload(None, None, metric("bdSeq", self._birth_seq if birth_seq is None else birth_seq))
        self._client.paho.publish("spBv1.0/g/NDEATH/e", told, 1)

    def wait_reborn(self, births: int) -> None:
        """Wait until it was asked to be born again, and was."""
        while self.births < births:
            self._born.clear()
            assert self.births >= births or self._born.wait(10)

    def _asked(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        assert b"Node Control/Rebirth" in message.payload
        self.be_born(9.0, 9)

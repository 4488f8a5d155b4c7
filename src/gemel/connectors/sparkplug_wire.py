"""Payloads of Sparkplug B, read from their bytes, and the one command that is sent. Pure.

Source: Eclipse Sparkplug 3.0.0, chapter 6 (its protobuf schema), in the encoding of Protocol Buffers. What a host
does not need (metadata, templates, data sets) is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

__all__ = ["DATE_TIME", "Metric", "Payload", "read_payload", "rebirth", "typed"]

DATE_TIME: Final = 13
SIGNED_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64}
TYPE_NAMES: Final = {16: "DataSet", 17: "Bytes", 18: "File", 19: "Template"}
QUALITY: Final = "Quality"


class Metric(NamedTuple):
    """A metric as it stands: times in ms since the epoch; `value` None where there is none, or none that is read.

    `name` is empty where only the alias says which it is; `type` 0 where none is given.
    """

    name: str = ""
    alias: int | None = None
    time_ms: int | None = None
    type: int = 0
    historical: bool = False
    null: bool = False
    value: Any = None
    quality: int | None = None


class Payload(NamedTuple):
    """A payload: its time in ms and its sequence number, where it has them."""

    time_ms: int | None
    seq: int | None
    metrics: list[Metric]


def read_payload(data: bytes) -> Payload:
    """Read a payload. Raises ValueError where it is none."""
    time_ms, seq, metrics = None, None, []
    try:
        for number, value in _fields(data):
            if number == 1:
                time_ms = _whole(value)
            elif number == 2:
                metrics.append(_metric(_bytes(value)))
            elif number == 3:
                seq = _whole(value)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"it ends within itself ({error})") from error
    return Payload(time_ms, seq, metrics)


def typed(metric: Metric, kind: int) -> Any:
    """Return a metric's value by its type. Raises ValueError for a type that is not taken."""
    value = metric.value
    if value is None:
        name = TYPE_NAMES.get(kind, f"type {kind}")
        raise ValueError(f"its value is of {name}, which is not taken")
    bits = SIGNED_BITS.get(kind)
    if bits is not None and type(value) is int:
        # Some write a negative one in as many bits as its type has, others in those of its field.
        for width in (bits, 32, 64):
            if value < 1 << width:
                return value - (1 << width) if value >> (width - 1) else value
    return value


def rebirth(now_ms: int) -> bytes:
    """Return the payload of the command that asks an edge node for its births."""
    name = b"Node Control/Rebirth"
    metric = b"\x0a" + _varint(len(name)) + name + b"\x18" + _varint(now_ms) + b"\x20\x0b\x70\x01"
    return b"\x08" + _varint(now_ms) + b"\x12" + _varint(len(metric)) + metric


def _metric(data: bytes) -> Metric:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        reader = READERS.get(number)
        if reader is not None:
            name, read = reader
            found[name] = read(value)
    return Metric(**found)


def _quality(data: bytes) -> int | None:
    """Return the property `Quality` of a set of properties."""
    names: list[str] = []
    values: list[bytes] = []
    for number, value in _fields(data):
        if number == 1:
            names.append(_bytes(value).decode())
        elif number == 2:
            values.append(_bytes(value))
    for name, inner in zip(names, values, strict=False):
        if name == QUALITY:
            return next((_whole(value) for number, value in _fields(inner) if number in {3, 4}), None)
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: numbers as they are, all else as its bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _read_varint(data, at)
        wire = key & 7
        value: int | bytes
        if wire == 0:
            value, at = _read_varint(data, at)
        else:
            length = {1: 8, 5: 4}.get(wire)
            if wire == 2:
                length, at = _read_varint(data, at)
            if length is None or at + length > end:
                raise ValueError("it is no message of Protocol Buffers")
            value, at = data[at : at + length], at + length
        yield key >> 3, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise ValueError("a number in it has more than 64 bits")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _whole(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a field of it has another type")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a field of it has another type")
    return value


def _flag(value: int | bytes) -> bool:
    return bool(_whole(value))


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _float(value: int | bytes) -> float:
    found: float = struct.unpack("<f", _bytes(value))[0]
    return found


def _double(value: int | bytes) -> float:
    found: float = struct.unpack("<d", _bytes(value))[0]
    return found


# The fields of a metric, by number.
READERS: Final[dict[int, tuple[str, Callable[[int | bytes], Any]]]] = {
    1: ("name", _text), 2: ("alias", _whole), 3: ("time_ms", _whole), 4: ("type", _whole),
    5: ("historical", _flag), 7: ("null", _flag), 9: ("quality", lambda value: _quality(_bytes(value))),
    10: ("value", _whole), 11: ("value", _whole), 12: ("value", _float), 13: ("value", _double),
    14: ("value", _flag), 15: ("value", _text),
}  # fmt: skip

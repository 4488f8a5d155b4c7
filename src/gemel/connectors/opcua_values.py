"""Values of OPC UA as JSON: scalars, arrays, times, texts, and structures by the definitions that a server gives.

Structures are taken apart here and not by classes made of a server's definitions: those would be shared by all
connections of the process, and servers number their types as they like.
Source: OPC 10000-6 (encoding), OPC 10000-4, 7.39 (status codes).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal
from uuid import UUID

from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua.ua_binary import unpack_uatype

from gemel.base.clock import iso_us, to_us

__all__ = ["Structure", "StructureField", "Structures", "is_overflow", "json_value", "quality_of"]

Quality = Literal["good", "uncertain", "bad"]
OVERFLOW: Final = 0x0480
"""Info type DataValue (bits 10 and 11 are 01) with the bit Overflow (7)."""
INFO_MASK: Final = 0x0C80
DEPTH_MAX: Final = 32
ITEMS_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class StructureField:
    """A field: of a built-in type by its number, or of a structure by the node id of its data type, or many of it."""

    name: str
    builtin: int | None
    structure: ua.NodeId | None
    many: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class Structure:
    """A data type of a server; of a union one field alone is there."""

    fields: tuple[StructureField, ...]
    union: bool


@dataclass(frozen=True, slots=True)
class Structures:
    """What is known of a server's structures: by data type, and which data type an encoding is of."""

    by_type: Mapping[ua.NodeId, Structure]
    of_encoding: Mapping[ua.NodeId, ua.NodeId]


def quality_of(code: int) -> Quality:
    """Return the quality of a status code, by its severity: the reserved one counts as bad, as the standard says."""
    return ("good", "uncertain", "bad", "bad")[code >> 30 & 3]


def is_overflow(code: int) -> bool:
    """Whether values were lost before this one, because the server's queue was full."""
    return code & INFO_MASK == OVERFLOW


def json_value(value: Any, structures: Structures) -> Any:
    """Return a value as JSON: times as RFC 3339, bytes in base64, structures as objects.

    A structure of which nothing is known is an object with `typeId` and `body`. Raises ValueError for one that
    does not fit its definition.
    """
    return _plain(value, structures, 0)


def _plain(value: Any, structures: Structures, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise ValueError("the value is nested too deeply")
    if value is None or isinstance(value, (bool, float, str)) or type(value) is int:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, structures, depth + 1) for item in value]
    if isinstance(value, ua.ExtensionObject):
        return _extension(value, structures, depth)
    scalar = _scalar(value)
    if scalar is not value:
        return scalar
    if is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name), structures, depth + 1) for field in fields(value)
        }
    return str(value)


def _scalar(value: Any) -> Any:
    """Return the JSON of a type that stands for one text or number; the value itself where it is none of them."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return iso_us(to_us(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, ua.LocalizedText):
        return value.Text
    if isinstance(value, ua.QualifiedName):
        return value.Name
    if isinstance(value, ua.NodeId):
        return value.to_string()
    if isinstance(value, ua.StatusCode):
        return value.name
    return value


def _extension(value: ua.ExtensionObject, structures: Structures, depth: int) -> Any:
    body = value.Body
    if body is None:
        return None
    data_type = structures.of_encoding.get(value.TypeId)
    if data_type is None:
        return {"typeId": value.TypeId.to_string(), "body": base64.b64encode(body).decode()}
    return _structure(data_type, Buffer(body), structures, depth)


def _structure(data_type: ua.NodeId, data: Buffer, structures: Structures, depth: int) -> Any:
    """Read a structure from its binary form; what comes behind its last field is of a later version of it."""
    if depth > DEPTH_MAX:
        raise ValueError("the value is nested too deeply")
    known = structures.by_type[data_type]
    try:
        if known.union:
            number = int.from_bytes(data.read(4), "little")
            if not 0 < number <= len(known.fields):
                return {}
            chosen: tuple[StructureField, ...] = (known.fields[number - 1],)
        else:
            chosen = _present(known, data)
        return {field.name: _field(field, data, structures, depth + 1) for field in chosen}
    except (NotEnoughData, ua.UaError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"the structure {data_type.to_string()} is not as its definition says") from error


def _present(known: Structure, data: Buffer) -> tuple[StructureField, ...]:
    optional = [field for field in known.fields if field.optional]
    if not optional:
        return known.fields
    mask = int.from_bytes(data.read(4), "little")
    there = {id(field) for number, field in enumerate(optional) if mask >> number & 1}
    return tuple(field for field in known.fields if not field.optional or id(field) in there)


def _field(field: StructureField, data: Buffer, structures: Structures, depth: int) -> Any:
    if not field.many:
        return _item(field, data, structures, depth)
    count = int.from_bytes(data.read(4), "little", signed=True)
    if count > ITEMS_MAX:
        raise ValueError(f"the field {field.name} has more than {ITEMS_MAX} items")
    return None if count < 0 else [_item(field, data, structures, depth) for _ in range(count)]


def _item(field: StructureField, data: Buffer, structures: Structures, depth: int) -> Any:
    if field.structure is not None:
        return _structure(field.structure, data, structures, depth)
    value = unpack_uatype(ua.VariantType(field.builtin), data)
    if isinstance(value, ua.Variant):
        value = value.Value
    return _plain(value, structures, depth)

"""Schemas: what values a property, telemetry, field or payload may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Array", "Enum", "EnumEntry", "Field", "Geospatial", "Map", "Object", "Primitive", "Schema"]


@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive schema; `kind` is its DTDL name: boolean, double, integer, dateTime, ..."""

    kind: str


@dataclass(frozen=True, slots=True)
class EnumEntry:
    """One value of an enumeration: its name, and what stands for it in data."""

    name: str
    value: int | str
    display_name: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enum:
    """An enumeration of integers or strings; `kind` is `integer` or `string`."""

    kind: str
    entries: tuple[EnumEntry, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A member of an object."""

    name: str
    schema: Schema
    display_name: Mapping[str, str] = field(default_factory=dict)
    unit: str | None = None
    semantic_type: str | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """An object with named fields; all are optional, others are not allowed."""

    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Array:
    """A list of any length."""

    element: Schema


@dataclass(frozen=True, slots=True)
class Map:
    """An object with any names, whose values share a schema."""

    key_name: str
    value_name: str
    value: Schema


@dataclass(frozen=True, slots=True)
class Geospatial:
    """A GeoJSON geometry (RFC 7946); `kind` is its DTDL name: point, multiPoint, lineString, ..."""

    kind: str


Schema = Primitive | Enum | Object | Array | Map | Geospatial

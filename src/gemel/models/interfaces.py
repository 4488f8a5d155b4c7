"""Interfaces and their contents, as the other floors see them: flat, immutable, without JSON-LD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gemel.models.schemas import Schema

__all__ = ["Command", "Component", "Content", "Interface", "Payload", "Property", "Relationship", "Telemetry"]


@dataclass(frozen=True, slots=True)
class _Named:
    """What all contents share; `defined_in` is the interface that states it."""

    name: str
    display_name: Mapping[str, str] = field(kw_only=True, default_factory=dict)
    description: Mapping[str, str] = field(kw_only=True, default_factory=dict)
    comment: str | None = field(kw_only=True, default=None)
    semantic_types: tuple[str, ...] = field(kw_only=True, default=())
    defined_in: str = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Property(_Named):
    """A value that is part of a twin's state; `semantic_type` is the quantity, `unit` its unit."""

    schema: Schema
    writable: bool = False
    unit: str | None = None
    semantic_type: str | None = None


@dataclass(frozen=True, slots=True)
class Telemetry(_Named):
    """A value that a twin sends."""

    schema: Schema
    unit: str | None = None
    semantic_type: str | None = None


@dataclass(frozen=True, slots=True)
class Relationship(_Named):
    """A kind of link to other twins; no `target` means any, no `max_multiplicity` means any number."""

    target: str | None = None
    min_multiplicity: int = 0
    max_multiplicity: int | None = None
    writable: bool = False
    properties: Mapping[str, Property] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Component(_Named):
    """A part of a twin; `schema` is the DTMI of its interface."""

    schema: str


@dataclass(frozen=True, slots=True)
class Payload:
    """What a command takes or gives."""

    name: str
    schema: Schema
    display_name: Mapping[str, str] = field(default_factory=dict)
    description: Mapping[str, str] = field(default_factory=dict)
    unit: str | None = None
    semantic_type: str | None = None
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Command(_Named):
    """An operation of a twin."""

    request: Payload | None = None
    response: Payload | None = None


Content = Property | Telemetry | Relationship | Component | Command


@dataclass(frozen=True, slots=True)
class Interface:
    """A model: what a twin of it has, everything inherited included.

    `extends` are the direct bases, `bases` all of them.
    """

    id: str
    version: int
    display_name: Mapping[str, str]
    description: Mapping[str, str]
    comment: str | None
    extends: tuple[str, ...]
    bases: frozenset[str]
    contents: Mapping[str, Content]

"""The flat shape of twins of one model, which every write is checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gemel.models.interfaces import Component, Property, Relationship, Telemetry
from gemel.models.model_set import ModelSet
from gemel.models.schemas import Primitive, Schema
from gemel.models.values import validate_value

__all__ = ["Role", "Slot", "Storage", "TwinType", "compile_twin_type"]

Role = Literal["property", "telemetry"]
Storage = Literal["double", "integer", "json"]

_STORAGES: Mapping[str, Storage] = {
    "double": "double",
    "float": "double",
    "integer": "integer",
    "short": "integer",
    "byte": "integer",
    "unsignedInteger": "integer",
    "unsignedShort": "integer",
    "unsignedByte": "integer",
}


@dataclass(frozen=True, slots=True)
class Slot:
    """One value that a twin has: its dotted path, what it may be, and how it is kept exactly.

    `storage` is `double` where every value is a 64-bit float, `integer` where every value is a whole number
    that such a float keeps exactly, and `json` for all others. A finite Python float fits every slot of
    storage `double` whose schema is DTDL double, so that the hot path needs no call.
    """

    path: str
    role: Role
    schema: Schema
    unit: str | None
    semantic_type: str | None
    storage: Storage

    def check(self, value: object) -> str | None:
        """Say why a decoded JSON value does not fit; None when it does."""
        return validate_value(self.schema, value)


@dataclass(frozen=True, slots=True)
class TwinType:
    """The flat shape of twins of `model`.

    `slots` are its properties and telemetry by dotted path, those of its components beneath their path;
    `components` map a component's dotted path to its interface; `relationships` are by name.
    """

    model: str
    slots: Mapping[str, Slot]
    components: Mapping[str, str]
    relationships: Mapping[str, Relationship]


def compile_twin_type(models: ModelSet, dtmi: str) -> TwinType:
    """Flatten a model; NotFoundError `ModelNotFound` when it, or the interface of a component, is missing."""
    slots: dict[str, Slot] = {}
    components: dict[str, str] = {}
    _collect(models, dtmi, "", slots, components)
    contents = models.interface(dtmi).contents.values()
    relationships = {item.name: item for item in contents if isinstance(item, Relationship)}
    return TwinType(
        dtmi, MappingProxyType(slots), MappingProxyType(components), MappingProxyType(relationships)
    )


def _collect(
    models: ModelSet, dtmi: str, prefix: str, slots: dict[str, Slot], components: dict[str, str]
) -> None:
    # It ends: DTDL allows no component within a component.
    for content in models.interface(dtmi).contents.values():
        path = prefix + content.name
        if isinstance(content, Property | Telemetry):
            slots[path] = _slot(path, content)
        elif isinstance(content, Component):
            components[path] = content.schema
            _collect(models, content.schema, path + ".", slots, components)


def _slot(path: str, content: Property | Telemetry) -> Slot:
    role: Role = "property" if isinstance(content, Property) else "telemetry"
    schema = content.schema
    storage = _STORAGES.get(schema.kind, "json") if isinstance(schema, Primitive) else "json"
    return Slot(path, role, schema, content.unit, content.semantic_type, storage)

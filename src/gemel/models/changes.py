"""Changes between models, and those between schemas: whether every value that fitted before still fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gemel.models.schemas import Array, Enum, Geospatial, Map, Object, Primitive, Schema

__all__ = ["Change", "Changes", "compare_schemas", "schema_text"]

_WIDER: Mapping[str, frozenset[str]] = {
    "byte": frozenset({"short", "integer", "long", "float", "double"}),
    "short": frozenset({"integer", "long", "float", "double"}),
    "integer": frozenset({"long", "double"}),
    "unsignedByte": frozenset(
        {"short", "integer", "long", "unsignedShort", "unsignedInteger", "unsignedLong", "float", "double"}
    ),
    "unsignedShort": frozenset({"integer", "long", "unsignedInteger", "unsignedLong", "float", "double"}),
    "unsignedInteger": frozenset({"long", "unsignedLong", "double"}),
    "float": frozenset({"double"}),
}
"""For a primitive schema, those that hold each of its values exactly."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two models.

    `model` is the DTMI of the earlier model (of the later where there is no earlier), `path` leads from it to
    what differs and is empty for the model itself; `before` and `after` say in words what was and is there,
    None for nothing. A compatible change leaves every twin, value and reader of the earlier model right.
    """

    model: str
    path: str
    before: str | None
    after: str | None
    compatible: bool
    reason: str


class Changes:
    """Collects the changes of one model."""

    def __init__(self, model: str) -> None:
        """Start empty."""
        self.model = model
        self.found: list[Change] = []

    def compatible(self, path: str, before: str | None, after: str | None, reason: str) -> None:
        """Note a change that breaks nothing."""
        self.found.append(Change(self.model, path, before, after, True, reason))

    def breaking(self, path: str, before: str | None, after: str | None, reason: str) -> None:
        """Note a change after which something that was right is wrong."""
        self.found.append(Change(self.model, path, before, after, False, reason))

    def note(
        self, path: str, before: object, after: object, *, breaks: bool, reasons: tuple[str, str]
    ) -> None:
        """Note a change where two values differ; `reasons` are those of a compatible and a breaking one."""
        if before != after:
            old, new = (None if each is None else str(each) for each in (before, after))
            self.found.append(Change(self.model, path, old, new, not breaks, reasons[breaks]))


def schema_text(schema: Schema) -> str:
    """A schema in a few words."""
    match schema:
        case Primitive() | Geospatial():
            return schema.kind
        case Enum():
            return f"enum of {schema.kind}"
        case Object():
            return "object"
        case Array():
            return f"array of {schema_text(schema.element)}"
        case Map():
            return f"map of {schema_text(schema.value)}"


def compare_schemas(path: str, before: Schema, after: Schema, changes: Changes) -> None:
    """Compare what values two schemas allow."""
    match before, after:
        case Primitive(), Primitive():
            _compare_primitives(path, before.kind, after.kind, changes)
        case Enum(), Enum():
            _compare_enums(path, before, after, changes)
        case Object(), Object():
            _compare_objects(path, before, after, changes)
        case Array(), Array():
            compare_schemas(f"{path}.element", before.element, after.element, changes)
        case Map(), Map():
            compare_schemas(f"{path}.value", before.value, after.value, changes)
        case _ if before != after:
            changes.breaking(
                path, schema_text(before), schema_text(after), "values that fitted no longer fit the schema"
            )


def _compare_primitives(path: str, before: str, after: str, changes: Changes) -> None:
    if after in _WIDER.get(before, ()):
        changes.compatible(path, before, after, "every value of the old schema is one of the new")
    elif before != after:
        changes.breaking(path, before, after, "values that fitted may no longer fit the schema")


def _compare_enums(path: str, before: Enum, after: Enum, changes: Changes) -> None:
    if before.kind != after.kind:
        changes.breaking(path, before.kind, after.kind, "the values of the enumeration have another type")
        return
    old = {entry.value: entry.name for entry in before.entries}
    new = {entry.value: entry.name for entry in after.entries}
    for value, name in old.items():
        if value not in new:
            changes.breaking(f"{path}.{name}", str(value), None, "twins may have the value that is gone")
        elif new[value] != name:
            changes.breaking(f"{path}.{name}", name, new[value], "the value is there under another name")
    for value, name in new.items():
        if value not in old:
            changes.compatible(f"{path}.{name}", None, str(value), "all earlier values still fit")


def _compare_objects(path: str, before: Object, after: Object, changes: Changes) -> None:
    for name, field in before.fields.items():
        here = f"{path}.{name}"
        other = after.fields.get(name)
        if other is None:
            changes.breaking(here, schema_text(field.schema), None, "values with the field no longer fit")
            continue
        compare_schemas(here, field.schema, other.schema, changes)
        breaks = field.unit is not None
        reasons = ("a unit is stated where none was", "the same number means something else")
        changes.note(f"{here}.unit", field.unit, other.unit, breaks=breaks, reasons=reasons)
    for name, field in after.fields.items():
        if name not in before.fields:
            reason = "fields are optional, and earlier values still fit"
            changes.compatible(f"{path}.{name}", None, schema_text(field.schema), reason)

"""What the models of a set have: which names a path may be made of, so that a query can be told of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from gemel.models import ModelSet
from gemel.query.faults import nearest

__all__ = ["Vocabulary", "vocabulary"]

LEAVES = frozenset(
    {
        "Array",
        "Boolean",
        "Date",
        "DateTime",
        "Double",
        "Duration",
        "Enum",
        "Float",
        "Integer",
        "Long",
        "String",
        "Time",
    }
)
"""Schemas of whose values a path cannot name a part."""


class Vocabulary:
    """The names of properties and components, and of the properties of relationships."""

    def __init__(self, models: ModelSet) -> None:
        self._contents: dict[str, list[Any]] = {}
        self._telemetry: dict[str, list[Any]] = {}
        self._links: dict[str, list[Any]] = {}
        for model_id in models.ids:
            for content in models.elements[model_id].refs.get("contents", ()):
                if content.rule.name == "Telemetry":
                    self._telemetry.setdefault(content.name, []).append(content)
                if content.rule.name in ("Property", "Component"):
                    self._contents.setdefault(content.name, []).append(content)
                for each in content.refs.get("properties", ()):
                    self._links.setdefault(each.name, []).append(each)

    def has(self, names: Sequence[str], *, telemetry: bool = False) -> bool:
        """Say whether some model has a property, a field in one, or a component at a path; or telemetry."""
        contents = [*self._contents.get(names[0], ())]
        if telemetry:
            contents += self._telemetry.get(names[0], ())
        return any(_leads(each, names[1:], telemetry) for each in contents)

    def has_of_relationship(self, names: Sequence[str]) -> bool:
        """Say whether some relationship of a model has a property, or a field in one, at a path."""
        return any(_leads(each, names[1:], telemetry=False) for each in self._links.get(names[0], ()))

    def meant(self, name: str, *, of_relationship: bool = False) -> str | None:
        """Return the known name that was most likely meant by one that is not, or None."""
        return nearest(name, sorted(self._links if of_relationship else self._contents))


def vocabulary(models: ModelSet) -> Vocabulary:
    """Return the vocabulary of a model set, which is made once."""
    found = _KNOWN.get(models)
    if found is None:
        found = _KNOWN[models] = Vocabulary(models)
    return found


_KNOWN: WeakKeyDictionary[ModelSet, Vocabulary] = WeakKeyDictionary()


def _leads(element: Any, names: Sequence[str], telemetry: bool) -> bool:
    if not names:
        return True
    schema = element.one("schema")
    if schema is None:
        return False
    if schema.rule.name == "Interface":
        kinds = ("Property", "Component", "Telemetry") if telemetry else ("Property", "Component")
        return any(
            _leads(each, names[1:], telemetry)
            for each in _contents(schema)
            if each.name == names[0] and each.rule.name in kinds
        )
    if schema.rule.name == "Object":
        return any(
            _leads(each, names[1:], telemetry)
            for each in schema.refs.get("fields", ())
            if each.name == names[0]
        )
    if schema.rule.name == "Map":
        value = schema.one("mapValue")
        return value is not None and _leads(value, names[1:], telemetry)
    return schema.rule.name not in LEAVES


def _contents(interface: Any) -> Iterator[Any]:
    waiting, seen = [interface], {interface.id}
    while waiting:
        each = waiting.pop()
        yield from each.refs.get("contents", ())
        fresh = [base for base in each.refs.get("extends", ()) if base.id not in seen]
        seen |= {base.id for base in fresh}
        waiting += fresh

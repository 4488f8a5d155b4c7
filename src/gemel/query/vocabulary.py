"""What the models of a set have: which names a path may be made of, so that a query can be told of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

from gemel.base.words import nearest
from gemel.models import ModelSet

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


UNCOUNTED = frozenset({"Array", "Boolean", "Date", "DateTime", "Duration", "Map", "Object", "String", "Time"})
"""Schemas whose values are no numbers."""


class Vocabulary:
    """The names of models, of properties and components, and of relationships and their properties."""

    def __init__(self, models: ModelSet) -> None:
        self._models = frozenset(str(each) for each in models.ids)
        self._contents: dict[str, list[Any]] = {}
        self._telemetry: dict[str, list[Any]] = {}
        self._relationships: set[str] = set()
        self._links: dict[str, list[Any]] = {}
        for model_id in models.ids:
            for content in models.elements[model_id].refs.get("contents", ()):
                if content.rule.name == "Telemetry":
                    self._telemetry.setdefault(content.name, []).append(content)
                if content.rule.name in ("Property", "Component"):
                    self._contents.setdefault(content.name, []).append(content)
                if content.rule.name == "Relationship":
                    self._relationships.add(content.name)
                for each in content.refs.get("properties", ()):
                    self._links.setdefault(each.name, []).append(each)

    def has(self, names: Sequence[str], *, telemetry: bool = False) -> bool:
        """Say whether some model has a property, a field in one, or a component at a path; or telemetry."""
        return bool(_follow(self._heads(telemetry).get(names[0], []), names[1:], telemetry))

    def has_of_relationship(self, names: Sequence[str]) -> bool:
        """Say whether some relationship of a model has a property, or a field in one, at a path."""
        return bool(_follow(self._links.get(names[0], []), names[1:], telemetry=False))

    def meant(
        self, names: Sequence[str], *, telemetry: bool = False, of_relationship: bool = False
    ) -> str | None:
        """Return the known path that was most likely meant by one of which one name is not known, or None."""
        heads = self._links if of_relationship else self._heads(telemetry)
        known, found = sorted(heads), heads.get(names[0], [])
        for place, name in enumerate(names):
            if place:
                known = sorted({inner for each in found for inner in _inside(each, telemetry)})
                found = _follow(found, [name], telemetry)
            if found:
                continue
            near = nearest(name, known)
            meant = [*names[:place], near or "", *names[place + 1 :]]
            if near is None or not _follow(heads.get(meant[0], []), meant[1:], telemetry):
                return None
            return ".".join(meant)
        return None

    def counts(self, names: Sequence[str], *, of_relationship: bool = False) -> bool:
        """Say whether what is at a path may be a number by some model, or is not known."""
        heads = self._links if of_relationship else self._contents
        found = _follow(heads.get(names[0], []), names[1:], telemetry=False)
        schemas = [each.one("schema") for each in found]
        return not found or any(each is None or each.rule.name not in UNCOUNTED for each in schemas)

    def unknown_model(self, model_id: str) -> str | None:
        """Return what to say of a model that there is not, or None."""
        if model_id in self._models:
            return None
        # Ids of models have most of their text in common; what tells them apart is their last name.
        by_name: dict[str, list[str]] = {}
        for each in sorted(self._models):
            by_name.setdefault(_last_name(each), []).append(each)
        near = nearest(_last_name(model_id), list(by_name))
        meant = get_close_matches(model_id, by_name[near], n=1, cutoff=0.0) if near else []
        return f"There is no model {model_id}." + "".join(f" Did you mean {each}?" for each in meant)

    def unknown_relationship(self, name: str) -> str | None:
        """Return what to say of a relationship's name that no model has, or None."""
        if name in self._relationships:
            return None
        meant = nearest(name, sorted(self._relationships))
        return f"No model has a relationship {name}." + (f" Did you mean {meant}?" if meant else "")

    def is_head(self, name: str) -> bool:
        """Say whether a path can begin with a name."""
        return name in self._contents or name in self._telemetry

    def _heads(self, telemetry: bool) -> Mapping[str, list[Any]]:
        if not telemetry:
            return self._contents
        names = self._contents.keys() | self._telemetry.keys()
        return {name: [*self._contents.get(name, ()), *self._telemetry.get(name, ())] for name in names}


def vocabulary(models: ModelSet) -> Vocabulary:
    """Return the vocabulary of a model set, which is made once."""
    found = _KNOWN.get(models)
    if found is None:
        found = _KNOWN[models] = Vocabulary(models)
    return found


_KNOWN: WeakKeyDictionary[ModelSet, Vocabulary] = WeakKeyDictionary()


def _last_name(model_id: str) -> str:
    return model_id.split(";", maxsplit=1)[0].rsplit(":", maxsplit=1)[-1]


def _follow(elements: Sequence[Any], names: Sequence[str], telemetry: bool) -> list[Any]:
    """Return the elements that a way through schemas leads to."""
    found = list(elements)
    for name in names:
        found = [inner for each in found for inner in _step(each, name, telemetry)]
    return found


def _step(element: Any, name: str, telemetry: bool) -> list[Any]:
    schema = element.one("schema")
    if schema is None:
        return []
    if schema.rule.name in ("Interface", "Object"):
        return _inside(element, telemetry).get(name, [])
    if schema.rule.name == "Map":
        value = schema.one("mapValue")
        return [] if value is None else [value]
    # Of what is not known to be a leaf, any part may be there.
    return [] if schema.rule.name in LEAVES else [element]


def _inside(element: Any, telemetry: bool) -> dict[str, list[Any]]:
    """Return what has a name of its own within an element's schema."""
    schema = element.one("schema")
    inner: list[Any] = []
    if schema is not None and schema.rule.name == "Interface":
        kinds = ("Property", "Component", "Telemetry") if telemetry else ("Property", "Component")
        inner = [each for each in _contents(schema) if each.rule.name in kinds]
    elif schema is not None and schema.rule.name == "Object":
        inner = list(schema.refs.get("fields", ()))
    named: dict[str, list[Any]] = {}
    for each in inner:
        named.setdefault(each.name, []).append(each)
    return named


def _contents(interface: Any) -> Iterator[Any]:
    waiting, seen = [interface], {interface.id}
    while waiting:
        each = waiting.pop()
        yield from each.refs.get("contents", ())
        fresh = [base for base in each.refs.get("extends", ()) if base.id not in seen]
        seen |= {base.id for base in fresh}
        waiting += fresh

"""Types that stand beside an element's own: semantic types with their units, and other extensions, as data."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gemel.models.language import metamodel_file

__all__ = [
    "Adjunct",
    "AdjunctProperty",
    "ParentRule",
    "SiblingRule",
    "UnitSystem",
    "ValueRule",
    "adjuncts",
    "unit_systems",
]

_CLASS = "dtmi:dtdl:class:"


@dataclass(frozen=True, slots=True)
class AdjunctProperty:
    """A property that an adjunct type brings; `type` is a literal's name, `IRI`, or the DTMI of a class or adjunct."""

    id: str
    type: str
    min: int = 0
    max: int | None = None
    plural: bool = False
    pattern: re.Pattern[str] | None = None
    max_length: int | None = None
    at_least: int | None = None
    at_most: int | None = None
    child_of: str | None = None
    instance_of: str | None = None
    unique: bool = False

    @property
    def refers(self) -> bool:
        """Whether the values are elements."""
        return self.type.startswith("dtmi:")


@dataclass(frozen=True, slots=True)
class ValueRule:
    """What the values of a property must be when the element has the type that carries this rule."""

    property: str
    types: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    key: str | None = None
    keyref: str | None = None
    parent_of: str | None = None
    class_of: str | None = None


@dataclass(frozen=True, slots=True)
class ParentRule:
    """What must hold of the parent and the other members when the parent holds the element by `property`."""

    property: str
    types: tuple[str, ...] = ()
    no_other: str | None = None
    some_other: str | None = None


@dataclass(frozen=True, slots=True)
class SiblingRule:
    """What must hold of the member of the same parent whose `key` equals this element's `keyref`."""

    key: str
    keyref: str
    types: tuple[str, ...] = ()
    not_type: str | None = None
    unique: str | None = None
    property: str | None = None


@dataclass(frozen=True, slots=True)
class Adjunct:
    """One adjunct type: on which classes and versions it may stand, and what it brings and demands."""

    id: str
    context: str
    kind: str
    parent: str | None = None
    abstract: bool = False
    on: frozenset[str] | None = None
    versions: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()
    or_with: tuple[str, ...] = ()
    properties: tuple[AdjunctProperty, ...] = ()
    values: tuple[ValueRule, ...] = ()
    parents: tuple[ParentRule, ...] = ()
    siblings: tuple[SiblingRule, ...] = ()

    def property(self, property_id: str) -> AdjunctProperty | None:
        """The property of this type with an identifier, if it has one."""
        return next((item for item in self.properties if item.id == property_id), None)


@dataclass(frozen=True, slots=True)
class UnitSystem:
    """One published set of semantic types and units, with the identifiers it gives them.

    The patterns have `@` where the term goes; `families` maps a unit family to its units.
    """

    context: str
    version: int
    types: dict[str, str]
    families: dict[str, tuple[str, ...]]
    prefixes: dict[str, tuple[str, ...]]
    patterns: dict[str, str]
    terms: dict[str, str]
    by_class: bool

    def id_of(self, pattern: str, term: str) -> str:
        """The identifier of a term."""
        return self.patterns[pattern].replace("@", term)


@functools.cache
def adjuncts() -> dict[str, Adjunct]:
    """Every adjunct type by its identifier."""
    found: dict[str, Adjunct] = {}
    for context, types in metamodel_file("extensions.json")["adjuncts"].items():
        for adjunct_id, raw in types.items():
            found[adjunct_id] = _adjunct(adjunct_id, context, raw)
    for raw, system in zip(metamodel_file("quantities.json")["systems"], unit_systems(), strict=True):
        found.update((item.id, item) for item in _quantities(raw, system))
    return found


@functools.cache
def unit_systems() -> tuple[UnitSystem, ...]:
    """The published systems of semantic types and units."""
    data = metamodel_file("quantities.json")
    return tuple(_unit_system(raw, data["tables"][raw["table"]]) for raw in data["systems"])


def _adjunct(adjunct_id: str, context: str, raw: dict[str, Any]) -> Adjunct:
    return Adjunct(
        id=adjunct_id,
        context=context,
        kind=raw["kind"],
        parent=raw.get("parent"),
        abstract=raw.get("abstract", False),
        on=None if raw["on"] == "*" else frozenset(raw["on"]),
        versions=tuple(raw["versions"]),
        needs=tuple(raw.get("needs", ())),
        forbids=tuple(raw.get("forbids", ())),
        or_with=tuple(raw.get("or_with", ())),
        properties=tuple(_property(key, value) for key, value in raw.get("properties", {}).items()),
        values=tuple(ValueRule(**_tuples(rule)) for rule in raw.get("values", ())),
        parents=tuple(ParentRule(**_tuples(rule)) for rule in raw.get("parents", ())),
        siblings=tuple(SiblingRule(**_tuples(rule)) for rule in raw.get("siblings", ())),
    )


def _property(property_id: str, raw: dict[str, Any]) -> AdjunctProperty:
    pattern = re.compile(raw["pattern"], re.ASCII) if "pattern" in raw else None
    return AdjunctProperty(id=property_id, **(raw | {"pattern": pattern}))


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}


def _unit_system(raw: dict[str, Any], table: dict[str, Any]) -> UnitSystem:
    patterns = {key: raw[key] for key in ("type", "family", "unit", "property", "prefix")}
    families = {name: tuple(units) for name, units in table["units"].items()}
    prefixes = {name: tuple(terms) for name, terms in raw["prefixes"].items()}
    groups = {
        "type": [*table["types"], "QuantitativeType", *raw["classes"]],
        "family": [*families, *prefixes],
        "unit": [unit for units in families.values() for unit in units],
        "prefix": [term for terms in prefixes.values() for term in terms],
        "property": raw["properties"],
    }
    terms = {term: patterns[kind].replace("@", term) for kind, names in groups.items() for term in names}
    terms |= {alias: patterns["family"].replace("@", name) for alias, name in raw["aliases"].items()}
    by_class = raw["family_parent"] is not None
    return UnitSystem(
        raw["context"], raw["version"], table["types"], families, prefixes, patterns, terms, by_class
    )


def _quantities(raw: dict[str, Any], system: UnitSystem) -> Iterator[Adjunct]:
    """The semantic types of a system, which all demand a number and a unit of their family."""
    base = system.id_of("type", "QuantitativeType")
    unit = system.id_of("property", "unit")
    shape: dict[str, Any] = {"context": system.context, "versions": (system.version,)}
    number = ValueRule("schema", types=(f"{_CLASS}NumericSchema;{system.version}",))
    on = frozenset(raw["on"])
    yield Adjunct(
        base,
        kind="SemanticType",
        parent=raw["semantic"],
        abstract=True,
        on=on,
        values=(number,),
        **shape,
    )
    for name, family in system.types.items():
        family_id = system.id_of("family", family)
        if system.by_class:
            value = AdjunctProperty(unit, family_id, min=1, max=1)
        else:
            of = f"{_CLASS}EnumValue;{system.version}"
            value = AdjunctProperty(unit, of, min=1, max=1, child_of=family_id)
        yield Adjunct(
            system.id_of("type", name), kind="SemanticType", parent=base, on=on, properties=(value,), **shape
        )
    if system.by_class:
        for family in (*system.families, *system.prefixes):
            kind = "Unit" if family in system.families else "UnitAttribute"
            parent = f"{_CLASS}{kind};{system.version}"
            yield Adjunct(system.id_of("family", family), kind=kind, parent=parent, **shape)
    for name in raw["classes"]:
        yield _unit_class(name, system, shape)


def _unit_class(name: str, system: UnitSystem, shape: dict[str, Any]) -> Adjunct:
    """How a unit is made of others: a prefix and a base, or a ratio."""
    of = f"{_CLASS}{'Unit' if system.by_class else 'EnumValue'};{system.version}"
    wanted = {
        "RatioUnit": (("topUnit", of, 1), ("bottomUnit", of, 1)),
        "DecimalUnit": (("baseUnit", of, 1), ("prefix", of, 0)),
        "BinaryUnit": (("baseUnit", of, 1), ("prefix", of, 0)),
    }.get(name, ())
    properties = tuple(
        AdjunctProperty(system.id_of("property", term), cls, min=least, max=1) for term, cls, least in wanted
    )
    on = frozenset({"Unit" if system.by_class else "EnumValue"})
    kind = "SemanticUnit" if system.by_class else "AdjunctType"
    parent = f"{_CLASS}{'SemanticUnit' if system.by_class else 'AdjunctType'};{system.version}"
    return Adjunct(
        system.id_of("type", name), kind=kind, parent=parent, on=on, properties=properties, **shape
    )

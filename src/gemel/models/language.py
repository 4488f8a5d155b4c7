"""The rules of DTDL as data: classes with their properties and limits, one table per version.

The facts stand in `metamodel/*.json`; this module gives them types and resolves inheritance and versions,
once per process. Nothing here knows a class by name.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

__all__ = [
    "ClassRule",
    "GraphRule",
    "Language",
    "PropertyRule",
    "VersionRules",
    "language",
    "limit_of",
    "metamodel_file",
]

_VERSIONS = (2, 3, 4)
Limits = dict[str, int]


@dataclass(frozen=True, slots=True)
class PropertyRule:
    """What one property of a class may hold, in one version of the language."""

    name: str
    literal: str | None = None
    cls: str | None = None
    min: int = 0
    max: int | None = None
    max_length: Limits = field(default_factory=dict)
    pattern: re.Pattern[str] | None = None
    at_least: int | None = None
    at_most: int | None = None
    values: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    key: str | None = None
    segment: str | None = None
    unique: tuple[str, ...] = ()
    id_required: bool = False


@dataclass(frozen=True, slots=True)
class ClassRule:
    """One class of elements in one version.

    `definable` maps the @type strings that may define a value of this class to the class they make;
    `concrete` are the classes that a reference to this class may point to.
    """

    name: str
    ancestors: frozenset[str]
    concrete: frozenset[str]
    definable: dict[str, str]
    properties: dict[str, PropertyRule]
    aliases: dict[str, str]
    required: tuple[str, ...]
    type_optional: bool
    rootable: bool
    partition: bool
    extensible: bool
    id_max_length: Limits


@dataclass(frozen=True, slots=True)
class GraphRule:
    """A rule over what can be reached from an element of one class."""

    rule: str
    of: str
    through: tuple[str, ...]
    follow_all: bool
    limit: Limits
    recursive: bool
    cls: str
    imports: str
    decided_by: str
    literal: str

    @property
    def edges(self) -> str:
        """The followed properties, for messages."""
        return " or ".join(f"'{name}'" for name in self.through)


@dataclass(frozen=True, slots=True)
class VersionRules:
    """Everything that holds in one version."""

    number: int
    restricts_keywords: bool
    undefined_extensions_by_default: bool
    custom_limits: bool
    checks_unknown_properties: bool
    checks_unknown_types: bool
    id_pattern: re.Pattern[str]
    id_max_length: Limits
    document_max_bytes: Limits
    classes: dict[str, ClassRule]
    graph_rules: tuple[GraphRule, ...]
    primitive_schemas: tuple[str, ...]

    def is_id(self, text: str, limits: str = "") -> bool:
        """Whether a text is an identifier as this version wants it."""
        return (
            len(text) <= limit_of(self.id_max_length, limits) and self.id_pattern.fullmatch(text) is not None
        )


@dataclass(frozen=True, slots=True)
class Language:
    """All versions, and every string that names a class in any of them."""

    versions: dict[int, VersionRules]
    type_names: frozenset[str]


def limit_of(limits: Limits, name: str) -> int:
    """The limit under a limit context, or the language's own where the context says nothing."""
    return limits.get(name, limits.get("", 2**62))


def metamodel_file(name: str) -> Any:
    """Decode one data file of the metamodel."""
    return json.loads(resources.files("gemel.models").joinpath("metamodel", name).read_text(encoding="utf-8"))


@functools.cache
def language() -> Language:
    """The language, read once."""
    data = metamodel_file("language.json")
    classes: dict[str, dict[str, Any]] = data["classes"]
    versions = {number: _version(number, data, classes) for number in _VERSIONS}
    ids = {f"dtmi:dtdl:class:{name};{number}" for number in _VERSIONS for name in versions[number].classes}
    return Language(versions, frozenset(classes) | ids)


def _version(number: int, data: dict[str, Any], classes: dict[str, dict[str, Any]]) -> VersionRules:
    own = data["versions"][str(number)]
    present = {name: raw for name, raw in classes.items() if raw.get("since", 2) <= number}
    ancestors = {name: _ancestors(name, classes) for name in present}
    return VersionRules(
        number=number,
        restricts_keywords=own["restricts_keywords"],
        undefined_extensions_by_default=own["undefined_extensions_by_default"],
        custom_limits=own["custom_limits"],
        checks_unknown_properties=own["unknown_property_names"] == "checked",
        checks_unknown_types=own["unknown_type_names"] == "checked",
        id_pattern=re.compile(own["id_pattern"], re.ASCII),
        id_max_length=own["id_max_length"],
        document_max_bytes=own["document_max_bytes"],
        classes={name: _class(name, number, present, ancestors) for name in present},
        graph_rules=tuple(_graph_rules(number, data["graph_rules"])),
        primitive_schemas=tuple(data["primitive_schemas"][str(number)]),
    )


def _ancestors(name: str, classes: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    chain = [name]
    while "is" in classes[chain[-1]]:
        chain.append(classes[chain[-1]]["is"])
    return tuple(chain)


def _class(
    name: str, number: int, present: dict[str, dict[str, Any]], ancestors: dict[str, tuple[str, ...]]
) -> ClassRule:
    raw = present[name]
    concrete = [
        other
        for other, chain in ancestors.items()
        if name in chain
        and not present[other].get("abstract")
        and not present[other].get("extensible")
        and number not in present[other].get("not_concrete", ())
    ]
    definable = [other for other in concrete if not present[other].get("elemental")]
    properties: dict[str, PropertyRule] = {}
    for cls in reversed(ancestors[name]):
        for key, rule in present[cls].get("properties", {}).items():
            if rule.get("since", 2) <= number:
                properties[key] = _property(key, rule, number)
    return ClassRule(
        name=name,
        ancestors=frozenset(ancestors[name]),
        concrete=frozenset(concrete),
        definable={other: other for other in definable}
        | {f"dtmi:dtdl:class:{other};{number}": other for other in definable},
        properties=properties,
        aliases={key: key for key in properties}
        | {f"dtmi:dtdl:property:{key};{number}": key for key in properties},
        required=tuple(key for key, rule in properties.items() if rule.min > 0),
        type_optional=raw.get("type_optional", False),
        rootable=raw.get("rootable", False),
        partition=raw.get("partition", False),
        extensible=raw.get("extensible", False),
        id_max_length=raw.get("id_max_length", {}),
    )


def _property(name: str, raw: dict[str, Any], number: int) -> PropertyRule:
    raw = raw | raw.get("in", {}).get(str(number), {})
    return PropertyRule(
        name=name,
        literal=raw.get("literal"),
        cls=raw.get("class"),
        min=raw.get("min", 0),
        max=raw.get("max"),
        max_length=raw.get("max_length", {}),
        pattern=re.compile(raw["pattern"], re.ASCII) if "pattern" in raw else None,
        at_least=raw.get("at_least"),
        at_most=raw.get("at_most"),
        values=tuple(raw.get("values", ())),
        versions=tuple(v for v in raw.get("versions", (number,)) if v <= number),
        key=raw.get("key"),
        segment=raw.get("segment"),
        unique=tuple(raw.get("unique", ())),
        id_required=raw.get("id_required", False),
    )


def _graph_rules(number: int, raws: list[dict[str, Any]]) -> list[GraphRule]:
    rules = []
    for raw in raws:
        own = raw["in"].get(str(number))
        if own is None:
            continue
        rules.append(
            GraphRule(
                rule=raw["rule"],
                of=raw["of"],
                through=tuple(raw.get("through", ())),
                follow_all=raw.get("follow") == "all",
                limit=own.get("limit", {}),
                recursive=own.get("recursive", False),
                cls=raw.get("class", ""),
                imports=raw.get("imports", ""),
                decided_by=raw.get("decided_by", ""),
                literal=raw.get("property", ""),
            )
        )
    return rules

"""The parts of models as read: elements, what they hold, and how JSON-LD writes their values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gemel.models.adjuncts import Adjunct, AdjunctProperty
from gemel.models.language import ClassRule, PropertyRule

__all__ = [
    "Element",
    "Place",
    "Reference",
    "context_of",
    "has_type",
    "id_of",
    "keywords_of",
    "types_of",
    "values_of",
]

_KNOWN = frozenset({"@context", "@graph", "@id", "@language", "@type", "@value"})


class Element:
    """One element of a model: an interface, a property, a schema, a field.

    `values` are its literals by property name, `refs` the elements that it holds or refers to, in order.
    Properties of adjunct types have their DTMI as name.
    """

    __slots__ = (
        "adjuncts",
        "holder",
        "home",
        "id",
        "imported",
        "limits",
        "refs",
        "rule",
        "undefined_types",
        "used_by",
        "values",
        "version",
    )

    def __init__(self, element_id: str, rule: ClassRule, version: int, limits: str) -> None:
        """Make an element of a class that holds nothing yet."""
        self.id = element_id
        self.rule = rule
        self.version = version
        self.limits = limits
        self.holder: str | None = None
        self.home: str | None = None
        self.adjuncts: tuple[Adjunct, ...] = ()
        self.undefined_types: tuple[str, ...] = ()
        self.values: dict[str, object] = {}
        self.refs: dict[str, list[Element]] = {}
        self.imported: dict[str, list[Element]] = {}
        self.used_by: list[tuple[Element, str]] = []

    def __repr__(self) -> str:
        return f"<{self.rule.name} {self.id}>"

    @property
    def name(self) -> str:
        """The element's `name`; empty for those without."""
        value = self.values.get("name")
        return value if isinstance(value, str) else ""

    def one(self, property_name: str) -> Element | None:
        """The element that a property holds; None when it holds none."""
        held = self.refs.get(property_name)
        return held[0] if held else None

    def held(self, property_name: str) -> list[Element]:
        """What a property holds, with what was imported into it."""
        imported = self.imported.get(property_name)
        own = self.refs.get(property_name, [])
        return [*own, *imported] if imported else own

    def edges(self) -> Iterator[tuple[str, Element]]:
        """Every element held or referred to, by the language's own properties."""
        for name in self.refs:
            if name in self.rule.properties:
                for held in self.held(name):
                    yield name, held


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element stands: who holds it and by which property; nowhere when it is a document."""

    cls: str
    holder: Element | None = None
    name: str | None = None
    rule: PropertyRule | None = None
    type_optional: bool = False
    depth: int = 0

    @property
    def holder_id(self) -> str | None:
        """The identifier of the holder."""
        return None if self.holder is None else self.holder.id


@dataclass(slots=True)
class Reference:
    """A value that names an element: who holds it, by which property, and what it must be."""

    source: Element
    property: str
    target: str
    text: str | None
    rule: PropertyRule | None = None
    adjunct: AdjunctProperty | None = None
    concrete: frozenset[str] = field(default_factory=frozenset)


def has_type(element: Element, type_id: str, table: Mapping[str, Adjunct]) -> bool:
    """Whether an element is of a class (whatever its version) or has an adjunct type or one beneath it."""
    if type_id.startswith("dtmi:dtdl:class:"):
        name = type_id[len("dtmi:dtdl:class:") :].partition(";")[0]
        if name in element.rule.ancestors:
            return True
    for adjunct in element.adjuncts:
        current: Adjunct | None = adjunct
        while current is not None:
            if current.id == type_id:
                return True
            current = table.get(current.parent) if current.parent else None
    return False


def values_of(value: object) -> Iterator[object]:
    """The values of a property: JSON-LD does not tell one value from a list of one, nor nested lists."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        else:
            yield item


def id_of(raw: Mapping[str, object]) -> str | None:
    """The @id of an object; empty when it is there but not a string."""
    if "@id" not in raw:
        return None
    value = raw["@id"]
    return value if isinstance(value, str) else ""


def types_of(raw: Mapping[str, object]) -> list[object] | None:
    """The @type of an object as a list; None when there is none."""
    if "@type" not in raw:
        return None
    value = raw["@type"]
    if isinstance(value, str):
        return [value]
    return value if isinstance(value, list) else []


def context_of(raw: Mapping[str, object]) -> object:
    """The @context of an object; None when there is none."""
    return raw.get("@context")


def keywords_of(raw: Mapping[str, object]) -> Iterable[str]:
    """The keywords of an object beyond the usual ones."""
    return [key for key in raw if key.startswith("@") and key not in _KNOWN]

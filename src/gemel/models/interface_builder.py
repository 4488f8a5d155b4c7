"""Turns interface elements into interfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypedDict, cast

from gemel.models.elements import Element
from gemel.models.interfaces import (
    Command,
    Component,
    Content,
    Interface,
    Payload,
    Property,
    Relationship,
    Telemetry,
)
from gemel.models.quantities import semantics_of
from gemel.models.schema_builder import SchemaBuilder, texts
from gemel.models.schemas import Schema

__all__ = ["build_interface"]


class _Shared(TypedDict):
    display_name: Mapping[str, str]
    description: Mapping[str, str]
    comment: str | None
    semantic_types: tuple[str, ...]
    defined_in: str


def build_interface(element: Element) -> Interface:
    """The interface that an element describes, with everything that it inherits."""
    builder = _Builder(SchemaBuilder())
    contents = {held.name: builder.content(held) for held in element.held("contents")}
    return Interface(
        id=element.id,
        version=element.version,
        display_name=texts(element, "displayName"),
        description=texts(element, "description"),
        comment=_text(element, "comment"),
        extends=tuple(held.id for held in element.refs.get("extends", ())),
        bases=frozenset(_bases(element)),
        contents=MappingProxyType(contents),
    )


def _bases(element: Element) -> set[str]:
    found: dict[str, Element] = {}
    waiting = list(element.refs.get("extends", ()))
    while waiting:
        base = waiting.pop()
        if base.id not in found:
            found[base.id] = base
            waiting.extend(base.refs.get("extends", ()))
    return set(found)


def _text(element: Element, name: str) -> str | None:
    value = element.values.get(name)
    return value if isinstance(value, str) else None


class _Builder:
    """Builds contents; schemas that several share are built once."""

    def __init__(self, schemas: SchemaBuilder) -> None:
        self.schemas = schemas

    def content(self, element: Element) -> Content:
        makers: dict[str, Callable[[Element], Content]] = {
            "Property": self.property,
            "Telemetry": self._telemetry,
            "Relationship": self._relationship,
            "Component": self._component,
            "Command": self._command,
        }
        return makers[element.rule.name](element)

    def property(self, element: Element) -> Property:
        semantics = semantics_of(element)
        return Property(
            element.name,
            schema=self._schema(element),
            writable=element.values.get("writable") is True,
            unit=semantics.unit,
            semantic_type=semantics.quantity,
            **_shared(element),
        )

    def _telemetry(self, element: Element) -> Telemetry:
        semantics = semantics_of(element)
        return Telemetry(
            element.name,
            schema=self._schema(element),
            unit=semantics.unit,
            semantic_type=semantics.quantity,
            **_shared(element),
        )

    def _relationship(self, element: Element) -> Relationship:
        properties = {held.name: self.property(held) for held in element.refs.get("properties", ())}
        return Relationship(
            element.name,
            target=_text(element, "target"),
            min_multiplicity=cast("int", element.values.get("minMultiplicity") or 0),
            max_multiplicity=cast("int | None", element.values.get("maxMultiplicity")),
            writable=element.values.get("writable") is True,
            properties=MappingProxyType(properties),
            **_shared(element),
        )

    def _component(self, element: Element) -> Component:
        held = element.one("schema")
        assert held is not None
        return Component(element.name, schema=held.id, **_shared(element))

    def _command(self, element: Element) -> Command:
        return Command(
            element.name,
            request=self._payload(element.one("request")),
            response=self._payload(element.one("response")),
            **_shared(element),
        )

    def _payload(self, element: Element | None) -> Payload | None:
        if element is None:
            return None
        semantics = semantics_of(element)
        return Payload(
            name=element.name,
            schema=self._schema(element),
            display_name=texts(element, "displayName"),
            description=texts(element, "description"),
            unit=semantics.unit,
            semantic_type=semantics.quantity,
            nullable=element.values.get("nullable") is True,
        )

    def _schema(self, element: Element) -> Schema:
        held = element.one("schema")
        assert held is not None
        return self.schemas.build(held)


def _shared(element: Element) -> _Shared:
    return {
        "display_name": texts(element, "displayName"),
        "description": texts(element, "description"),
        "comment": _text(element, "comment"),
        "semantic_types": semantics_of(element).types,
        "defined_in": element.home or "",
    }

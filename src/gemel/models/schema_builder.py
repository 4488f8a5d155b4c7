"""Turns schema elements into schemas; a schema that contains itself (allowed from DTDL v4) stays one object."""

from __future__ import annotations

from typing import cast

from gemel.models.elements import Element
from gemel.models.quantities import semantics_of
from gemel.models.schemas import Array, Enum, EnumEntry, Field, Geospatial, Map, Object, Primitive, Schema

__all__ = ["SchemaBuilder", "texts"]

_GEOSPATIAL = "dtmi:standard:schema:geospatial:"


def texts(element: Element, property_name: str) -> dict[str, str]:
    """A text of an element by language."""
    return dict(cast("dict[str, str]", element.values.get(property_name) or {}))


class SchemaBuilder:
    """Builds each schema element once."""

    def __init__(self) -> None:
        """Start with nothing built."""
        self._built: dict[int, Schema] = {}

    def build(self, element: Element) -> Schema:
        """The schema that an element describes."""
        found = self._built.get(id(element))
        if found is None:
            found = self._make(element)
        return found

    def _make(self, element: Element) -> Schema:
        name = element.rule.name
        if element.id.startswith(_GEOSPATIAL) and name == "Object":
            kind = element.id[len(_GEOSPATIAL) :].partition(";")[0]
            return self._keep(element, Geospatial(kind))
        if name == "Object":
            fields: dict[str, Field] = {}
            made = self._keep(element, Object(fields))
            for held in element.refs.get("fields", ()):
                fields[held.name] = self._field(held)
            return made
        if name == "Array":
            array = cast("Array", self._keep(element, Array(_PENDING)))
            object.__setattr__(array, "element", self.build(_one(element, "elementSchema")))
            return array
        if name == "Map":
            key, value = _one(element, "mapKey"), _one(element, "mapValue")
            mapping = cast("Map", self._keep(element, Map(key.name, value.name, _PENDING)))
            object.__setattr__(mapping, "value", self.build(_one(value, "schema")))
            return mapping
        if name == "Enum":
            return self._keep(element, _enum(element))
        return self._keep(element, Primitive(element.name))

    def _keep(self, element: Element, schema: Schema) -> Schema:
        self._built[id(element)] = schema
        return schema

    def _field(self, element: Element) -> Field:
        semantics = semantics_of(element)
        return Field(
            name=element.name,
            schema=self.build(_one(element, "schema")),
            display_name=texts(element, "displayName"),
            unit=semantics.unit,
            semantic_type=semantics.quantity,
        )


_PENDING = Primitive("?")


def _one(element: Element, property_name: str) -> Element:
    held = element.one(property_name)
    assert held is not None, f"{element!r} has no {property_name}; the reader lets none pass"
    return held


def _enum(element: Element) -> Enum:
    entries = tuple(
        EnumEntry(held.name, cast("int | str", held.values["enumValue"]), texts(held, "displayName"))
        for held in element.refs.get("enumValues", ())
    )
    return Enum(_one(element, "valueSchema").name, entries)

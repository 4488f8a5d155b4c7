"""What an element measures: its semantic types, the quantity among them, and the unit."""

from __future__ import annotations

from typing import NamedTuple

from gemel.models.contexts import term_of
from gemel.models.elements import Element

__all__ = ["Semantics", "semantics_of"]


class Semantics(NamedTuple):
    """The short names of an element's semantic types, the one that has a unit, and that unit."""

    types: tuple[str, ...] = ()
    quantity: str | None = None
    unit: str | None = None


_NONE = Semantics()


def semantics_of(element: Element) -> Semantics:
    """What an element measures; types of unknown extensions are kept by the name they were given."""
    if not element.adjuncts and not element.undefined_types:
        return _NONE
    types = [term_of(adjunct.id) for adjunct in element.adjuncts]
    quantity = unit = None
    for adjunct in element.adjuncts:
        for item in adjunct.properties:
            held = element.one(item.id)
            if held is not None and _is_unit(item.id):
                quantity, unit = term_of(adjunct.id), held.name
    return Semantics((*types, *element.undefined_types), quantity, unit)


def _is_unit(property_id: str) -> bool:
    return term_of(property_id) == "unit"

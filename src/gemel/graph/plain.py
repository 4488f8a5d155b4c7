"""Most twins of an import read in one pass: all values of their types, none with a time of its own. Pure.

What is unusual in any way is left to `gemel.graph.putting`, which says what is wrong with it, or takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import UNSET

from gemel.base.errors import GemelError
from gemel.graph.changing import Change
from gemel.graph.content import METADATA, MODEL, VALID_FROM
from gemel.graph.putting import Put, valid_from_of
from gemel.history.values import DOUBLE, INTEGER, JSON, Encoded, encode
from gemel.models import Primitive, Slot, TwinType

__all__ = ["PlainReader"]

OWN = frozenset({"$dtId", METADATA})
NAMED_ALONE = frozenset({MODEL, VALID_FROM})
EXACT: Mapping[str, type] = {"string": str, "boolean": bool, "double": float}
"""Kinds of which every value of a Python type fits: JSON has no number that is not finite."""
LIKE = {"double": float, "integer": int}
"""What a value is that reads back as it was, by storage."""
KINDS = {"double": DOUBLE, "integer": INTEGER}


TEXTS_MAX = 200
"""How many texts of a slot are remembered that must look like something, as dates; after that each is looked at."""


class _Place(NamedTuple):
    """A slot: values of the type `exact` fit it, and those of `like` are kept as numbers of a kind.

    `texts` are some that fit, in their stored form.
    """

    path: str
    slot: Slot
    exact: type | None
    like: type | None
    kind: int
    texts: dict[str, Encoded]

    @classmethod
    def of(cls, path: str, slot: Slot) -> _Place:
        """Return the place of a slot."""
        exact = EXACT.get(slot.schema.kind) if isinstance(slot.schema, Primitive) else None
        return cls(path, slot, exact, LIKE.get(slot.storage), KINDS.get(slot.storage, JSON), {})


class PlainReader:
    """Reads twins of one type."""

    def __init__(self, twin_type: TwinType) -> None:
        self.twin_type = twin_type
        self._own: dict[str, _Place] = {}
        self._components: dict[str, dict[str, _Place]] = {path: {} for path in twin_type.components}
        for path, slot in twin_type.slots.items():
            if slot.role != "property":
                continue
            owner, _, name = path.rpartition(".")
            (self._components[owner] if owner else self._own)[name] = _Place.of(path, slot)

    def read(self, twin_id: str, body: Mapping[str, Any]) -> Put | None:
        """Return what a body asks, as `read_put` and `foresee_values` do, or None to leave it to them."""
        if not body[METADATA].keys() <= NAMED_ALONE:
            return None
        values: dict[str, Any] = {}
        stored: list[Encoded] = []
        missing = len(self._components)
        own, components = self._own, self._components
        try:
            for name, value in body.items():
                place = own.get(name)
                if place is not None:
                    stored.append(_encoded(place, value))
                    values[place.path] = value
                elif name in components:
                    missing -= 1
                    self._read_component(components[name], value, values, stored)
                elif name not in OWN:
                    return None
            if missing:
                return None
            valid_from_us = valid_from_of(body)
        except (GemelError, _UnusualError):
            return None
        change = Change(self.twin_type, values, restamped=True)
        return Put(twin_id, change, UNSET, valid_from_us, (values, stored))

    @staticmethod
    def _read_component(
        places: Mapping[str, _Place], part: Any, values: dict[str, Any], stored: list[Encoded]
    ) -> None:
        if type(part) is not dict or part.get(METADATA) != {}:
            raise _UnusualError
        for name, value in part.items():
            if name == METADATA:
                continue
            place = places.get(name)
            if place is None:
                raise _UnusualError
            stored.append(_encoded(place, value))
            values[place.path] = value


class _UnusualError(Exception):
    """Something that is not read here."""


def _encoded(place: _Place, value: Any) -> Encoded:
    kind = type(value)
    if kind is not place.exact:
        known = place.texts.get(value) if kind is str else None
        if known is not None:
            return known
        if place.slot.check(value) is not None:
            raise _UnusualError
    if kind is place.like:
        return Encoded(float(value), place.kind, None)
    if place.like is not None or kind not in (str, bool):
        raise _UnusualError
    found = encode(value, "json")
    if kind is not place.exact and kind is str and len(place.texts) < TEXTS_MAX:
        place.texts[value] = found
    return found

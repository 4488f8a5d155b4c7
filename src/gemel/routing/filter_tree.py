"""The tree of an event filter. Pure data.

Source: the route filters of Azure Digital Twins (its guide on event routes), and IN, NIN and NOT of its query
language beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "And",
    "Attribute",
    "Body",
    "Compare",
    "Condition",
    "Constant",
    "Field",
    "HasText",
    "Not",
    "OneOf",
    "Operator",
    "Or",
    "Scalar",
    "TextPlace",
]

Scalar = str | int | float | bool | None


class Attribute(StrEnum):
    """What a filter can ask of an event beside its body: the context attributes of CloudEvents 1.0."""

    TYPE = "type"
    SOURCE = "source"
    SUBJECT = "subject"
    ID = "id"
    TIME = "time"
    DATASCHEMA = "dataschema"
    DATACONTENTTYPE = "datacontenttype"
    SPECVERSION = "specversion"


@dataclass(frozen=True, slots=True)
class Body:
    """A member of the event's `data`, by the names that lead to it; none is `data` itself."""

    names: tuple[str, ...]


Field = Attribute | Body


class Operator(StrEnum):
    """How two values are compared."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


class TextPlace(StrEnum):
    """Where in a text another is looked for."""

    START = "STARTS_WITH"
    END = "ENDS_WITH"
    ANYWHERE = "CONTAINS"


@dataclass(frozen=True, slots=True)
class Constant:
    """`true`: every event. `false`: none."""

    value: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """A field against a value. Of `time`, the value is a moment in µs."""

    field: Field
    operator: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class OneOf:
    """A field that is one of some values, or with `negated` none of them."""

    field: Field
    values: tuple[Scalar, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class HasText:
    """A field whose text starts with, ends with or contains another."""

    field: Field
    place: TextPlace
    text: str


@dataclass(frozen=True, slots=True)
class Not:
    """What a condition does not hold for."""

    part: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of some conditions."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of some conditions."""

    parts: tuple[Condition, ...]


Condition = Constant | Compare | OneOf | HasText | Not | And | Or

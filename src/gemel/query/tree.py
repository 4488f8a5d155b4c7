"""The tree of a condition: what the parser makes of the text and the passes refine.

A test's subject is a `Path` as written until `gemel.query.names` turns it into a field (`Column`, `Property`,
`Instant`, `Version`, `Whole`) of a source (`Of`), and `gemel.query.bind` finds out where a property or instant is
stored. After `gemel.query.polarity` there is no `Not`: every check says of itself what it means negated.

Undefined values follow one rule: a comparison with a property that the twin does not have is neither true nor
false, nor is its negation, so it never selects. Equality between values of different types is false (and `!=`
true); order, text and array tests on a value of another type are neither. `IS_…` tests are always one of both.
A component is an object that is there, but has no value to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

__all__ = [
    "NOWHERE",
    "And",
    "Cell",
    "Check",
    "Column",
    "Compare",
    "Condition",
    "Field",
    "HasItem",
    "HasText",
    "HasType",
    "HasWords",
    "Instant",
    "JsonProperty",
    "Literal",
    "Names",
    "Not",
    "Of",
    "OfModel",
    "OneOf",
    "Operand",
    "Operator",
    "Or",
    "Part",
    "Path",
    "PathColumn",
    "Property",
    "Recent",
    "Scalar",
    "Span",
    "Stored",
    "StoredInstant",
    "StoredNames",
    "StoredWindow",
    "Subject",
    "Test",
    "TextPlace",
    "TypeName",
    "Version",
    "Whole",
    "Window",
    "map_tests",
]

Scalar = str | int | float | bool | datetime | None


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where (exclusive) in the query's text, in characters from 0."""

    start: int
    end: int


NOWHERE = Span(0, 0)


def _span() -> Span:
    return field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value: text, a whole or other number, a truth value, null (None), or a time where one is meant."""

    value: Scalar
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Path:
    """Names joined by dots, as written: an alias may come first."""

    names: tuple[str, ...]
    span: Span = _span()


class Column(StrEnum):
    """What every twin or relationship has, as text."""

    TWIN_ID = "$dtId"
    LIFECYCLE = "$lifecycle"
    MODEL_ID = "$metadata.$model"
    RELATIONSHIP_ID = "$relationshipId"
    RELATIONSHIP_NAME = "$relationshipName"
    SOURCE_ID = "$sourceId"
    TARGET_ID = "$targetId"


class PathColumn(StrEnum):
    """What a shortest way between two twins has."""

    LENGTH = "length"


class Version(StrEnum):
    """What follows from the newest change of a twin."""

    ETAG = "$etag"
    LAST_UPDATE = "$metadata.$lastUpdateTime"


@dataclass(frozen=True, slots=True)
class Property:
    """A property, a field in one, or a component of a twin: resolved when it is known where it is stored."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instant:
    """A time in the metadata of the property `names`: `lastUpdateTime` or `sourceTime`."""

    names: tuple[str, ...]
    which: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A series of each twin, by its path's number, and the names that lead into its JSON value."""

    path_no: int
    inner: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A property of twins: the cells it may be in, of which a twin has at most one, or else a component."""

    cells: tuple[Cell, ...]
    component: str


@dataclass(frozen=True, slots=True)
class StoredInstant:
    """A time of a property of twins, by its path's number, or None where no twin has had the property."""

    path_no: int | None
    which: str


@dataclass(frozen=True, slots=True)
class JsonProperty:
    """A property of a relationship, by the names that lead to it."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A function of the samples of a path in the time before the query: see `Recent`."""

    names: tuple[str, ...]
    span_us: int
    function: str


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """The same, with the series that the samples may be in."""

    cells: tuple[Cell, ...]
    span_us: int
    function: str


@dataclass(frozen=True, slots=True)
class Names:
    """What a twin is called: its id, and its properties such as `name`."""


@dataclass(frozen=True, slots=True)
class StoredNames:
    """The same, with the numbers of the paths of those properties."""

    path_nos: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """A twin or relationship itself, of which can only be asked whether it is there."""


@dataclass(frozen=True, slots=True)
class Part:
    """What only the document as a whole has, as all of its metadata: it can be shown, but has no value."""


Field = (
    Column
    | PathColumn
    | Version
    | Property
    | Instant
    | Window
    | Names
    | Stored
    | StoredInstant
    | StoredWindow
    | StoredNames
    | JsonProperty
    | Whole
    | Part
)


@dataclass(frozen=True, slots=True)
class Of:
    """A field of what a source of the query stands for."""

    source: str
    field: Field


@dataclass(frozen=True, slots=True)
class Recent:
    """`LAST(path, '1h', 'avg')`: a function of the samples of a path in so many µs before the query."""

    path: Path
    span_us: int
    function: str


Operand = Path | Recent | Of
Subject = Operand


class Operator(StrEnum):
    """How two values are compared."""

    EQ = "="
    NE = "<>"
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="

    @property
    def negation(self) -> Operator:
        """The operator that is true of just those values of one type of which this is false."""
        return NEGATIONS[self]


NEGATIONS = {
    Operator.EQ: Operator.NE,
    Operator.NE: Operator.EQ,
    Operator.LT: Operator.GE,
    Operator.GE: Operator.LT,
    Operator.GT: Operator.LE,
    Operator.LE: Operator.GT,
}


class TypeName(StrEnum):
    """What IS_… asks of a value."""

    DEFINED = "IS_DEFINED"
    NULL = "IS_NULL"
    BOOL = "IS_BOOL"
    NUMBER = "IS_NUMBER"
    STRING = "IS_STRING"
    PRIMITIVE = "IS_PRIMITIVE"
    OBJECT = "IS_OBJECT"


class TextPlace(StrEnum):
    """Where in a text another must stand."""

    STARTSWITH = "STARTSWITH"
    ENDSWITH = "ENDSWITH"
    CONTAINS = "CONTAINS"


@dataclass(frozen=True, slots=True)
class Compare:
    """Subject, operator, literal."""

    operator: Operator
    literal: Literal


@dataclass(frozen=True, slots=True)
class OneOf:
    """The subject equals one of the literals (IN); negated, it is there and equals none (NIN)."""

    literals: tuple[Literal, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasType:
    """The subject is there and of a type; negated, it is not so."""

    type: TypeName
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasText:
    """The subject is text with another at a place; negated, it is text without."""

    place: TextPlace
    text: Literal
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasWords:
    """The subject is text with each of some words in it, whatever the case; negated, it is text without one."""

    words: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasItem:
    """The subject is an array with an item; negated, it is an array without."""

    item: Literal
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OfModel:
    """The subject's model is, or (unless exact) extends, another; negated, it is not so."""

    model: Literal
    exact: bool = False
    negated: bool = False


Check = Compare | OneOf | HasType | HasText | HasWords | HasItem | OfModel


@dataclass(frozen=True, slots=True)
class Test:
    """One question about one subject."""

    subject: Subject
    check: Check
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class And:
    """All hold."""

    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One holds at least."""

    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It is false, which is more than not true: see this module's first words."""

    term: Condition


Condition = Test | And | Or | Not


def map_tests(condition: Condition, change: Callable[[Test], Condition]) -> Condition:
    """Return the condition with every test in it replaced by what `change` makes of it."""
    match condition:
        case Test():
            return change(condition)
        case Not():
            return replace(condition, term=map_tests(condition.term, change))
        case And() | Or():
            return replace(condition, terms=tuple(map_tests(term, change) for term in condition.terms))

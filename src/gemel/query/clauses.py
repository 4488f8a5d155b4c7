"""The tree of a whole query: what it selects, from which sources, and how those are linked.

Every twin and relationship that a row is made of is a source. `FROM digitaltwins T` is one; JOIN and MATCH are
links between twins. `FROM relationships R` is one link between two twins without a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gemel.query.tree import NOWHERE, And, Check, Condition, Not, Operand, Or, Span, Test

__all__ = [
    "Aggregate",
    "Collection",
    "Direction",
    "Everything",
    "Function",
    "Hops",
    "IndexUse",
    "Item",
    "Items",
    "Link",
    "Query",
    "Selection",
    "Sort",
    "Source",
    "Term",
    "map_terms",
    "tests_of",
]


class Collection(StrEnum):
    """What a source stands for one of."""

    TWINS = "digitaltwins"
    RELATIONSHIPS = "relationships"
    PATHS = "paths"


@dataclass(frozen=True, slots=True)
class Source:
    """One twin or relationship of each row. One that has no name in the text has one that none could write."""

    name: str
    collection: Collection
    named: bool = True


class Direction(StrEnum):
    """Which way the relationships of a link lead, seen from its start."""

    OUT = "->"
    IN = "<-"
    BOTH = "-"


@dataclass(frozen=True, slots=True)
class Hops:
    """How many relationships a way may have, both ends included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Link:
    """Two twins between which there is one relationship of some name, or a way of several.

    `relationship` is the source that stands for the relationship, None where there are several hops. No names mean
    any name. Where an optional link finds nothing, a row goes without its end. Of a link with a path there is just the
    shortest way, for which that source stands.
    """

    start: str
    end: str
    names: tuple[str, ...] = ()
    direction: Direction = Direction.OUT
    relationship: str | None = None
    hops: Hops | None = None
    optional: bool = False
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Everything:
    """`SELECT *`: the documents themselves."""


class Function(StrEnum):
    """What an aggregate makes of the values of a group."""

    COUNT = "COUNT"
    SUM = "SUM"
    AVG = "AVG"
    MIN = "MIN"
    MAX = "MAX"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function of all values that a group has; of the number of its rows where it is of nothing."""

    function: Function
    of: Operand | None = None


Term = Operand | Aggregate


@dataclass(frozen=True, slots=True)
class Item:
    """One member of each row: what it is, what it is called, and the way to it in its source's document.

    The way is empty for all of the document. `given` says that the name was.
    """

    term: Term
    name: str
    way: tuple[str, ...] = ()
    given: bool = field(default=False, compare=False)
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Items:
    """`SELECT item, …`."""

    items: tuple[Item, ...]


Selection = Everything | Items


@dataclass(frozen=True, slots=True)
class Sort:
    """By what rows are in order. What is not there comes last, either way."""

    term: Term
    descending: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class IndexUse:
    """An indexed path by which the twins of a source can be found, as the check asks for them."""

    source: str
    path_no: int
    check: Check


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query, and what is worth saying about it beside its answer.

    `default` is the source that a path without an alias is about, where that is clear.
    """

    text: str = field(compare=False, repr=False)
    selection: Selection
    sources: tuple[Source, ...]
    links: tuple[Link, ...] = ()
    default: str | None = None
    where: Condition | None = None
    top: int | None = None
    distinct: bool = False
    group: tuple[Operand, ...] = ()
    order: tuple[Sort, ...] = ()
    offset: int = 0
    explain: bool = False
    indexes: tuple[IndexUse, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """What is selected, where not everything is."""
        return self.selection.items if isinstance(self.selection, Items) else ()

    @property
    def grouped(self) -> bool:
        """Whether a row of the answer stands for several matches."""
        aggregated = any(isinstance(item.term, Aggregate) for item in self.items)
        return self.distinct or aggregated or bool(self.group)

    def source(self, name: str) -> Source:
        """Return the source of a name that the passes gave."""
        return next(source for source in self.sources if source.name == name)

    @property
    def optional(self) -> frozenset[str]:
        """The sources that a row may lack: the ends of optional links, and what is reached from there."""
        found: set[str] = set()
        for link in self.links:
            if link.optional or link.start in found:
                found |= {link.end, link.relationship or link.end}
        return frozenset(found)

    @property
    def named(self) -> list[str]:
        """The aliases of the text, in its order."""
        return [source.name for source in self.sources if source.named]


def map_terms(query: Query, change: Callable[[Operand], Operand]) -> Query:
    """Return the query with every path that is selected, grouped by or in order by changed."""

    def changed(term: Term) -> Term:
        if isinstance(term, Aggregate):
            return replace(term, of=term.of and change(term.of))
        return change(term)

    selection = query.selection
    if isinstance(selection, Items):
        selection = Items(tuple(replace(item, term=changed(item.term)) for item in selection.items))
    return replace(
        query,
        selection=selection,
        group=tuple(change(term) for term in query.group),
        order=tuple(replace(sort, term=changed(sort.term)) for sort in query.order),
    )


def tests_of(condition: Condition | None) -> Iterator[Test]:
    """Yield every test of a condition."""
    match condition:
        case Test():
            yield condition
        case Not():
            yield from tests_of(condition.term)
        case And() | Or():
            for term in condition.terms:
                yield from tests_of(term)

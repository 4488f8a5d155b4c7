"""What a query means, in plain Python over documents: every row is tried, nothing is clever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gemel.query.clauses import Count, Direction, Items, Link, Query
from gemel.query.names import resolve_names
from gemel.query.parse import parse
from gemel.query.tree import (
    And,
    Column,
    Compare,
    Condition,
    HasItem,
    HasText,
    HasType,
    Instant,
    JsonProperty,
    Not,
    Of,
    OfModel,
    OneOf,
    Or,
    Property,
    Test,
    TextPlace,
    TypeName,
    Version,
)

__all__ = ["Graph", "answer"]

Document = dict[str, Any]
Row = dict[str, Document]
MISSING = object()


@dataclass(frozen=True)
class Graph:
    """Documents as GET gives them, and for each model the ids of those that extend it and its own."""

    twins: list[Document]
    relationships: list[Document]
    families: dict[str, set[str]]

    def twin(self, twin_id: str) -> Document:
        return next(twin for twin in self.twins if twin["$dtId"] == twin_id)


def answer(text: str, graph: Graph) -> list[Any]:
    """Return the rows of a query's whole answer, in no order."""
    query = resolve_names(parse(text))
    rows = [
        row for row in _matches(query, graph) if not query.where or _holds(query.where, row, graph) is True
    ]
    match query.selection:
        case Count():
            return [{"COUNT": len(rows)}]
        case Items(items):
            return [
                {
                    item.name: value
                    for item in items
                    if (value := _follow(row.get(item.source, MISSING), item.way)) is not MISSING
                }
                for row in rows
            ]
        case _:
            assert query.default is not None
            return [row[query.default] for row in rows]


def _matches(query: Query, graph: Graph) -> Iterator[Row]:
    first = query.links[0].start if query.links else query.sources[0].name
    rows: list[Row] = [{first: twin} for twin in graph.twins]
    for link in query.links:
        rows = [longer for row in rows for longer in _linked(row, link, graph)]
    yield from rows


def _linked(row: Row, link: Link, graph: Graph) -> Iterator[Row]:
    found = list(_ways(row, link, graph)) if link.start in row else []
    yield from found
    if not found and link.optional:
        yield row


def _ways(row: Row, link: Link, graph: Graph) -> Iterator[Row]:
    if link.hops is None:
        assert link.relationship is not None
        for relationship, end in _steps(row[link.start]["$dtId"], link, graph):
            if link.end not in row or row[link.end]["$dtId"] == end:
                yield {**row, link.relationship: relationship, link.end: graph.twin(end)}
        return
    reached: set[str] = set()
    level = {row[link.start]["$dtId"]}
    for hop in range(1, link.hops.most + 1):
        level = {end for start in level for _, end in _steps(start, link, graph)}
        if hop >= link.hops.least:
            reached |= level
    for end in reached:
        if link.end not in row or row[link.end]["$dtId"] == end:
            yield {**row, link.end: graph.twin(end)}


def _steps(start: str, link: Link, graph: Graph) -> Iterator[tuple[Document, str]]:
    for relationship in graph.relationships:
        if link.names and relationship["$relationshipName"] not in link.names:
            continue
        source, target = relationship["$sourceId"], relationship["$targetId"]
        if link.direction is not Direction.IN and source == start:
            yield relationship, target
        if link.direction is not Direction.OUT and target == start:
            yield relationship, source


def _holds(condition: Condition, row: Row, graph: Graph) -> bool | None:
    match condition:
        case Not(term):
            return _opposite(_holds(term, row, graph))
        case And(terms):
            return _all([_holds(term, row, graph) for term in terms])
        case Or(terms):
            return _opposite(_all([_opposite(_holds(term, row, graph)) for term in terms]))
        case Test(Of(source, field), check):
            return _test(row.get(source, MISSING), field, check, graph)
    raise AssertionError(condition)


def _all(values: list[bool | None]) -> bool | None:
    if False in values:
        return False
    return None if None in values else True


def _opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


def _test(document: Any, field: Any, check: Any, graph: Graph) -> bool | None:
    value = _value(document, field)
    if isinstance(check, HasType):
        return value is not MISSING and TYPES[check.type](value)
    if value is MISSING or (isinstance(value, dict) and "$metadata" in value):
        return None
    match check:
        case Compare(operator, literal) if operator in ("=", "<>"):
            return _equal(value, literal.value) is (operator == "=")
        case Compare(operator, literal):
            return ORDERS[operator](value, literal.value) if _kind(value) == _kind(literal.value) else None
        case OneOf(literals, negated):
            return any(_equal(value, literal.value) for literal in literals) is not negated
        case HasText(place, text):
            return PLACES[place](value, str(text.value)) if isinstance(value, str) else None
        case HasItem(item):
            return any(_equal(each, item.value) for each in value) if isinstance(value, list) else None
        case OfModel(model, exact):
            wanted = str(model.value)
            return value in ({wanted} if exact else graph.families.get(wanted, set()))
    raise AssertionError(check)


def _value(document: Any, field: Any) -> Any:
    match field:
        case Column() | Version():
            return _follow(document, tuple(field.split(".")))
        case Property(names) | JsonProperty(names):
            return _follow(document, names)
        case Instant(names, which):
            return _follow(document, (*names[:-1], "$metadata", names[-1], which))
        case _:
            return document


def _follow(value: Any, way: tuple[str, ...]) -> Any:
    for name in way:
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value


def _kind(value: Any) -> str:
    kinds = {"bool": bool, "number": (int, float), "string": str, "object": dict, "array": list}
    return next((name for name, types in kinds.items() if isinstance(value, types)), "null")  # type: ignore[arg-type]


def _equal(left: Any, right: Any) -> bool:
    return _kind(left) == _kind(right) and bool(left == right)


ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
PLACES: dict[TextPlace, Callable[[str, str], bool]] = {
    TextPlace.STARTSWITH: str.startswith,
    TextPlace.ENDSWITH: str.endswith,
    TextPlace.CONTAINS: str.__contains__,
}
TYPES: dict[TypeName, Callable[[Any], bool]] = {
    TypeName.DEFINED: lambda value: True,
    TypeName.NULL: lambda value: value is None,
    TypeName.BOOL: lambda value: _kind(value) == "bool",
    TypeName.NUMBER: lambda value: _kind(value) == "number",
    TypeName.STRING: lambda value: _kind(value) == "string",
    TypeName.PRIMITIVE: lambda value: _kind(value) in {"bool", "number", "string", "null"},
    TypeName.OBJECT: lambda value: _kind(value) == "object",
}

"""What a query means, in plain Python over documents: every row is tried, nothing is clever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key
from typing import Any

import msgspec

from gemel.history.values import JSON, decode
from gemel.query.clauses import Direction, Function, Link, Query
from gemel.query.groups import check_groups
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
    HasWords,
    Instant,
    JsonProperty,
    Names,
    Not,
    Of,
    OfModel,
    OneOf,
    Or,
    PathColumn,
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


def answer(text: str, graph: Graph) -> list[list[Any]]:
    """Return the rows of a query's whole answer, before TOP and OFFSET.

    They come as lists, in order; within a list any order is right.
    """
    query = check_groups(resolve_names(parse(text)))
    rows = [
        row for row in _matches(query, graph) if not query.where or _holds(query.where, row, graph) is True
    ]
    groups = _grouped(query, rows) if query.grouped else [[row] for row in rows]
    if query.distinct:
        groups = list({_told(query, group): group for group in groups}.values())
    found: list[tuple[list[Any], Any]] = [
        ([_term(sort.term, group) for sort in query.order], _shown(query, group)) for group in groups
    ]
    if not query.order:
        return [[row for _, row in found]]
    directions = [sort.descending for sort in query.order]

    def by_key(left: tuple[list[Any], Any], right: tuple[list[Any], Any]) -> int:
        return _compare(left[0], right[0], directions)

    found.sort(key=cmp_to_key(by_key))
    lists: list[list[Any]] = []
    for place, (key, row) in enumerate(found):
        if place == 0 or _compare(found[place - 1][0], key, directions):
            lists.append([])
        lists[-1].append(row)
    return lists


def _grouped(query: Query, rows: list[Row]) -> list[list[Row]]:
    if not query.group:
        return [rows]
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        key = tuple(_same(_term(term, [row])) for term in query.group)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _told(query: Query, group: list[Row]) -> tuple[Any, ...]:
    return tuple(_same(_term(item.term, group)) for item in query.items)


def _same(value: Any) -> Any:
    """Return what is equal for equal values only: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict) and "$etag" in value:
        return value["$etag"]
    return (
        None
        if value is MISSING or _component(value)
        else (_kind(value), msgspec.json.encode(decode(None, JSON, value)))
    )


def _component(value: Any) -> bool:
    return isinstance(value, dict) and "$metadata" in value and "$etag" not in value


def _shown(query: Query, group: list[Row]) -> Any:
    if not query.items:
        assert query.default is not None
        return group[0][query.default]
    found = {}
    for item in query.items:
        if isinstance(item.term, Of) and not (query.grouped and item.term in query.group):
            value = _follow(group[0].get(item.term.source, MISSING), item.way)
        else:
            value = _term(item.term, group)
            value = MISSING if _component(value) else value
        if value is not MISSING:
            found[item.name] = value
    return found


def _term(term: Any, group: list[Row]) -> Any:
    if isinstance(term, Of):
        return _value(group[0].get(term.source, MISSING), term.field)
    if term.of is None:
        return len(group)
    values = [_value(row.get(term.of.source, MISSING), term.of.field) for row in group]
    values = [value for value in values if value is not MISSING and not _component(value)]
    if term.function is Function.COUNT:
        return len(values)
    numbers = [Fraction(repr(value)) for value in values if _kind(value) == "number"]
    texts = [value for value in values if isinstance(value, str)]
    if term.function in (Function.SUM, Function.AVG):
        if not numbers:
            return MISSING
        total = sum(numbers, Fraction()) / (len(numbers) if term.function is Function.AVG else 1)
        return int(total) if total.denominator == 1 else float(total)
    smallest = term.function is Function.MIN
    for kind in (numbers, texts) if smallest else (texts, numbers):
        if kind:
            best = min(kind) if smallest else max(kind)
            return float(best) if isinstance(best, Fraction) else best
    return MISSING


def _compare(left: list[Any], right: list[Any], directions: list[bool]) -> int:
    for one, other, descending in zip(left, right, directions, strict=True):
        first, second = _rank(one), _rank(other)
        if first != second:
            if first is None or second is None:
                return -1 if first is not None else 1
            return -1 if (first < second) is not descending else 1
    return 0


def _rank(value: Any) -> tuple[int, Any] | None:
    """Return by what a value is in order, None for what comes last."""
    ranks = {"number": 0, "bool": 1, "string": 2}
    kind = "" if value is MISSING else _kind(value)
    return (ranks[kind], value) if kind in ranks else None


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
    if link.path is not None:
        yield from _shortest(row, link, graph)
        return
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


def _shortest(row: Row, link: Link, graph: Graph) -> Iterator[Row]:
    """Yield a row for each twin that can be reached, with the length of the shortest way to it."""
    assert link.path is not None
    assert link.hops is not None
    level: set[str] = {row[link.start]["$dtId"]}
    seen: set[str] = set()
    for hop in range(1, link.hops.most + 1):
        level = {end for start in level for _, end in _steps(start, link, graph)}
        for end in level - seen:
            if link.end not in row or row[link.end]["$dtId"] == end:
                yield {**row, link.path: {"length": hop, "$path": True}, link.end: graph.twin(end)}
        seen |= level


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
        case HasWords(words):
            return all(word.lower() in value.lower() for word in words) if isinstance(value, str) else None
        case HasItem(item):
            return any(_equal(each, item.value) for each in value) if isinstance(value, list) else None
        case OfModel(model, exact):
            wanted = str(model.value)
            return value in ({wanted} if exact else graph.families.get(wanted, set()))
    raise AssertionError(check)


def _value(document: Any, field: Any) -> Any:
    match field:
        case Column() | PathColumn() | Version():
            return _follow(document, tuple(field.split(".")))
        case Property(names) | JsonProperty(names):
            return _follow(document, names)
        case Names():
            return MISSING if document is MISSING else f"{document['$dtId']} {document.get('label', '')}"
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

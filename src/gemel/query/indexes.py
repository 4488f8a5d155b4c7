"""The pass that finds where an indexed path leads to the twins that a query is about.

The index holds a value as far as it can (gemel.history.promoted), so what it finds is every twin that may match, and
the test itself stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gemel.history.promoted import TEXT_MAX
from gemel.query.bind import Catalog
from gemel.query.clauses import IndexUse, Query
from gemel.query.sql import Sql, all_of, param, sql
from gemel.query.tree import (
    And,
    Cell,
    Check,
    Compare,
    Condition,
    HasText,
    Of,
    OneOf,
    Operator,
    Scalar,
    Stored,
    Test,
    TextPlace,
)

__all__ = ["bind_indexes", "index_sql", "indexable_paths"]

PROMOTED = "promoted_value"
# What is rounded or cut short may be on the edge: < is looked up as <=.
LOOSE = {
    Operator.EQ: "=",
    Operator.LT: "<=",
    Operator.LE: "<=",
    Operator.GT: ">=",
    Operator.GE: ">=",
}
POINT_MAX = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class _Indexed:
    """A value as the index has it: the column, its type in SQL, and the value."""

    column: str
    type: str
    value: Scalar


def bind_indexes(query: Query, catalog: Catalog) -> Query:
    """Return the query with the indexed paths that each of its twins can be found by, equality first."""
    found = [
        (not equal, IndexUse(of.source, path_no, test.check))
        for test, of, path_no, equal in _indexable(query.where)
        if path_no in catalog.promoted
        and index_sql(IndexUse(of.source, path_no, test.check), "p") is not None
    ]
    return replace(query, indexes=tuple(use for _, use in sorted(found, key=lambda each: each[0])))


def indexable_paths(query: Query) -> dict[str, int]:
    """Return the dotted paths of a bound query that an index would find twins by, with their numbers."""
    paths: dict[str, int] = {}
    for test, of, path_no, _ in _indexable(query.where):
        assert isinstance(of.field, Stored)
        if index_sql(IndexUse(of.source, path_no, test.check), "p") is not None:
            paths[of.field.component] = path_no
    return paths


def index_sql(use: IndexUse, alias: str) -> Sql | None:
    """Return an item of a FROM, the rows of the index that may match, or None where the index cannot say."""
    bounds = _bounds(use.check, alias)
    if bounds is None:
        return None
    path_no = sql(f"{alias}.path_no = {{}}", param(use.path_no, "int"))
    return sql(f"(SELECT {alias}.twin_no FROM {PROMOTED} AS {alias} WHERE {{}})", all_of([path_no, bounds]))


def _indexable(where: Condition | None) -> Iterator[tuple[Test, Of, int, bool]]:
    """Yield the tests that every row passes on the whole value of one path, and whether it is for equality."""
    terms = where.terms if isinstance(where, And) else (where,)
    for term in terms:
        if not isinstance(term, Test) or not isinstance(term.subject, Of):
            continue
        field = term.subject.field
        if (
            isinstance(field, Stored)
            and len(field.cells) == 1
            and field.cells[0] == Cell(field.cells[0].path_no)
        ):
            equal = isinstance(term.check, Compare) and term.check.operator is Operator.EQ
            yield term, term.subject, field.cells[0].path_no, equal or isinstance(term.check, OneOf)


def _bounds(check: Check, alias: str) -> Sql | None:
    match check:
        case Compare(operator, literal) if operator in LOOSE:
            indexed = _indexed(literal.value)
            return None if indexed is None else _compared(alias, indexed, LOOSE[operator])
        case OneOf(literals, False):
            return _one_of([_indexed(literal.value) for literal in literals], alias)
        case HasText(TextPlace.STARTSWITH, text, False):
            return _prefix(str(text.value)[:TEXT_MAX], alias)
        case _:
            return None


def _compared(alias: str, indexed: _Indexed, operator: str) -> Sql:
    return sql(f"{alias}.{indexed.column} {operator} {{}}", param(indexed.value, indexed.type))


def _one_of(indexed: list[_Indexed | None], alias: str) -> Sql | None:
    known = [each for each in indexed if each is not None]
    columns = {(each.column, each.type) for each in known}
    if len(known) < len(indexed) or len(columns) != 1:
        return None
    ((column, kind),) = columns
    return sql(f"{alias}.{column} = ANY({{}})", param([each.value for each in known], f"{kind}[]"))


def _prefix(text: str, alias: str) -> Sql | None:
    """Return the texts from a prefix on up to the first that does not have it, in the order of code points."""
    if not text:
        return None
    start = _compared(alias, _Indexed("text", "text", text), ">=")
    point = ord(text[-1]) + 1
    if point in SURROGATES:
        point = SURROGATES.stop
    if point > POINT_MAX:
        return start
    return all_of([start, _compared(alias, _Indexed("text", "text", text[:-1] + chr(point)), "<")])


def _indexed(value: Scalar) -> _Indexed | None:
    match value:
        case bool():
            return _Indexed("flag", "boolean", value)
        case int() | float():
            try:
                return _Indexed("num", "float8", float(value))
            except OverflowError:
                return None
        case str():
            return _Indexed("text", "text", value[:TEXT_MAX])
        case _:
            return None

"""The statement of a query whose rows stand for groups of matches: the last pass for GROUP BY, DISTINCT, aggregates."""

from __future__ import annotations

from dataclasses import dataclass, field

from gemel.query.clauses import Aggregate, Collection, Term
from gemel.query.fields import condition_sql
from gemel.query.joins import from_sql
from gemel.query.layout import Columns, Fetch, Layout, Member
from gemel.query.limits import ROWS_MAX, within
from gemel.query.paging import after_key, key_column, limit_sql, order_sql
from gemel.query.scope import Scope
from gemel.query.sql import TRUE, Sql, joined, param, sql
from gemel.query.token import Key
from gemel.query.tree import Of, Whole
from gemel.query.values import SortPart, Value, aggregate_sql, sort_parts, value_of

__all__ = ["grouped_sql"]


@dataclass(slots=True)
class _Groups:
    """What the matches must have: what they are grouped by, and what is aggregated, each once."""

    scope: Scope
    keys: dict[Of, list[Value]] = field(default_factory=dict)
    operands: dict[Of, Value] = field(default_factory=dict)
    aggregates: dict[Aggregate, Value] = field(default_factory=dict)

    def add_key(self, of: Of) -> None:
        if of not in self.keys:
            self.keys[of] = (
                self._whole(of.source) if isinstance(of.field, Whole) else [value_of(of, self.scope)]
            )

    def add(self, term: Term) -> None:
        """Take in what an item or order needs."""
        if not isinstance(term, Aggregate) or term in self.aggregates:
            return
        if not isinstance(term.of, Of):
            self.aggregates[term] = Value(Sql("count(*)"), "bigint")
            return
        if term.of not in self.operands:
            whole = isinstance(term.of.field, Whole)
            self.operands[term.of] = (
                self._whole(term.of.source)[0] if whole else value_of(term.of, self.scope)
            )
        place = list(self.operands).index(term.of)
        operand = Value(Sql(f"m.a{place}"), self.operands[term.of].kind)
        self.aggregates[term] = aggregate_sql(term.function, operand)

    def _whole(self, source: str) -> list[Value]:
        number = Value(self.scope.number(source), "bigint")
        if self.scope.query.source(source).collection is Collection.TWINS:
            return [number]
        return [number, Value(self.scope.relationship_id(source), "text")]

    def key_values(self) -> list[Value]:
        """All that the matches are grouped by, as columns g0, g1, … of the groups."""
        flat = [value for values in self.keys.values() for value in values]
        return [Value(Sql(f"g.g{place}"), value.kind) for place, value in enumerate(flat)]

    def value(self, term: Term) -> Value:
        """Return a key or aggregate as a column of the groups."""
        if isinstance(term, Aggregate):
            return Value(Sql(f"g.x{list(self.aggregates).index(term)}"), self.aggregates[term].kind)
        assert isinstance(term, Of)
        return self.key_values()[self.key_place(term)]

    def values(self, term: Term) -> list[Value]:
        """Return all columns of the groups that tell the values of a key or aggregate apart."""
        if isinstance(term, Aggregate):
            return [self.value(term)]
        assert isinstance(term, Of)
        at = self.key_place(term)
        return self.key_values()[at : at + len(self.keys[term])]

    def key_place(self, of: Of) -> int:
        """Return the place of a key's first column."""
        before = list(self.keys).index(of)
        return sum(len(values) for values in list(self.keys.values())[:before])


def grouped_sql(scope: Scope, after: Key | None, rows_max: int) -> tuple[Sql, Layout]:
    """Return the statement of a page of groups, and what its rows are.

    Raises InvalidError (BadRequest) where the key is not one of this query.
    """
    query = scope.query
    groups = _Groups(scope)
    for of in query.group:
        assert isinstance(of, Of)
        groups.add_key(of)
    for term in (*(item.term for item in query.items), *(sort.term for sort in query.order)):
        groups.add(term)
    columns = Columns()
    members = tuple(_member(groups, columns, item.term, item.name, item.way) for item in query.items)
    rows = _rows(scope, groups)
    if not groups.keys:
        whole = sql(
            "SELECT {} FROM ({}) AS g OFFSET {}", joined(", ", columns.found), rows, param(query.offset)
        )
        return whole, Layout(members=members)
    ordered = [
        part
        for sort in query.order
        for part in sort_parts(groups.value(sort.term), descending=sort.descending)
    ]
    told = groups.key_values()
    if query.distinct:
        told = [
            value
            for term in dict.fromkeys(item.term for item in query.items)
            for value in groups.values(term)
        ]
        rows = _distinct(rows, told)
    parts = [*ordered, *(part for value in told for part in _key_parts(value))]
    shown = [*columns.found, *map(key_column, parts)]
    whole = sql(
        "SELECT {} FROM ({}) AS g WHERE {} ORDER BY {} {}",
        joined(", ", shown),
        rows,
        after_key(parts, (), after),
        order_sql(parts),
        limit_sql(rows_max, query.offset, after),
    )
    return whole, Layout(members=members, key=tuple(range(len(columns.found), len(shown))))


def _distinct(rows: Sql, told: list[Value]) -> Sql:
    """Return the groups that differ in some columns, with those columns under the same names."""
    columns = joined(", ", [value.sql for value in told])
    return sql("SELECT {} FROM ({}) AS g GROUP BY {}", columns, rows, columns)


def _key_parts(value: Value) -> list[SortPart]:
    """Return what tells two groups apart, in some order."""
    return [SortPart(value.sql, "jsonb")] if value.kind == "jsonb" else sort_parts(value, descending=False)


def _member(groups: _Groups, columns: Columns, term: Term, name: str, way: tuple[str, ...]) -> Member:
    if isinstance(term, Aggregate) or (term in groups.keys and not isinstance(term.field, Whole)):
        return columns.value(name, groups.value(term))
    assert isinstance(term, Of)
    whole = Of(term.source, Whole())
    place, collection = groups.key_place(whole), groups.scope.query.source(term.source).collection
    at = columns.place([Sql(f"g.g{place + offset}") for offset in range(len(groups.keys[whole]))])
    return Member(name, fetch=Fetch(at, collection), way=way)


def _rows(scope: Scope, groups: _Groups) -> Sql:
    """Return the groups: their keys as g0, g1, … and their aggregates as x0, x1, … by their places."""
    query = scope.query
    condition = condition_sql(query.where, scope) if query.where else TRUE
    whence = from_sql(query, scope).sql
    keys = [value.sql for values in groups.keys.values() for value in values]
    operands = [value.sql for value in groups.operands.values()]
    found = [sql("{} AS x" + str(place), each.sql) for place, each in enumerate(groups.aggregates.values())]
    if not keys and not operands:
        return sql("SELECT {} FROM {} WHERE {}", joined(", ", found), whence, condition)
    matched = [sql("{} AS g" + str(place), each) for place, each in enumerate(keys)]
    matched += [sql("{} AS a" + str(place), each) for place, each in enumerate(operands)]
    if not keys:
        return sql(
            "SELECT {} FROM (SELECT {} FROM {} WHERE {} OFFSET 0) AS m",
            joined(", ", found),
            joined(", ", matched),
            whence,
            condition,
        )
    grouped = [Sql(f"m.g{place}") for place in range(len(keys))]
    return sql(
        "SELECT {} FROM (SELECT {}, row_number() OVER () AS n FROM {} WHERE {}) AS m WHERE {} GROUP BY {}",
        joined(", ", [*grouped, *found]),
        joined(", ", matched),
        whence,
        condition,
        within(Sql("m.n"), ROWS_MAX),
        joined(", ", grouped),
    )

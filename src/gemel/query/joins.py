"""The FROM of a statement: a driving source, and from there one link after the other.

The planner is free to order a few joins as it likes, but follows the text where there are many, so the driver is
the source of which the query says most.
"""

from __future__ import annotations

from dataclasses import dataclass

from gemel.query.clauses import Collection, Direction, Hops, Link, Query
from gemel.query.hops import hops_sql
from gemel.query.indexes import index_sql
from gemel.query.scope import ENDS, Scope
from gemel.query.shortest import shortest_sql
from gemel.query.sql import TRUE, Sql, all_of, joined, param, sql
from gemel.query.tree import And, Column, Compare, Of, OneOf, Operator, Test
from gemel.query.values import SortPart

__all__ = ["From", "from_sql", "keeps_plan"]

KEYED, INDEXED, LIMITED, OPEN, NUMBERED = range(5)
"""How much a query says of a source, most first: one of few, those an index finds, of a model, nothing; or not even its
row is needed."""

IDS = frozenset({Column.TWIN_ID, Column.SOURCE_ID, Column.TARGET_ID})


@dataclass(frozen=True, slots=True)
class From:
    """The items of a FROM, and the key of its rows, which is never null."""

    sql: Sql
    key: tuple[SortPart, ...]


def from_sql(query: Query, scope: Scope) -> From:
    """Return the FROM of a query, whose scope knows by now which rows are needed."""
    return _Joiner(query, scope).joined()


def keeps_plan(query: Query) -> bool:
    """Say whether the plan of a bound query is as good when it is made without the values, which saves much.

    It cannot know how few rows they leave. So it is kept where every row has a twin or relationship that the query
    names by its id; where all that is asked is one value of an index, which has its twins in their order; and where
    nothing is asked, so that a page is the next rows of one key.
    """
    said = _said(query)
    if any(rank == KEYED for source, rank in said.items() if source not in query.optional):
        return True
    if len(query.sources) > 1 or query.order or query.grouped:
        return False
    if query.where is None:
        return True
    equal = [isinstance(use.check, Compare) and use.check.operator is Operator.EQ for use in query.indexes]
    return isinstance(query.where, Test) and any(equal)


class _Joiner:
    def __init__(self, query: Query, scope: Scope) -> None:
        self._query = query
        self._scope = scope
        self._placed: set[str] = set()
        self._items: list[Sql] = []

    def joined(self) -> From:
        optional = self._query.optional
        first = [link for link in self._query.links if link.end not in optional]
        last = [link for link in self._query.links if link.end in optional]
        driver = self._driver(first)
        if isinstance(driver, Link):
            first.remove(driver)
            self._start_with_link(driver)
        else:
            self._start_with_twin(driver)
        while first:
            link = next(each for each in first if {each.start, each.end} & self._placed)
            first.remove(link)
            self._link(link)
        for link in last:
            self._link(link)
        return From(joined(" ", self._items), _row_key(self._query, self._scope))

    def _driver(self, links: list[Link]) -> str | Link:
        """Return the twin or link of which most is said, the first of those."""
        said = _said(self._query)
        ranks: list[tuple[int, str | Link]] = [(self._link_rank(link, said), link) for link in links]
        for source in self._query.sources:
            if source.collection is Collection.TWINS and source.name not in self._query.optional:
                open_rank = OPEN if source.name in self._scope.rows else NUMBERED
                ranks.append((said.get(source.name, open_rank), source.name))
        return min(ranks, key=lambda each: each[0])[1]

    def _link_rank(self, link: Link, said: dict[str, int]) -> int:
        if link.relationship is None or link.direction is Direction.BOTH or link.start == link.end:
            return NUMBERED + 1
        return said.get(link.relationship, NUMBERED)

    def _start_with_twin(self, name: str) -> None:
        alias = self._scope.alias(name)
        twins = sql(f"{{}} AS {alias}", self._scope.tables.twins())
        found = next((index_sql(use, "i") for use in self._query.indexes if use.source == name), None)
        if found is not None:
            twins = sql(f"{{}} AS p JOIN {{}} ON {alias}.twin_no = p.twin_no", found, twins)
        self._items.append(sql("CROSS JOIN {}", twins) if self._items else twins)
        self._placed.add(name)

    def _start_with_link(self, link: Link) -> None:
        """Start with a relationship; its names join the conditions of the first twin at its ends."""
        assert link.relationship is not None
        alias = self._scope.alias(link.relationship)
        named = _named(link, alias)
        table = self._scope.tables.relationships()
        if named != TRUE:
            table = sql(f"(SELECT * FROM {{}} AS {alias} WHERE {{}})", table, named)
        self._items.append(sql(f"{{}} AS {alias}", table))
        start, end = (
            ("source_no", "target_no") if link.direction is Direction.OUT else ("target_no", "source_no")
        )
        self._twin(link.start, Sql(f"{alias}.{start}"), "JOIN")
        self._twin(link.end, Sql(f"{alias}.{end}"), "JOIN")
        self._ends(link.relationship, "JOIN")

    def _link(self, link: Link) -> None:
        join = "LEFT JOIN" if link.optional else "JOIN"
        near, far = (link.start, link.end) if link.start in self._placed else (link.end, link.start)
        if link.path is not None and link.hops is not None:
            self._shortest(link, link.path, link.hops)
        elif link.hops is not None:
            self._hops(link, link.hops, near, far, join)
        elif link.direction is Direction.BOTH:
            self._either(link, near, far, join)
        else:
            self._one(link, near, far, join)

    def _one(self, link: Link, near: str, far: str, join: str) -> None:
        assert link.relationship is not None
        alias = self._scope.alias(link.relationship)
        outward = (link.direction is Direction.OUT) is (near == link.start)
        near_column, far_column = ("source_no", "target_no") if outward else ("target_no", "source_no")
        terms = [sql(f"{alias}.{near_column} = {{}}", self._scope.number(near)), _named(link, alias)]
        if far in self._placed:
            terms.append(sql(f"{alias}.{far_column} = {{}}", self._scope.number(far)))
        table = self._scope.tables.relationships()
        self._items.append(sql(f"{join} {{}} AS {alias} ON {{}}", table, all_of(terms)))
        if far not in self._placed:
            self._twin(far, Sql(f"{alias}.{far_column}"), join)
        self._ends(link.relationship, join)

    def _either(self, link: Link, near: str, far: str, join: str) -> None:
        """Join a relationship that may lead either way: each is looked up by its own index."""
        assert link.relationship is not None
        alias = self._scope.alias(link.relationship)
        table, number = self._scope.tables.relationships(), self._scope.number(near)
        halves = [
            sql(
                f"SELECT e.*, e.{other} AS other_no FROM {{}} AS e WHERE e.{own} = {{}} AND {{}}",
                table,
                number,
                _named(link, "e"),
            )
            for own, other in (("source_no", "target_no"), ("target_no", "source_no"))
        ]
        on = sql(f"{alias}.other_no = {{}}", self._scope.number(far)) if far in self._placed else TRUE
        self._items.append(
            sql(f"{join} LATERAL ({{}}) AS {alias} ON {{}}", joined(" UNION ALL ", halves), on)
        )
        if far not in self._placed:
            self._twin(far, Sql(f"{alias}.other_no"), join)
        self._ends(link.relationship, join)

    def _hops(self, link: Link, hops: Hops, near: str, far: str, join: str) -> None:
        """Join the twins at the other end of ways of several hops: each once, however many ways there are."""
        direction = link.direction
        if near != link.start and direction is not Direction.BOTH:
            direction = Direction.IN if direction is Direction.OUT else Direction.OUT
        ways = hops_sql(self._scope.tables, self._scope.number(near), link.names, direction, hops)
        alias = f"h{len(self._items)}"
        on = sql(f"{alias}.twin_no = {{}}", self._scope.number(far)) if far in self._placed else TRUE
        self._items.append(sql(f"{join} LATERAL {{}} AS {alias} ON {{}}", ways, on))
        if far not in self._placed:
            self._twin(far, Sql(f"{alias}.twin_no"), join)

    def _shortest(self, link: Link, path: str, hops: Hops) -> None:
        """Join the shortest ways from the start: to all twins, or to the end where it is one of few."""
        if link.start not in self._placed:
            self._start_with_twin(link.start)
        if link.end not in self._placed and _said(self._query).get(link.end) == KEYED:
            self._start_with_twin(link.end)
        start = self._scope.number(link.start)
        end = self._scope.number(link.end) if link.end in self._placed else None
        ways = shortest_sql(self._scope.tables, (start, end), link.names, link.direction, hops)
        alias = self._scope.alias(path)
        self._items.append(sql(f"CROSS JOIN LATERAL {{}} AS {alias}", ways))
        if end is None:
            self._twin(link.end, Sql(f"{alias}.twin_no"), "JOIN")

    def _twin(self, name: str, number: Sql, join: str) -> None:
        """Place a twin whose number is known; its row is joined just where more is asked of it."""
        alias = self._scope.alias(name)
        if name in self._scope.rows:
            table = self._scope.tables.twins()
            self._items.append(sql(f"{join} {{}} AS {alias} ON {alias}.twin_no = {{}}", table, number))
        else:
            self._items.append(sql(f"CROSS JOIN LATERAL (SELECT {{}}) AS {alias} (twin_no)", number))
        self._placed.add(name)

    def _ends(self, relationship: str, join: str) -> None:
        for end, (_, column) in ENDS.items():
            if (relationship, end) in self._scope.ends:
                alias = self._scope.end_alias(relationship, end)
                number = f"{self._scope.alias(relationship)}.{column}"
                table = self._scope.tables.twins()
                self._items.append(sql(f"{join} {{}} AS {alias} ON {alias}.twin_no = {number}", table))


def _row_key(query: Query, scope: Scope) -> tuple[SortPart, ...]:
    """Return what tells two rows apart, in the order of the text: so it is the same whatever drives."""
    first = query.links[0].start if query.links else query.sources[0].name
    key, known = [SortPart(scope.number(first), "bigint")], {first}

    def add(source: str, value: Sql, kind: str) -> None:
        if source in query.optional:
            value = sql("coalesce({}, {})", value, Sql("-1" if kind == "bigint" else "''"))
        key.append(SortPart(value, kind))

    for link in query.links:
        if link.relationship is not None:
            # One that leaves a twin has its id there.
            if link.direction is not Direction.OUT:
                add(link.relationship, scope.number(link.relationship), "bigint")
            add(link.relationship, scope.relationship_id(link.relationship), "text")
        elif link.end not in known:
            add(link.end, scope.number(link.end), "bigint")
        known.add(link.end)
    return tuple(key)


def _named(link: Link, alias: str) -> Sql:
    if not link.names:
        return TRUE
    if len(link.names) == 1:
        return sql(f"{alias}.name = {{}}", param(link.names[0]))
    return sql(f"{alias}.name = ANY({{}})", param(list(link.names), "text[]"))


def _said(query: Query) -> dict[str, int]:
    """Return how much the tests that every row must pass say of each source."""
    where = query.where
    said = {use.source: INDEXED for use in query.indexes}
    terms = where.terms if isinstance(where, And) else (where,)
    for term in terms:
        if isinstance(term, Test) and isinstance(term.subject, Of):
            rank = _rank(term)
            source = term.subject.source
            said[source] = min(rank, said.get(source, OPEN))
    return said


def _rank(test: Test) -> int:
    assert isinstance(test.subject, Of)
    column, check = test.subject.field, test.check
    chosen = isinstance(check, Compare) and check.operator is Operator.EQ
    chosen |= isinstance(check, OneOf) and not check.negated
    if chosen and column in IDS:
        return KEYED
    return LIMITED if chosen and column in (Column.MODEL_ID, Column.RELATIONSHIP_ID) else OPEN

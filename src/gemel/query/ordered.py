"""The statement of a page whose matches are in an order of values, each looked up once, whatever is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gemel.history.values import REMOVED
from gemel.query.clauses import Query
from gemel.query.fields import condition_sql
from gemel.query.joins import from_sql
from gemel.query.layout import Asked, Columns
from gemel.query.limits import ROWS_MAX, within
from gemel.query.paging import after_key, key_column, limit_sql, order_sql
from gemel.query.scope import Scope
from gemel.query.sql import TRUE, Sql, all_of, joined, sql
from gemel.query.token import Key
from gemel.query.tree import Of, Stored
from gemel.query.values import TOLD, SortPart, Value, sort_parts, stored_sql, told_sql, value_of

__all__ = ["ordered_sql"]

# Numbers are in order as doubles, which takes a tenth of the time of jsonb's decimals; all else follows them. Just
# whole numbers from 2^53 on may be different ones with the same double, and then are in order as they are.
NUMBER = """(CASE WHEN {0}.kind < 2 THEN {0}.num WHEN jsonb_typeof({0}.doc) = 'number' THEN {0}.doc::float8
    WHEN jsonb_typeof({0}.doc) IN ('boolean', 'string') THEN 'Infinity' END)"""
EXACT = """(CASE WHEN abs({0}.num) >= 9007199254740992 THEN to_jsonb({0}.num)
    WHEN jsonb_typeof({0}.doc) = 'boolean' THEN {0}.doc WHEN jsonb_typeof({0}.doc) = 'number'
    THEN CASE WHEN abs({0}.doc::float8) >= 9007199254740992 THEN {0}.doc END END)"""
TEXT = """((CASE WHEN jsonb_typeof({0}.doc) = 'string' THEN {0}.doc #>> '{{}}' END) COLLATE "C")"""


@dataclass(frozen=True, slots=True)
class _LookUp:
    """Where a value is found: an item of a FROM, called so; as the row that is stored, or as a column `v` of a kind."""

    term: Of
    alias: str
    item: Sql
    value: Value | None = None

    def parts(self, *, descending: bool) -> list[SortPart]:
        """Return by what rows are in order; both ways of one order: see `sort_parts`."""
        if self.value is not None:
            return sort_parts(self.value, descending=descending)
        number, exact, text = (
            SortPart(Sql(form.format(self.alias)), kind, descending)
            for form, kind in ((NUMBER, "float8"), (EXACT, "jsonb"), (TEXT, "text"))
        )
        return [number, text, exact] if descending else [number, exact, text]


def ordered_sql(
    scope: Scope, columns: Columns, asked: Sequence[Asked], after: Key | None, rows_max: int
) -> tuple[Sql, int]:
    """Return the statement of a page of matches, their columns, properties and key, and how many columns the key has.

    Raises InvalidError (BadRequest) where the key is not one of this query.
    """
    query = scope.query
    condition = condition_sql(query.where, scope) if query.where else TRUE
    terms = list(dict.fromkeys(sort.term for sort in query.order if isinstance(sort.term, Of)))
    found = {term: _look_up(scope, term, f"v{place}") for place, term in enumerate(terms)}
    parts = [
        part
        for sort in query.order
        if isinstance(sort.term, Of)
        for part in found[sort.term].parts(descending=sort.descending)
    ]
    whence = from_sql(query, scope)
    inner = Columns()
    inner.place([*columns.found, *(part.sql for part in (*parts, *whence.key))])
    keys = [
        SortPart(Sql(f"m.c{place}"), part.type, part.descending)
        for place, part in enumerate((*parts, *whence.key), len(columns.found))
    ]
    shown = [Sql(f"m.c{place}") for place in range(len(columns.found))]
    properties = []
    for each in asked:
        known = next((one for one in found.values() if _finds(one, each)), None)
        told = stored_sql(scope, shown[each.number_at], each.stored) if known is None else _told(known, inner)
        properties.append(told_sql(Sql(f"m.c{inner.add(each.component)}"), told))
    matches = sql(
        "SELECT {} FROM {} WHERE {}",
        joined(", ", [sql("{} AS c" + str(place), each) for place, each in enumerate(inner.found)]),
        joined(" ", [whence.sql, *(each.item for each in found.values())]),
        all_of([after_key(parts, whence.key, after), condition]),
    )
    # What is shown is made of the rows of the page alone, which stay in their order.
    whole = sql(
        "SELECT {} FROM (SELECT * FROM {} ORDER BY {} {}) AS m",
        joined(", ", [*shown, *properties, *map(key_column, keys)]),
        _within_budget(query, matches),
        order_sql(keys),
        limit_sql(rows_max, query.offset, after),
    )
    return whole, len(keys)


def _look_up(scope: Scope, term: Of, alias: str) -> _LookUp:
    match term.field:
        case Stored((cell,)) if not cell.inner:
            row = scope.value(term.source, cell.path_no)
            return _LookUp(term, alias, sql(f"LEFT JOIN LATERAL {{}} AS {alias} ON true", row))
    value = value_of(term, scope)
    item = sql(f"CROSS JOIN LATERAL (SELECT {{}} AS v OFFSET 0) AS {alias}", value.sql)
    return _LookUp(term, alias, item, Value(Sql(f"{alias}.v"), value.kind))


def _finds(lookup: _LookUp, asked: Asked) -> bool:
    """Say whether the row that is looked up is that of a property which is asked for."""
    return lookup.value is None and lookup.term == Of(asked.source, asked.stored)


def _told(lookup: _LookUp, inner: Columns) -> Sql:
    """Return a property whose row is looked up as `stored_sql` has it, from columns of the matches."""
    kind, num, doc = (f"m.c{inner.add(Sql(f'{lookup.alias}.{name}'))}" for name in ("kind", "num", "doc"))
    return Sql(f"CASE WHEN {kind} <> {REMOVED} THEN {TOLD.format(kind, num, doc)} END")


def _within_budget(query: Query, matches: Sql) -> Sql:
    """Return the matches as an item of a FROM, m; of those with TOP the order holds no more than that at once."""
    if query.top is not None and query.top + query.offset <= ROWS_MAX:
        return sql("({}) AS m", matches)
    numbered = sql("(SELECT *, row_number() OVER () AS n FROM ({}) AS m) AS m", matches)
    return sql("{} WHERE {}", numbered, within(Sql("m.n"), ROWS_MAX))

"""The last pass: one statement for a page of a bound query, and where its rows have what.

Pages go by key, so that what is written between two pages neither repeats nor hides a row that was there all the
time, at the same place of the order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gemel.query.clauses import Query
from gemel.query.fields import condition_sql
from gemel.query.grouped import grouped_sql
from gemel.query.joins import from_sql, keeps_plan
from gemel.query.layout import Asked, Columns, Fetch, Layout, Member
from gemel.query.ordered import ordered_sql
from gemel.query.paging import after_key, limit_sql
from gemel.query.scope import Scope
from gemel.query.sql import TRUE, Sql, all_of, joined, param, sql
from gemel.query.tables import Tables
from gemel.query.token import Key
from gemel.query.tree import Column, Of, PathColumn, Stored, StoredWindow, Whole
from gemel.query.values import stored_sql, told_sql, value_of
from gemel.store.database import Statement

__all__ = ["Compiled", "Window", "to_sql"]

VALUED = (Column, PathColumn, Stored, StoredWindow)
"""What is read in the statement itself, and needs no document, unless it is a component."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement, what its rows are, and what is worth saying beside them."""

    statement: Statement
    layout: Layout
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows a page has: those after a key, None at the start; at most so many. `now_us` is when it is asked."""

    after: Key | None
    rows_max: int
    now_us: int = 0


def to_sql(query: Query, window: Window, tables: Tables) -> Compiled:
    """Return the statement of a query whose subjects are all bound.

    Raises InvalidError (BadRequest) where the window's key is not one of this query.
    """
    scope = Scope(query, tables, window.now_us)
    if query.grouped:
        whole, layout = grouped_sql(scope, window.after, window.rows_max)
    else:
        whole, layout = _matches_sql(scope, window)
    return Compiled(Statement(whole.text, whole.parameters, keeps_plan(query)), layout, query.warnings)


def _matches_sql(scope: Scope, window: Window) -> tuple[Sql, Layout]:
    """Return the statement of a page whose rows are matches."""
    query = scope.query
    columns = Columns()
    layout, asked = _layout(scope, columns)
    if query.order:
        whole, width = ordered_sql(scope, columns, asked, window.after, window.rows_max)
        behind = len(columns.found) + len(asked)
        return whole, replace(layout, key=tuple(range(behind, behind + width)))
    condition = condition_sql(query.where, scope) if query.where else TRUE
    whence = from_sql(query, scope)
    keys = [key.sql for key in whence.key]
    properties = [
        told_sql(
            each.component,
            stored_sql(scope, scope.number(each.source), each.stored, scope.row_alias(each.source)),
        )
        for each in asked
    ]
    shown = Columns()
    shown.place([*columns.found, *properties])
    places = tuple(map(shown.add, keys))
    whole = sql(
        "SELECT {} FROM {} WHERE {} ORDER BY {} {}",
        joined(", ", shown.found),
        whence.sql,
        all_of([after_key((), whence.key, window.after), condition]),
        joined(", ", keys),
        limit_sql(window.rows_max, query.offset, window.after),
    )
    return whole, replace(layout, key=places)


def _layout(scope: Scope, columns: Columns) -> tuple[Layout, list[Asked]]:
    """Say what a row must have, and where: `columns`, then properties.

    A source of which just columns and properties are selected is not fetched as a document.
    """
    query = scope.query
    if not query.items:
        assert query.default is not None
        whole = columns.document(scope, query.default)
        return Layout(whole=whole), []
    terms = [item.term for item in query.items if isinstance(item.term, Of)]
    documents = sorted({term.source for term in terms if not isinstance(term.field, VALUED)})
    fetches = {source: columns.document(scope, source) for source in documents}
    members: list[Member] = []
    asked: list[Asked] = []
    numbers: dict[str, Fetch] = {}
    for item in query.items:
        assert isinstance(item.term, Of)
        source, field = item.term.source, item.term.field
        if (source in fetches and item.way) or isinstance(field, Whole):
            members.append(Member(item.name, fetch=fetches[source], way=item.way))
        elif isinstance(field, Stored):
            fetch = numbers[source] = numbers.get(source) or columns.document(scope, source)
            component = sql("jsonb_exists({}, {})", scope.row(source, "components"), param(field.component))
            members.append(Member(item.name, fetch=fetch, way=item.way, property_at=len(asked)))
            asked.append(Asked(source, fetch.at, component, field))
        else:
            members.append(columns.value(item.name, value_of(item.term, scope)))
    behind = len(columns.found)
    return Layout(members=tuple(_behind(member, behind) for member in members)), asked


def _behind(member: Member, columns: int) -> Member:
    """Return a member whose property, of which only the order was known, stands behind so many columns."""
    return member if member.property_at is None else replace(member, property_at=columns + member.property_at)

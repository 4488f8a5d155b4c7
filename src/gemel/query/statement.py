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
from gemel.query.layout import Columns, Fetch, Layout, Member, Property
from gemel.query.ordered import ordered_sql
from gemel.query.paging import after_key, limit_sql
from gemel.query.scope import Scope
from gemel.query.sql import TRUE, Sql, all_of, joined, param, sql
from gemel.query.tables import Tables
from gemel.query.token import Key
from gemel.query.tree import Column, Of, PathColumn, Stored, StoredWindow, Whole
from gemel.query.values import stored_sql, value_of
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
    layout, stored = _layout(scope, columns)
    if query.order:
        return ordered_sql(scope, columns, stored, window.after, window.rows_max), layout
    condition = condition_sql(query.where, scope) if query.where else TRUE
    whence = from_sql(query, scope)
    keys = [key.sql for key in whence.key]
    properties = [stored_sql(scope, columns.found[place], each) for place, each in stored]
    whole = sql(
        "SELECT {} FROM {} WHERE {} ORDER BY {} {}",
        joined(", ", [*columns.found, *properties, *keys]),
        whence.sql,
        all_of([after_key((), whence.key, window.after), condition]),
        joined(", ", keys),
        limit_sql(window.rows_max, query.offset, window.after),
    )
    return whole, layout


def _layout(scope: Scope, columns: Columns) -> tuple[Layout, list[tuple[int, Stored]]]:
    """Say what a row must have, and where: `columns`, then properties, then the key.

    A source of which just columns and properties are selected is not fetched as a document.
    """
    query = scope.query
    if not query.items:
        assert query.default is not None
        whole = columns.document(scope, query.default)
        return Layout(whole=whole, key_at=len(columns.found)), []
    terms = [item.term for item in query.items if isinstance(item.term, Of)]
    documents = sorted({term.source for term in terms if not isinstance(term.field, VALUED)})
    fetches = {source: columns.document(scope, source) for source in documents}
    members: list[Member] = []
    stored: list[tuple[int, Stored]] = []
    numbers: dict[str, Fetch] = {}
    for item in query.items:
        assert isinstance(item.term, Of)
        source, field = item.term.source, item.term.field
        if (source in fetches and item.way) or isinstance(field, Whole):
            members.append(Member(item.name, fetch=fetches[source], way=item.way))
        elif isinstance(field, Stored):
            fetch = numbers[source] = numbers.get(source) or columns.document(scope, source)
            is_component = sql(
                "jsonb_exists({}, {})", scope.row(source, "components"), param(field.component)
            )
            place = Property(len(stored), columns.add(is_component))
            members.append(Member(item.name, fetch=fetch, way=item.way, property=place))
            stored.append((fetch.at, field))
        else:
            members.append(columns.value(item.name, value_of(item.term, scope)))
    behind = len(columns.found)
    placed = [_behind(member, behind) for member in members]
    return Layout(members=tuple(placed), key_at=behind + len(stored)), stored


def _behind(member: Member, columns: int) -> Member:
    """Return a member whose property, of which only the order was known, stands behind so many columns."""
    if member.property is None:
        return member
    return replace(member, property=replace(member.property, at=columns + member.property.at))

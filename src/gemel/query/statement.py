"""The last pass: one statement for a page of a bound query, and where its rows have what.

Pages go by key, so that what is written between two pages neither repeats nor hides a row that was there all the
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gemel.query.clauses import Collection, Count, Everything, Items, Query
from gemel.query.fields import condition_sql
from gemel.query.joins import From, from_sql
from gemel.query.names import SYSTEM
from gemel.query.scope import Scope
from gemel.query.sql import TRUE, Sql, all_of, joined, param, sql
from gemel.query.tables import Tables
from gemel.query.token import Key, check_key
from gemel.query.tree import Column

__all__ = ["Compiled", "Fetch", "Layout", "Member", "Window", "to_sql"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Where a row has the key of a document: at `at` the number, and of a relationship its id after it."""

    at: int
    collection: Collection


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an answer's row: at `at` in the row itself, or by a way into a document that is fetched."""

    name: str
    at: int | None = None
    fetch: Fetch | None = None
    way: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What a row of the statement is: the document of `whole`, or members; and its key from `key_at` on."""

    whole: Fetch | None = None
    members: tuple[Member, ...] = ()
    key_at: int | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement and its parameters, what its rows are, and what is worth saying beside them."""

    sql: str
    parameters: tuple[Any, ...]
    layout: Layout
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows a page has: those after a key, None at the start; at most so many."""

    after: Key | None
    rows_max: int


def to_sql(query: Query, window: Window, tables: Tables) -> Compiled:
    """Return the statement of a query whose subjects are all bound.

    Raises InvalidError (BadRequest) where the window's key is not one of this query.
    """
    scope = Scope(query, tables)
    condition = condition_sql(query.where, scope) if query.where else TRUE
    if isinstance(query.selection, Count):
        whence = from_sql(query, scope)
        whole = sql("SELECT count(*) FROM {} WHERE {}", whence.sql, condition)
        return Compiled(whole.text, whole.parameters, Layout(members=(Member("COUNT", 0),)), query.warnings)
    columns, layout = _columns(query, scope)
    whence = from_sql(query, scope)
    keys = [key.sql for key in whence.key]
    whole = sql(
        "SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}",
        joined(", ", [*columns, *keys]),
        whence.sql,
        all_of([_after(whence, window.after), condition]),
        joined(", ", keys),
        param(window.rows_max),
    )
    return Compiled(whole.text, whole.parameters, layout, query.warnings)


def _after(whence: From, after: Key | None) -> Sql:
    if after is None:
        return TRUE
    check_key(after, [key.type for key in whence.key])
    values = [param(value, key.type) for key, value in zip(whence.key, after, strict=True)]
    return sql("({}) > ({})", joined(", ", [key.sql for key in whence.key]), joined(", ", values))


def _columns(query: Query, scope: Scope) -> tuple[list[Sql], Layout]:
    """Return what a row must have, and where.

    A source of which just columns are selected is not fetched as a document.
    """
    columns: list[Sql] = []
    if isinstance(query.selection, Everything):
        assert query.default is not None
        fetch = _fetch(query, scope, columns, query.default)
        return columns, Layout(whole=fetch, key_at=len(columns))
    assert isinstance(query.selection, Items)
    items = query.selection.items
    known = {item: SYSTEM[query.source(item.source).collection].get(item.way) for item in items}
    documents = {item.source for item in items if not isinstance(known[item], Column)}
    fetches = {source: _fetch(query, scope, columns, source) for source in sorted(documents)}
    members = []
    for item in items:
        column = known[item]
        if item.source in fetches:
            members.append(Member(item.name, fetch=fetches[item.source], way=item.way))
        elif isinstance(column, Column):
            columns.append(scope.column(item.source, column))
            members.append(Member(item.name, at=len(columns) - 1))
    return columns, Layout(members=tuple(members), key_at=len(columns))


def _fetch(query: Query, scope: Scope, columns: list[Sql], source: str) -> Fetch:
    collection = query.source(source).collection
    found = Fetch(len(columns), collection)
    columns.append(scope.number(source))
    if collection is Collection.RELATIONSHIPS:
        columns.append(Sql(f"{scope.alias(source)}.relationship_id"))
    return found

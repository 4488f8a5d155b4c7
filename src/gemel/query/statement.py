"""The last pass: one statement for a page of a bound query.

A page of twins is their numbers; a page of relationships is all that their documents are made of. Pages go by
key, so that what is written between two pages neither repeats nor hides a row that was there all the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gemel.query.fields import RelationshipScope, Scope, TwinScope, condition_sql
from gemel.query.sql import Sql, all_of, joined, param, sql
from gemel.query.tree import And, Collection, Column, Condition, Count, Or, Query, Test

__all__ = ["START", "Compiled", "Key", "Window", "to_sql"]

RELATIONSHIP_ROW = """r.source_no, r.relationship_id, s.twin_id, r.name, g.twin_id, r.properties,
    (extract(epoch FROM r.recorded) * 1000000)::bigint"""
RELATIONSHIPS = """relationship r
JOIN twin s ON s.tenant = r.tenant AND s.twin_no = r.source_no
JOIN twin g ON g.tenant = r.tenant AND g.twin_no = r.target_no"""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement and its parameters, and what is worth saying beside its rows."""

    sql: str
    parameters: tuple[Any, ...]
    warnings: tuple[str, ...] = ()


Key = tuple[int, str]
"""Where a page ended: the twin's number, and of a relationship its id."""

START: Key = (-1, "")


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows a page has: those after a key, at most so many."""

    after: Key
    rows_max: int


def to_sql(query: Query, window: Window) -> Compiled:
    """Return the statement of a query whose subjects are all bound."""
    statement = _twins if query.collection is Collection.TWINS else _relationships
    whole = statement(query, window)
    return Compiled(whole.text, whole.parameters, query.warnings)


def _twins(query: Query, window: Window) -> Sql:
    scope = TwinScope()
    terms = query.where.terms if isinstance(query.where, And) else (query.where,) if query.where else ()
    inner = [term for term in terms if _of_columns(term)]
    outer = [term for term in terms if not _of_columns(term)]
    far = condition_sql(scope, And(tuple(outer)))
    near = all_of([sql("t.twin_no > {}", param(window.after[0])), *_conditions(scope, inner)])
    counted = isinstance(query.selection, Count)
    order = "" if counted else " ORDER BY t.twin_no"
    source = Sql("twin t")
    if outer:
        columns = joined(", ", [Sql("t.twin_no"), *scope.columns.values()])
        source = sql(f"(SELECT {{}} FROM twin t WHERE {{}}{order} OFFSET 0) t", columns, near)
        near = far
    if counted:
        return sql("SELECT count(*) FROM {} WHERE {}", source, near)
    limit = param(window.rows_max)
    return sql(f"SELECT t.twin_no FROM {{}} WHERE {{}}{order} LIMIT {{}}", source, near, limit)


def _relationships(query: Query, window: Window) -> Sql:
    after = sql("(r.source_no, r.relationship_id) > ({}, {})", param(window.after[0]), param(window.after[1]))
    terms = (query.where,) if query.where else ()
    conditions = all_of([after, *_conditions(RelationshipScope(), terms)])
    if isinstance(query.selection, Count):
        return sql(f"SELECT count(*) FROM {RELATIONSHIPS} WHERE {{}}", conditions)
    return sql(
        f"SELECT {RELATIONSHIP_ROW} FROM {RELATIONSHIPS} WHERE {{}} "
        "ORDER BY r.source_no, r.relationship_id LIMIT {}",
        conditions,
        param(window.rows_max),
    )


def _conditions(scope: Scope, terms: Iterable[Condition]) -> list[Sql]:
    return [condition_sql(scope, term) for term in terms]


def _of_columns(condition: Condition) -> bool:
    """Say whether a condition asks of the twin's own row only, so that its indexes may serve."""
    if isinstance(condition, Test):
        return isinstance(condition.subject, Column)
    return isinstance(condition, And | Or) and all(_of_columns(term) for term in condition.terms)

"""The last pass: one statement for a page of a bound query.

A page of twins is their numbers; a page of relationships is all that their documents are made of. Pages go by
key, so that what is written between two pages neither repeats nor hides a row that was there all the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from gemel.query.fields import condition_sql
from gemel.query.sql import TRUE, Sql, all_of, joined, param, sql
from gemel.query.tree import Collection, Count, Query

__all__ = ["START", "Compiled", "Key", "Window", "to_sql"]


class Source(NamedTuple):
    """What a collection is read from: the rows of its answer, its tables, and the key of its order."""

    row: str
    tables: str
    key: str


TWINS = Source("t.twin_no", "twin t", "t.twin_no")
RELATIONSHIPS = Source(
    """r.source_no, r.relationship_id, s.twin_id, r.name, g.twin_id, r.properties,
    (extract(epoch FROM r.recorded) * 1000000)::bigint""",
    """relationship r
JOIN twin s ON s.tenant = r.tenant AND s.twin_no = r.source_no
JOIN twin g ON g.tenant = r.tenant AND g.twin_no = r.target_no""",
    "r.source_no, r.relationship_id",
)


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
    condition = condition_sql(query.where) if query.where else TRUE
    if query.collection is Collection.TWINS:
        whole = _statement(query, TWINS, window, [param(window.after[0])], condition)
    else:
        whole = _statement(query, RELATIONSHIPS, window, [param(part) for part in window.after], condition)
    return Compiled(whole.text, whole.parameters, query.warnings)


def _statement(query: Query, source: Source, window: Window, after: list[Sql], condition: Sql) -> Sql:
    if isinstance(query.selection, Count):
        return sql(f"SELECT count(*) FROM {source.tables} WHERE {{}}", condition)
    following = sql(f"({source.key}) > ({{}})", joined(", ", after))
    return sql(
        f"SELECT {source.row} FROM {source.tables} WHERE {{}} ORDER BY {source.key} LIMIT {{}}",
        all_of([following, condition]),
        param(window.rows_max),
    )

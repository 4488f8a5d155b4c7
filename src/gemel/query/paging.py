"""Where a page starts: the condition that rows come after a key, in whatever order they are."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.query.sql import FALSE, TRUE, Sql, all_of, any_of, joined, param, sql
from gemel.query.token import Key, check_key
from gemel.query.values import SortPart

__all__ = ["after_key", "key_column", "limit_sql", "order_sql"]


def after_key(parts: Sequence[SortPart], never_null: Sequence[SortPart], after: Key | None) -> Sql:
    """Return the condition that a row comes after a key of `parts`, then of `never_null`.

    The latter ascend, so that alone they are one comparison, which can use an index. Raises InvalidError
    (BadRequest) where the key has not these parts.
    """
    if after is None:
        return TRUE
    check_key(after, [part.type for part in (*parts, *never_null)], nullable=len(parts))
    ending = [param(value, part.type) for value, part in zip(after[len(parts) :], never_null, strict=True)]
    condition = FALSE
    if never_null:
        condition = sql("({}) > ({})", joined(", ", [part.sql for part in never_null]), joined(", ", ending))
    for part, value in reversed(list(zip(parts, after, strict=False))):
        if value is None:
            condition = all_of([sql("{} IS NULL", part.sql), condition])
            continue
        bound = param(value, part.type)
        later = sql(
            "({} {} {} OR {} IS NULL)", part.sql, Sql("<" if part.descending else ">"), bound, part.sql
        )
        condition = any_of([later, all_of([sql("{} = {}", part.sql, bound), condition])])
    return condition


def order_sql(parts: Sequence[SortPart]) -> Sql:
    """Return the terms of an ORDER BY; of parts that may be null, null comes last."""
    return joined(
        ", ", [sql("{} {} NULLS LAST", part.sql, Sql("DESC" if part.descending else "ASC")) for part in parts]
    )


def limit_sql(rows_max: int, offset: int, after: Key | None) -> Sql:
    """Return how many rows a page has, and how many it passes over, of which only the first page knows."""
    if not offset or after is not None:
        return sql("LIMIT {}", param(rows_max))
    return sql("LIMIT {} OFFSET {}", param(rows_max), param(offset))


def key_column(part: SortPart) -> Sql:
    """Return a part of a key as a column: numbers and JSON as text, which keeps every digit."""
    return sql("{}::text", part.sql) if part.type in ("float8", "jsonb") else part.sql

"""Functions of a path's samples in the time before a query, as SQL."""

from __future__ import annotations

from gemel.base.clock import from_us
from gemel.history.values import JSON
from gemel.query.scope import Scope
from gemel.query.sql import Sql, inner_sql, joined, param, sql
from gemel.query.tree import Cell, StoredWindow

__all__ = ["window_sql"]

VALUE = "(CASE WHEN s.kind < 2 THEN to_jsonb(s.num) ELSE {} END)"
NUMBER = "(CASE WHEN s.kind < 2 THEN s.num WHEN jsonb_typeof({}) = 'number' THEN {}::float8 END)"
ENDS = {"first": "ASC", "last": "DESC"}


def window_sql(window: StoredWindow, source: str, scope: Scope) -> Sql:
    """Return the value of a function over the samples of a window, as jsonb; null over none, but for count.

    Bad samples and removals do not count. avg, min, max and sum are of numbers, in double precision, as they are
    elsewhere over history.
    """
    if source in scope.query.optional:
        return sql(
            "(CASE WHEN {} IS NOT NULL THEN {} END)", scope.number(source), _function(window, source, scope)
        )
    return _function(window, source, scope)


def _function(window: StoredWindow, source: str, scope: Scope) -> Sql:
    if not window.cells:
        return Sql("to_jsonb(0)") if window.function == "count" else Sql("NULL::jsonb")
    samples = joined(" UNION ALL ", [_samples(scope, source, cell, window) for cell in window.cells])
    if window.function in ENDS:
        return sql(
            f"(SELECT s.value FROM ({{}}) AS s WHERE s.value IS NOT NULL "
            f"ORDER BY s.source_time {ENDS[window.function]} LIMIT 1)",
            samples,
        )
    column = "value" if window.function == "count" else "number"
    return sql(f"(SELECT to_jsonb({window.function}(s.{column})) FROM ({{}}) AS s)", samples)


def _samples(scope: Scope, source: str, cell: Cell, window: StoredWindow) -> Sql:
    ends = [
        param(from_us(max(0, each)), "timestamptz") for each in (scope.now_us - window.span_us, scope.now_us)
    ]
    rows = scope.tables.samples(scope.number(source), param(cell.path_no, "bigint"), (ends[0], ends[1]))
    inner = inner_sql(Sql("s.doc"), cell.inner)
    kinds = f"s.kind = {JSON}" if cell.inner else f"s.kind <= {JSON}"
    value, number = sql(VALUE, inner), sql(NUMBER, inner, inner)
    return sql(
        f"SELECT {{}} AS value, {{}} AS number, s.source_time FROM {{}} AS s WHERE {kinds}",
        value,
        number,
        rows,
    )

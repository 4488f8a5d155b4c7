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
SUMS = {
    "count": "coalesce(sum(s.samples), 0)",
    "sum": "sum(s.total)",
    "avg": "sum(s.total) / nullif(sum(s.numbers), 0)::float8",
    "min": "min(s.low)",
    "max": "max(s.high)",
}
"""What functions are of sums, as roll-ups have them."""


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
    sums = None if window.function in ENDS else _sums(window, source, scope)
    if sums is not None:
        return sql(f"(SELECT to_jsonb({SUMS[window.function]}) FROM ({{}}) AS s)", sums)
    samples = joined(" UNION ALL ", [_samples(scope, source, cell, window) for cell in window.cells])
    if window.function in ENDS:
        return sql(
            f"(SELECT s.value FROM ({{}}) AS s WHERE s.value IS NOT NULL "
            f"ORDER BY s.source_time {ENDS[window.function]} LIMIT 1)",
            samples,
        )
    column = "value" if window.function == "count" else "number"
    return sql(f"(SELECT to_jsonb({window.function}(s.{column})) FROM ({{}}) AS s)", samples)


def _sums(window: StoredWindow, source: str, scope: Scope) -> Sql | None:
    """Return the sums of a window, from roll-ups where they serve; None where the samples themselves are asked."""
    if any(cell.inner for cell in window.cells):
        return None
    # The window is without its start and with its end.
    bounds = max(0, scope.now_us - window.span_us + 1), scope.now_us + 1
    number = scope.number(source)
    found = [scope.tables.sums(number, param(cell.path_no, "bigint"), bounds) for cell in window.cells]
    rows = [sql("SELECT * FROM {} AS r", each) for each in found if each is not None]
    return joined(" UNION ALL ", rows) if len(rows) == len(found) else None


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

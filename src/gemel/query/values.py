"""A field's value as SQL: to be shown, sorted by, grouped by, or aggregated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gemel.base.errors import InternalError
from gemel.history.values import JSON, REMOVED
from gemel.query.clauses import Function
from gemel.query.fields import etag_sql
from gemel.query.scope import Scope
from gemel.query.sql import Sql, inner_sql, joined, param, sql
from gemel.query.tree import (
    Cell,
    Column,
    JsonProperty,
    Of,
    PathColumn,
    Stored,
    StoredInstant,
    StoredWindow,
    Version,
)
from gemel.query.windows import window_sql

__all__ = [
    "COMPONENT",
    "TOLD",
    "Kind",
    "SortPart",
    "Value",
    "aggregate_sql",
    "shown_sql",
    "sort_parts",
    "stored_sql",
    "told_sql",
    "value_of",
]

Kind = Literal["jsonb", "text", "timestamptz", "bigint"]

TOLD = "{}::text || coalesce({}::text, {}::text)"
"""Of kind, num and doc: a value that is there as text, its kind, one digit, and then itself."""

COMPONENT = "component"
"""What is told of a name that is not a property's but a component's."""

INSTANTS = {"lastUpdateTime": "recorded", "sourceTime": "source_time"}
TIME_TEXT = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"
DOUBLE_MAX = 1.7976931348623157e308


@dataclass(frozen=True, slots=True)
class Value:
    """An expression that is null where there is no value, and its type in SQL."""

    sql: Sql
    kind: Kind


@dataclass(frozen=True, slots=True)
class SortPart:
    """One of the expressions by which rows are in order; null comes last."""

    sql: Sql
    type: str
    descending: bool = False


def value_of(of: Of, scope: Scope) -> Value:
    """Return the value of a bound field. A component has none."""
    source = of.source
    match of.field:
        case Column() as column:
            return Value(scope.column(source, column), "text")
        case Version.ETAG:
            return Value(etag_sql(scope, source), "text")
        case Version.LAST_UPDATE:
            return Value(scope.newest(source), "timestamptz")
        case Stored(cells):
            found = [_cell(scope, source, cell) for cell in cells]
            return Value(sql("coalesce({})", joined(", ", found)) if found else Sql("NULL::jsonb"), "jsonb")
        case StoredInstant(path_no, which):
            if path_no is None:
                return Value(Sql("NULL::timestamptz"), "timestamptz")
            row = scope.value(source, path_no)
            return Value(
                sql(f"(SELECT l.{INSTANTS[which]} FROM {{}} AS l WHERE l.kind <> {REMOVED})", row),
                "timestamptz",
            )
        case StoredWindow() as window:
            return Value(window_sql(window, source, scope), "jsonb")
        case PathColumn() as column:
            return Value(sql("{}::bigint", scope.path(source, column)), "bigint")
        case JsonProperty(names):
            return Value(inner_sql(scope.row(source, "properties"), names), "jsonb")
    raise InternalError("InternalError", f"{of!r} has no value.")


def _cell(scope: Scope, source: str, cell: Cell) -> Sql:
    row = scope.value(source, cell.path_no)
    document = inner_sql(Sql("l.doc"), cell.inner)
    if cell.inner:
        return sql(f"(SELECT {{}} FROM {{}} AS l WHERE l.kind = {JSON})", document, row)
    return sql(
        f"(SELECT CASE WHEN l.kind < {JSON} THEN to_jsonb(l.num) WHEN l.kind = {JSON} THEN {{}} END FROM {{}} AS l)",
        document,
        row,
    )


def told_sql(component: Sql, told: Sql) -> Sql:
    """Return what `stored_sql` tells, or COMPONENT where a condition says so."""
    return sql(f"CASE WHEN {{}} THEN '{COMPONENT}' ELSE {{}} END", component, told)


def stored_sql(scope: Scope, number: Sql, stored: Stored, row: str | None = None) -> Sql:
    """Return a property of the twin of a number as it is stored: its kind, one digit, and then its value as text.

    It is null where the twin has none. A number takes less time as text than in jsonb, which has decimals.

    It is a look-up for each row, which the planner does last: just for the rows of the page. `row` is as of
    `Tables.value`.
    """
    found = []
    for cell in stored.cells:
        value = scope.tables.value(number, cell.path_no, row)
        if cell.inner:
            inner = inner_sql(Sql("l.doc"), cell.inner)
            picked = sql(f"(SELECT {{}} AS v FROM {{}} AS l WHERE l.kind = {JSON})", inner, value)
            found.append(sql(f"(SELECT '{JSON}' || d.v::text FROM {{}} AS d WHERE d.v IS NOT NULL)", picked))
        else:
            told = TOLD.format("l.kind", "l.num", "l.doc")
            found.append(sql(f"(SELECT {told} FROM {{}} AS l WHERE l.kind <> {REMOVED})", value))
    return sql("coalesce({})", joined(", ", found)) if found else Sql("NULL::text")


def sort_parts(value: Value, *, descending: bool) -> list[SortPart]:
    """Return by what values are in order: numbers, then truth values, then texts by code point; all else is last."""
    each = value.sql
    match value.kind:
        case "text":
            return [SortPart(sql('({} COLLATE "C")', each), "text", descending)]
        case "timestamptz":
            return [SortPart(sql(MICROSECONDS, each), "bigint", descending)]
        case "bigint":
            return [SortPart(each, "bigint", descending)]
        case "jsonb":
            plain = sql("(CASE WHEN jsonb_typeof({}) IN ('number', 'boolean') THEN {} END)", each, each)
            text = sql('({} COLLATE "C")', _text(each))
            parts = [SortPart(plain, "jsonb", descending), SortPart(text, "text", descending)]
            return parts[::-1] if descending else parts


def aggregate_sql(function: Function, value: Value) -> Value:
    """Return the aggregate of a value over a group, null over none.

    Sums are exact, in decimal, whatever the order; MIN and MAX go by the order of `sort_parts`, but pass over
    truth values.
    """
    each = value.sql
    if function is Function.COUNT:
        return Value(sql("count({})", each), "bigint")
    if value.kind != "jsonb":
        plain = sql('{} COLLATE "C"', each) if value.kind == "text" else each
        return Value(sql(f"{function.lower()}({{}})", plain), value.kind)
    number = sql("(CASE WHEN jsonb_typeof({}) = 'number' THEN {}::numeric END)", each, each)
    if function in (Function.SUM, Function.AVG):
        return Value(_number_json(sql(f"{function.lower()}({{}})", number)), "jsonb")
    numbers = sql(f"to_jsonb({function.lower()}({{}}))", number)
    texts = sql(f'to_jsonb({function.lower()}({{}} COLLATE "C"))', _text(each))
    first, second = (numbers, texts) if function is Function.MIN else (texts, numbers)
    return Value(sql("coalesce({}, {})", first, second), "jsonb")


def shown_sql(value: Value) -> Sql:
    """Return a value as an answer has it: times are RFC 3339 text."""
    return sql(TIME_TEXT, value.sql) if value.kind == "timestamptz" else value.sql


def _text(each: Sql) -> Sql:
    return sql("(CASE WHEN jsonb_typeof({}) = 'string' THEN {} #>> '{{}}' END)", each, each)


def _number_json(number: Sql) -> Sql:
    """Return a decimal as a number that JSON's readers take: whole where it is, else a double; none beyond."""
    return sql(
        "(SELECT CASE WHEN n = trunc(n) AND n BETWEEN -9223372036854775808 AND 9223372036854775807 "
        "THEN to_jsonb(n) "
        "WHEN abs(n) <= {} THEN to_jsonb(n::float8) END FROM (SELECT {} AS n) AS d)",
        param(str(DOUBLE_MAX), "numeric"),
        number,
    )

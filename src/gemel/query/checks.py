"""What a check means as SQL on a number, a text, a time or a JSON value that is there.

Each function returns a condition that is true just where the check (negated where it says so) is true of the
expression; elsewhere it is false or null, which a WHERE does not tell apart. Only IS_… tests are asked here
without their negation: the negation of those holds where the expression is not there at all, so it belongs to
whoever knows that (`gemel.query.fields`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

from gemel.history.values import canonical_json
from gemel.query.sql import FALSE, TRUE, Sql, all_of, any_of, param, sql
from gemel.query.tree import (
    Check,
    Compare,
    HasItem,
    HasText,
    HasType,
    HasWords,
    OfModel,
    OneOf,
    Operator,
    Scalar,
    TextPlace,
    TypeName,
)

__all__ = ["on_json", "on_number", "on_text", "on_time"]

JSON_TYPES: dict[TypeName, tuple[str, ...]] = {
    TypeName.NULL: ("null",),
    TypeName.BOOL: ("boolean",),
    TypeName.NUMBER: ("number",),
    TypeName.STRING: ("string",),
    TypeName.PRIMITIVE: ("string", "number", "boolean", "null"),
    TypeName.OBJECT: ("object",),
}
TEXT_TYPES = (TypeName.DEFINED, TypeName.STRING, TypeName.PRIMITIVE)
NUMBER_TYPES = (TypeName.DEFINED, TypeName.NUMBER, TypeName.PRIMITIVE)
TIME_TEXT = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def on_number(check: Check, value: Sql) -> Sql:
    """Return the condition on a double precision expression, exact for whole literals of any size."""
    match check:
        case Compare():
            return _compare_number(check.operator, check.literal.value, value)
        case OneOf():
            numbers = [each for each in (_double(item.value) for item in check.literals) if each is not None]
            return _one_of(check, value, numbers, "float8[]")
        case HasType():
            return _truth(check.type in NUMBER_TYPES)
        case _:
            return FALSE


def on_text(check: Check, value: Sql) -> Sql:
    """Return the condition on a text expression; texts are ordered by code point."""
    match check:
        case Compare(operator, literal):
            if not isinstance(literal.value, str):
                return _unlike(operator)
            return _compare_text(operator, value, param(literal.value))
        case OneOf():
            return _one_of(
                check, value, [each.value for each in check.literals if isinstance(each.value, str)], "text[]"
            )
        case HasType():
            return _truth(check.type in TEXT_TYPES)
        case HasText():
            return _has_text(check, value)
        case HasWords():
            return _has_words(check, value)
        case _:
            return FALSE


def on_time(check: Check, value: Sql) -> Sql:
    """Return the condition on a timestamptz expression, which a query otherwise sees as RFC 3339 text."""
    match check:
        case Compare(operator, literal):
            if not isinstance(literal.value, datetime):
                return _unlike(operator)
            return sql(f"{{}} {operator} {{}}", value, param(literal.value, "timestamptz"))
        case OneOf():
            times = [each.value for each in check.literals if isinstance(each.value, datetime)]
            return _one_of(check, value, times, "timestamptz[]")
        case _:
            return on_text(check, sql(TIME_TEXT, value))


def on_json(check: Check, value: Sql) -> Sql:
    """Return the condition on a jsonb expression, whose value may be of any type."""
    match check:
        case Compare():
            return _compare_json(check.operator, check.literal.value, value)
        case OneOf():
            return _one_of(check, value, [_json(each.value) for each in check.literals], "jsonb[]")
        case HasType():
            return _json_type(value, *JSON_TYPES.get(check.type, ()))
        case HasText():
            return all_of([_json_type(value, "string"), _has_text(check, _unquoted(value))])
        case HasWords():
            return all_of([_json_type(value, "string"), _has_words(check, _unquoted(value))])
        case HasItem():
            contains = sql("{} @> {}", value, param(_json(check.item.value), "jsonb"))
            return all_of(
                [_json_type(value, "array"), sql("NOT {}", contains) if check.negated else contains]
            )
        case OfModel():
            return FALSE


def _compare_number(operator: Operator, literal: Scalar, value: Sql) -> Sql:
    if isinstance(literal, bool) or not isinstance(literal, int | float):
        return _unlike(operator)
    nearest = float(literal)
    if nearest != literal:
        # A whole number that no double is: what is above or below it is the same as above or below a neighbour.
        if operator in (Operator.EQ, Operator.NE):
            return _unlike(operator)
        upward = operator in (Operator.GT, Operator.GE)
        operator = Operator.GE if upward else Operator.LE
        nearest = _neighbour(nearest, literal, upward=upward)
    return sql(f"{{}} {operator} {{}}", value, param(nearest, "float8"))


def _neighbour(nearest: float, literal: int | float, *, upward: bool) -> float:
    if (nearest > literal) is upward:
        return nearest
    return math.nextafter(nearest, math.inf if upward else -math.inf)


def _compare_text(operator: Operator, value: Sql, other: Sql) -> Sql:
    if operator in (Operator.EQ, Operator.NE):
        return sql(f"{{}} {operator} {{}}", value, other)
    return sql(f'{{}} COLLATE "C" {operator} {{}}', value, other)


def _compare_json(operator: Operator, literal: Scalar, value: Sql) -> Sql:
    if operator in (Operator.EQ, Operator.NE):
        return sql(f"{{}} {operator} {{}}", value, param(_json(literal), "jsonb"))
    if isinstance(literal, str):
        ordered = _compare_text(operator, _unquoted(value), param(literal))
        return all_of([_json_type(value, "string"), ordered])
    kind = "boolean" if isinstance(literal, bool) else "number"
    ordered = sql(f"{{}} {operator} {{}}", value, param(_json(literal), "jsonb"))
    return all_of([_json_type(value, kind), ordered])


def _one_of(check: OneOf, value: Sql, items: Sequence[object], array: str) -> Sql:
    if not items:
        return _truth(check.negated)
    operator = "<> ALL" if check.negated else "= ANY"
    return sql(f"{{}} {operator}({{}})", value, param(list(items), array))


PLACES: dict[TextPlace, Callable[[Sql, Sql], Sql]] = {
    TextPlace.STARTSWITH: lambda value, part: sql("starts_with({}, {})", value, part),
    TextPlace.ENDSWITH: lambda value, part: sql("right({}, length({})) = {}", value, part, part),
    TextPlace.CONTAINS: lambda value, part: sql("strpos({}, {}) > 0", value, part),
}


def _has_text(check: HasText, value: Sql) -> Sql:
    found = PLACES[check.place](value, param(str(check.text.value), "text"))
    return sql("NOT ({})", found) if check.negated else found


def _has_words(check: HasWords, value: Sql) -> Sql:
    found = [sql("strpos(lower({}), lower({})) > 0", value, param(word, "text")) for word in check.words]
    return sql("NOT ({})", all_of(found)) if check.negated else all_of(found)


def _json_type(value: Sql, *names: str) -> Sql:
    if not names:
        return sql("{} IS NOT NULL", value)
    kinds = [sql(f"jsonb_typeof({{}}) = '{name}'", value) for name in names]
    return any_of(kinds)


def _unquoted(value: Sql) -> Sql:
    return sql("({} #>> '{{}}')", value)


def _unlike(operator: Operator) -> Sql:
    """Return the comparison of values of two types: they differ, and have no order."""
    return _truth(operator is Operator.NE)


def _truth(value: bool) -> Sql:
    return TRUE if value else FALSE


def _double(value: Scalar) -> float | None:
    """Return the double that a number is, or None where it is not just that."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if float(value) == value else None


def _json(value: Scalar) -> str:
    # Stored values have the same form: jsonb compares numbers by their decimal digits.
    return canonical_json(value)

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.query.bind import Catalog
from gemel.query.clauses import IndexUse, Query
from gemel.query.compiler import BINDING, analyse
from gemel.query.indexes import index_sql, indexable_paths
from gemel.query.tree import Compare, HasText, Literal, OneOf, Operator, TextPlace

CATALOG = Catalog({"a": 0, "b": 1, "m.x": 2}, {}, promoted=frozenset({0, 1}))
SELECT = "SELECT i.twin_no FROM promoted_value AS i WHERE (i.path_no = %s::int AND {})"


def bound(condition: str) -> Query:
    query = analyse(f"SELECT * FROM digitaltwins T WHERE {condition}")
    for step in BINDING:
        query = step(query, CATALOG)
    return query


def used(condition: str) -> list[int]:
    return [use.path_no for use in bound(condition).indexes]


@pytest.mark.parametrize(
    ("condition", "paths"),
    [
        ("T.a = 1", [0]),
        ("T.a > 1 AND T.b = 'x'", [1, 0]),
        ("T.a = 1 OR T.b = 2", []),
        ("NOT T.a = 1", []),
        ("NOT T.a < 1", [0]),
        ("T.a != 1", []),
        ("T.a IN [1, 2]", [0]),
        ("T.a IN [1, 'x']", []),
        ("T.a NIN [1, 2]", []),
        ("T.a = null", []),
        ("STARTSWITH(T.b, 'pre')", [1]),
        ("ENDSWITH(T.b, 'pre')", []),
        ("NOT STARTSWITH(T.b, 'pre')", []),
        ("IS_NUMBER(T.a)", []),
        ("T.m.x = 1", []),
        ("T.a.b = 1", []),
    ],
)
def test_an_index_is_used_where_every_row_must_pass_a_test_that_it_can_answer(
    condition: str, paths: list[int]
) -> None:
    assert used(condition) == paths


def test_what_an_index_would_help_is_said() -> None:
    assert indexable_paths(bound("T.m.x = 1 AND T.a > 2 AND T.m.x < 5 AND T.b != 3")) == {"m.x": 2, "a": 0}


def test_the_bounds_are_parameters_and_never_too_narrow() -> None:
    def said(check: Any) -> tuple[str, tuple[Any, ...]] | None:
        found = index_sql(IndexUse("T", 7, check), "i")
        if found is None:
            return None
        return found.text.removeprefix("(").removesuffix(")"), found.parameters

    less = Compare(Operator.LT, Literal(2**53 + 1))
    assert said(less) == (SELECT.format("i.num <= %s::float8"), (7, float(2**53)))
    long = Compare(Operator.EQ, Literal("x" * 600))
    assert said(long) == (SELECT.format("i.text = %s::text"), (7, "x" * 500))
    flags = OneOf((Literal(True), Literal(False)))
    assert said(flags) == (SELECT.format("i.flag = ANY(%s::boolean[])"), (7, [True, False]))
    assert said(Compare(Operator.EQ, Literal(10**400))) is None
    end = HasText(TextPlace.STARTSWITH, Literal("a\U0010ffff"))
    assert said(end) == (SELECT.format("i.text >= %s::text"), (7, "a\U0010ffff"))
    before_surrogates = said(HasText(TextPlace.STARTSWITH, Literal("a\ud7ff")))
    assert before_surrogates is not None
    assert before_surrogates[1] == (7, "a\ud7ff", "a\ue000")


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
VALUES = (
    st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.booleans()
)
HOLDS = {
    Operator.EQ: lambda one, other: one == other,
    Operator.LT: lambda one, other: one < other,
    Operator.LE: lambda one, other: one <= other,
    Operator.GT: lambda one, other: one > other,
    Operator.GE: lambda one, other: one >= other,
}
INDEXED = {
    "<=": HOLDS[Operator.LE],
    ">=": HOLDS[Operator.GE],
    "=": HOLDS[Operator.EQ],
    "<": HOLDS[Operator.LT],
}


@settings(deadline=None)
@given(VALUES, VALUES, st.sampled_from(list(HOLDS)))
def test_what_matches_is_within_the_bounds(value: Any, literal: Any, operator: Operator) -> None:
    found = index_sql(IndexUse("T", 7, Compare(operator, Literal(literal))), "i")
    if (
        found is None
        or kind(value) is not kind(literal)
        or (kind(value) is bool and operator is not Operator.EQ)
    ):
        return
    if HOLDS[operator](value, literal):
        bound_operator = found.text.split("i.")[-1].split()[1]
        assert INDEXED[bound_operator](held(value), held(found.parameters[1])), (value, literal, found)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_a_text_with_a_prefix_is_within_the_bounds(text: str, prefix: str) -> None:
    found = index_sql(IndexUse("T", 7, HasText(TextPlace.STARTSWITH, Literal(prefix))), "i")
    if found is not None and text.startswith(prefix):
        bounds = [each.encode() for each in found.parameters[1:]]
        assert bounds[0] <= text.encode()
        assert all(text.encode() < end for end in bounds[1:])


def kind(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def held(value: Any) -> Any:
    """As PostgreSQL compares what the index has: texts by their bytes."""
    if isinstance(value, str):
        return value.encode()
    assert isinstance(value, bool) or math.isfinite(value)
    return value if isinstance(value, bool) else float(value)

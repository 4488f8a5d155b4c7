from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.query.bind import Catalog, wanted_models, wanted_paths
from gemel.query.compiler import ANALYSIS, BINDING, analyse, compile_query
from gemel.query.limits import STEPS_MAX
from gemel.query.parse import parse
from gemel.query.polarity import push_negations
from gemel.query.statement import Window
from gemel.query.tables import LIVE
from gemel.query.tree import And, Condition, Not, Or
from gemel.query.tree import Test as Leaf

CATALOG = Catalog(
    {"a": 0, "b": 1, "m.x": 2, "m": 3},
    {"dtmi:base;1": frozenset({"dtmi:base;1", "dtmi:more;1"})},
)
RELATIONSHIP = (
    "SELECT r0.source_no, r0.relationship_id, t1.twin_no FROM relationship AS r0 "
    "CROSS JOIN LATERAL (SELECT r0.source_no) AS t1 (twin_no) "
    "CROSS JOIN LATERAL (SELECT r0.target_no) AS t2 (twin_no){} "
    "WHERE {} ORDER BY t1.twin_no, r0.relationship_id LIMIT %s"
)
SOURCE = " JOIN twin AS s0 ON s0.twin_no = r0.source_no"
TARGET = " JOIN twin AS g0 ON g0.twin_no = r0.target_no"
TWINS = "SELECT t0.twin_no FROM twin AS t0 WHERE {} ORDER BY t0.twin_no LIMIT %s"
EXISTS = (
    "EXISTS (SELECT FROM (SELECT num, kind, doc, recorded, source_time, quality FROM latest "
    "WHERE series = (t0.twin_no << 20 | %s::bigint) OFFSET 0) AS l WHERE {})"
)
NUMBER = "(l.kind < 2 AND l.num {} %s::float8)"
JSON = "(l.kind = 2 AND l.doc {} %s::jsonb)"
JSON_NUMBER = "(l.kind = 2 AND (jsonb_typeof(l.doc) = 'number' AND l.doc {} %s::jsonb))"
INNER = "(l.kind = 2 AND (l.doc -> %s::text) IS NOT NULL)"


class Compiled(NamedTuple):
    """The statement, in one line."""

    sql: str
    parameters: tuple[Any, ...]
    warnings: tuple[str, ...] = ()


def compiled(text: str, after: tuple[int | str, ...] | None = None) -> Compiled:
    found = compile_query(analyse(text), CATALOG, Window(after, 101), LIVE)
    sql, parameters, _ = found.statement
    return Compiled(" ".join(sql.split()), tuple(parameters), found.warnings)


def counted(source: str) -> tuple[str, tuple[Any, ...]]:
    """Return the FROM and WHERE of a statement that counts, and its parameters."""
    found = compiled(f"SELECT COUNT() FROM {source}")
    assert found.sql.startswith("SELECT g.x0 FROM (SELECT count(*) AS x0 FROM ")
    assert found.sql.endswith(") AS g OFFSET %s")
    inner = found.sql.removeprefix("SELECT g.x0 FROM (SELECT count(*) AS x0 FROM ")
    return inner.removesuffix(") AS g OFFSET %s").replace("ON (r", "ON r"), found.parameters[:-1]


def of_twins(condition: str) -> Compiled:
    return compiled(f"SELECT * FROM digitaltwins T WHERE {condition}")


def test_the_passes_are_these() -> None:
    names = [step.__name__ for step in (*ANALYSIS, *BINDING)]
    assert names == [
        "resolve_names",
        "check_groups",
        "read_times",
        "push_negations",
        "bind_models",
        "bind_paths",
        "bind_indexes",
    ]


@pytest.mark.parametrize(
    ("condition", "sql", "parameters"),
    [
        ("T.$dtId = 'x'", "t0.twin_id = %s", ("x",)),
        ("T.$dtId > 'x'", 't0.twin_id COLLATE "C" > %s', ("x",)),
        ("T.$dtId IN ['x', 5]", "t0.twin_id = ANY(%s::text[])", (["x"],)),
        ("IS_OF_MODEL('dtmi:base;1')", "t0.model_id = ANY(%s::text[])", (["dtmi:base;1", "dtmi:more;1"],)),
        ("NOT IS_OF_MODEL('dtmi:x;1', exact)", "t0.model_id <> ALL(%s::text[])", (["dtmi:x;1"],)),
        (
            "T.a >= 2",
            EXISTS.format(f"({NUMBER.format('>=')} OR {JSON_NUMBER.format('>=')})"),
            (0, 2.0, "2"),
        ),
        ("NOT T.a = 2", EXISTS.format(f"({NUMBER.format('<>')} OR {JSON.format('<>')})"), (0, 2.0, "2")),
        ("T.b = 'x'", EXISTS.format(JSON.format("=")), (1, '"x"')),
        (
            "NOT IS_DEFINED(T.b.c)",
            f"((jsonb_exists(t0.components, %s) OR {EXISTS.format(INNER)})) IS NOT TRUE",
            ("b.c", 1, "c"),
        ),
        (
            "T.$metadata.a.lastUpdateTime < '2026-01-01T01:00:00+01:00'",
            EXISTS.format("(l.kind <> 3 AND l.recorded < %s::timestamptz)"),
            (0, datetime(2026, 1, 1, tzinfo=UTC)),
        ),
    ],
)
def test_conditions_on_twins(condition: str, sql: str, parameters: tuple[Any, ...]) -> None:
    assert of_twins(condition) == Compiled(TWINS.format(sql), (*parameters, 101))


def test_what_is_always_so_is_not_asked() -> None:
    assert of_twins("T.$dtId != 5") == Compiled(TWINS.format("true"), (101,))


def test_a_page_goes_on_after_its_key() -> None:
    found = compiled("SELECT * FROM digitaltwins T WHERE T.$dtId = 'x'", (7,))
    assert found == Compiled(TWINS.format("((t0.twin_no) > (%s::bigint) AND t0.twin_id = %s)"), (7, "x", 101))


def test_a_path_may_be_stored_as_itself_or_within_an_object() -> None:
    assert wanted_paths(analyse("SELECT * FROM digitaltwins T WHERE T.m.x.y = 1 AND T.[[a.b]] = 2")) == {
        "m.x.y",
        "m.x",
        "m",
    }
    found = of_twins("T.m.x = 1")
    assert found.sql.count("EXISTS") == 2
    assert found.parameters == (2, 1.0, "1", 3, "x", "1", 101)


def test_tests_of_one_path_are_one_look_at_its_row() -> None:
    found = of_twins("T.a = true AND (T.a != false OR T.a = 'x' OR T.b = true)")
    assert found.sql.count("EXISTS") == 3
    found = of_twins("T.a > 1 AND NOT (T.a >= 3 OR T.a = 2) AND T.b = true")
    assert found.sql.count("EXISTS") == 2
    assert found.parameters == (0, 1.0, "1", 3.0, "3", 2.0, "2", 1, "true", 101)


def test_counting_needs_no_order() -> None:
    found, _ = counted("digitaltwins T WHERE T.a = true")
    assert found.startswith("twin AS t0 WHERE EXISTS ")
    assert "ORDER" not in found
    assert "LIMIT" not in found


@pytest.mark.parametrize(
    ("condition", "joins", "sql", "parameters"),
    [
        ("R.$sourceId = 'x'", SOURCE, "s0.twin_id = %s", ("x",)),
        ("R.$targetId IN ['x']", TARGET, "g0.twin_id = ANY(%s::text[])", (["x"],)),
        ("NOT STARTSWITH(R.$relationshipName, 'x')", "", "NOT (starts_with(r0.name, %s::text))", ("x",)),
        ("R.p.q = 1", "", "(r0.properties -> %s::text -> %s::text) = %s::jsonb", ("p", "q", "1")),
        (
            "NOT IS_NUMBER(p)",
            "",
            "(jsonb_typeof((r0.properties -> %s::text)) = 'number') IS NOT TRUE",
            ("p",),
        ),
    ],
)
def test_conditions_on_relationships(
    condition: str, joins: str, sql: str, parameters: tuple[Any, ...]
) -> None:
    found = compiled(f"SELECT * FROM relationships R WHERE {condition}")
    assert found == Compiled(RELATIONSHIP.format(joins, sql), (*parameters, 101))


FIRST = "relationship AS r2 ON r2.source_no = t0.twin_no"
NEXT = "CROSS JOIN LATERAL (SELECT r2.target_no) AS t1 (twin_no)"
MATCHED, THEN = FIRST.replace("r2", "r1"), NEXT.replace("r2", "r1").replace("t1", "t2")
HOPS = (
    "JOIN LATERAL (WITH RECURSIVE w (twin_no, depth) AS (SELECT t0.twin_no, 0 UNION SELECT e.twin_no, w.depth + 1 "
    "FROM w CROSS JOIN LATERAL (SELECT e.target_no AS twin_no, e.source_no, e.relationship_id FROM relationship AS e "
    "WHERE e.source_no = w.twin_no AND e.name = ANY(%s::text[]) OFFSET 0) AS e WHERE w.depth < %s::int) "
    "SELECT DISTINCT twin_no FROM (SELECT *, row_number() OVER () AS n FROM w) AS s "
    "WHERE (n <= %s::bigint OR refuse_rows(%s::bigint)) AND depth >= %s::int) AS h1 ON true "
    "CROSS JOIN LATERAL (SELECT h1.twin_no) AS t1 (twin_no)"
)
EITHER = (
    "JOIN LATERAL (SELECT e.*, e.target_no AS other_no FROM relationship AS e WHERE e.source_no = t0.twin_no AND true "
    "UNION ALL SELECT e.*, e.source_no AS other_no FROM relationship AS e WHERE e.target_no = t0.twin_no AND true) "
    "AS r1 ON true CROSS JOIN LATERAL (SELECT r1.other_no) AS t2 (twin_no)"
)


@pytest.mark.parametrize(
    ("source", "joins", "parameters"),
    [
        (
            "digitaltwins a JOIN b RELATED a.feeds",
            f"twin AS t0 JOIN {FIRST} AND r2.name = %s) {NEXT}",
            ("feeds",),
        ),
        (
            "digitaltwins a OPTIONAL JOIN b RELATED a.feeds",
            f"twin AS t0 LEFT JOIN {FIRST} AND r2.name = %s) {NEXT}",
            ("feeds",),
        ),
        ("digitaltwins MATCH (a)-[]->(b)", f"twin AS t0 JOIN {MATCHED} {THEN}", ()),
        (
            "digitaltwins MATCH (a)-[:x|y]->(b)",
            f"twin AS t0 JOIN {MATCHED} AND r1.name = ANY(%s::text[])) {THEN}",
            (["x", "y"],),
        ),
        (
            "digitaltwins MATCH (a)<-[]-(b)",
            "twin AS t0 JOIN relationship AS r1 ON r1.target_no = t0.twin_no "
            "CROSS JOIN LATERAL (SELECT r1.source_no) AS t2 (twin_no)",
            (),
        ),
        ("digitaltwins MATCH (a)-[]-(b)", f"twin AS t0 {EITHER}", ()),
        ("digitaltwins MATCH (a)-[:x*1..3]->(b)", f"twin AS t0 {HOPS}", (["x"], 3, STEPS_MAX, STEPS_MAX, 2)),
    ],
)
def test_links_are_looked_up_from_the_twin_that_is_known(
    source: str, joins: str, parameters: tuple[Any, ...]
) -> None:
    found = counted(f"{source} WHERE a.$dtId = 'x'")
    assert found == (f"{joins} WHERE t0.twin_id = %s", (*parameters, "x"))


def test_the_twin_of_which_most_is_said_drives() -> None:
    pattern = "digitaltwins MATCH (a)-[:f]->(b)-[r:g]->(c) WHERE "
    assert counted(pattern + "c.$dtId = 'x' AND a.a = 1")[0].startswith(
        "twin AS t4 JOIN relationship AS r3 ON r3.target_no = t4.twin_no AND r3.name = %s) "
        "CROSS JOIN LATERAL (SELECT r3.source_no) AS t2 (twin_no) JOIN relationship AS r1 ON r1.target_no = "
    )
    assert counted(pattern + "r.$targetId IN ['x']")[0].startswith(
        "(SELECT * FROM relationship AS r3 WHERE r3.name = %s) AS r3 CROSS JOIN LATERAL"
    )
    assert counted(pattern + "IS_OF_MODEL(b, 'dtmi:base;1')")[0].startswith("twin AS t2 ")


@pytest.mark.parametrize(
    "condition",
    [
        "T.nothing = 1",
        "NOT T.nothing = 1",
        "T.nothing NIN [1]",
        "T.$dtId = 5",
        "T.$metadata.nothing.sourceTime != 'x'",
    ],
)
def test_what_can_never_be_is_not_looked_for(condition: str) -> None:
    if "sourceTime" in condition:
        condition = condition.replace("'x'", "'2026-01-01T00:00:00Z'")
    found = of_twins(condition)
    assert "latest" not in found.sql
    assert "false" in found.sql


def test_unknown_names_are_warned_of_once() -> None:
    found = of_twins("T.gone = 1 OR T.gone = 2 OR t.a = 3 OR IS_OF_MODEL('dtmi:gone;1') OR IS_DEFINED(T.a)")
    assert found.warnings == (
        "There is no model dtmi:gone;1.",
        "No twin has ever had a value of gone.",
        "No twin has ever had a value of t.a. The alias is written T.",
    )
    assert wanted_models(
        analyse("SELECT * FROM digitaltwins WHERE IS_OF_MODEL('a') OR IS_OF_MODEL('b', exact)")
    ) == {"a"}


# Injection: what a query says in its own names and texts never becomes text of the statement.

HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30),
    st.sampled_from(
        [
            "'; DROP TABLE twin; --",
            "' OR '1'='1",
            "\\'",
            "%s",
            "%(x)s",
            "{}",
            "$1",
            "/*",
            "\\",
            "a\nb",
            "\u2019",
        ]
    ),
)
NAMES = HOSTILE.map(lambda text: "".join(c for c in text if c not in "[]\r\n")).filter(
    lambda name: name and name[0] != "$" and name not in CATALOG.path_nos
)
TEMPLATE = (
    "SELECT T.[[{name}]] AS x, COUNT(LAST(T.b.[[{name}]], '1h', 'avg')) FROM digitaltwins "
    "MATCH (T)-[:[[{name}]]]->(S)-[:[[{name}]]|b*..3]-(U) "
    "JOIN V RELATED S.[[{name}]] R WHERE R.[[{name}]] = '{text}' AND U.$dtId != '{text}' "
    "AND T.a.[[{name}]] = '{text}' AND T.m.x != '{text}' "
    "OR T.$dtId = '{text}' AND CONTAINS(T.b, '{text}') OR IS_OF_MODEL(S, '{text}') OR T.[[{name}]] IN ['{text}', 1] "
    "OR NOT ARRAY_CONTAINS(T.b.[[{name}]], '{text}') OR IS_OBJECT(T.[[{name}]]) "
    "OR SEARCH(T, 'x{text}') OR LAST(T.[[{name}]], '1h', 'avg') = '{text}' GROUP BY T.[[{name}]] "
    "ORDER BY T.[[{name}]], MAX(R.[[{name}]])"
)


@settings(deadline=None)
@given(text=HOSTILE, name=NAMES)
def test_nothing_of_a_query_gets_into_the_statement(text: str, name: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    hostile = compiled(TEMPLATE.format(name=name, text=escaped))
    words = len(set(f"x{text}".split()))
    harmless = " ".join(["harmless"] + [f"word{n}" for n in range(1, words)])
    assert hostile.sql == compiled(TEMPLATE.format(name="harmless", text=harmless)).sql
    assert hostile.sql.count("%s") == len(hostile.parameters)
    assert text in hostile.parameters


# Negations

TESTS = st.sampled_from(["T.a = 1", "T.a < 2", "T.b IN [1]", "IS_DEFINED(T.a)", "CONTAINS(T.a, 'x')"])
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        inner.map(lambda term: f"NOT ({term})"),
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(
            lambda parts: "({} {} {})".format(*parts)
        ),
    ),
    max_leaves=12,
)


def parts(condition: Condition) -> list[Condition]:
    match condition:
        case Not(term):
            return [condition, *parts(term)]
        case And(terms) | Or(terms):
            return [condition, *(part for term in terms for part in parts(term))]
        case Leaf():
            return [condition]


@settings(deadline=None)
@given(CONDITIONS)
def test_no_negation_is_left_and_two_cancel_out(condition: str) -> None:
    once = push_negations(parse(f"SELECT * FROM digitaltwins T WHERE {condition}")).where
    twice = push_negations(parse(f"SELECT * FROM digitaltwins T WHERE NOT (NOT ({condition}))")).where
    assert once is not None
    assert once == twice
    for part in parts(once):
        assert not isinstance(part, Not)
        if isinstance(part, And | Or):
            assert not any(isinstance(term, type(part)) for term in part.terms)

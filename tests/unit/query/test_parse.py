from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.query.build import NAMES_MAX
from gemel.query.clauses import (
    Aggregate,
    Collection,
    Direction,
    Everything,
    Function,
    Hops,
    Item,
    Items,
    Link,
    Query,
    Selection,
    Source,
)
from gemel.query.compiler import analyse
from gemel.query.parse import NESTING_MAX, TESTS_MAX, TEXT_LENGTH_MAX, parse
from gemel.query.tree import (
    And,
    Compare,
    Condition,
    HasItem,
    HasText,
    HasType,
    Literal,
    Not,
    OfModel,
    OneOf,
    Operator,
    Or,
    Path,
    TextPlace,
    TypeName,
)
from gemel.query.tree import Test as Leaf


def path(dotted: str) -> Path:
    return Path(tuple(dotted.split(".")))


def compare(dotted: str, operator: str, value: str | int | float | bool | None) -> Leaf:
    return Leaf(path(dotted), Compare(Operator(operator), Literal(value)))


@pytest.mark.parametrize(
    ("condition", "tree"),
    [
        ("T.a = 1", compare("T.a", "=", 1)),
        ("T.a != -1.5", compare("T.a", "<>", -1.5)),
        ("a<>+.5e1", compare("a", "<>", 5.0)),
        ("a.b.c>=1.", compare("a.b.c", ">=", 1.0)),
        ("T.$dtId = 'x'", compare("T.$dtId", "=", "x")),
        ("T.a = TRUE", compare("T.a", "=", True)),
        ("T.a = null", compare("T.a", "=", None)),
        (r"T.a = 'it\'s \\ \n'", compare("T.a", "=", "it's \\ \\n")),
        ("T.a = 'two\nlines'", compare("T.a", "=", "two\nlines")),
        ("T.[[a b]].order = 1", Leaf(Path(("T", "a b", "order")), Compare(Operator.EQ, Literal(1)))),
        ("[[WHERE]] = 1", compare("WHERE", "=", 1)),
        ("T.in In ['a', 2]", Leaf(path("T.in"), OneOf((Literal("a"), Literal(2))))),
        ("T.a nin [1]", Leaf(path("T.a"), OneOf((Literal(1),), negated=True))),
        ("is_defined(T.a)", Leaf(path("T.a"), HasType(TypeName.DEFINED))),
        ("IS_PRIMITIVE(T.a)", Leaf(path("T.a"), HasType(TypeName.PRIMITIVE))),
        ("StartsWith(T.a, 'x')", Leaf(path("T.a"), HasText(TextPlace.STARTSWITH, Literal("x")))),
        ("ARRAY_CONTAINS(T.a, 5)", Leaf(path("T.a"), HasItem(Literal(5)))),
        ("IS_OF_MODEL('dtmi:a;1')", Leaf(Path(()), OfModel(Literal("dtmi:a;1")))),
        ("IS_OF_MODEL(T, 'dtmi:a;1', EXACT)", Leaf(path("T"), OfModel(Literal("dtmi:a;1"), exact=True))),
        (
            "a = 1 OR b = 2 AND NOT c = 3",
            Or((compare("a", "=", 1), And((compare("b", "=", 2), Not(compare("c", "=", 3)))))),
        ),
        (
            "(a = 1 or b = 2) and c = 3",
            And((Or((compare("a", "=", 1), compare("b", "=", 2))), compare("c", "=", 3))),
        ),
        ("NOT NOT (a = 1)", Not(Not(compare("a", "=", 1)))),
    ],
)
def test_conditions(condition: str, tree: Condition) -> None:
    query = Query("", Everything(), (Source("T", Collection.TWINS),), (), "T", tree)
    assert parse(f"select * from DigitalTwins T where {condition}") == query


@pytest.mark.parametrize(
    ("text", "selection", "collection", "alias", "top"),
    [
        ("SELECT * FROM digitaltwins", Everything(), Collection.TWINS, None, None),
        ("SELECT * FROM RELATIONSHIPS AS R", Everything(), Collection.RELATIONSHIPS, "R", None),
        (
            "SELECT COUNT() FROM digitaltwins",
            Items((Item(Aggregate(Function.COUNT), "COUNT"),)),
            Collection.TWINS,
            None,
            None,
        ),
        ("SELECT TOP (5) FROM digitaltwins", Everything(), Collection.TWINS, None, 5),
        ("SELECT TOP(0) * FROM digitaltwins", Everything(), Collection.TWINS, None, 0),
        (
            "SELECT T.a.b, T.c AS d, T FROM digitaltwins T",
            Items((Item(path("T.a.b"), "b"), Item(path("T.c"), "d"), Item(path("T"), "T"))),
            Collection.TWINS,
            "T",
            None,
        ),
    ],
)
def test_selections(
    text: str, selection: Selection, collection: Collection, alias: str | None, top: int | None
) -> None:
    query = parse(text)
    assert (query.selection, query.top, query.where) == (selection, top, None)
    source = next(each for each in query.sources if each.name == query.default)
    assert source == Source(alias or "]0", collection, alias is not None)
    assert len(query.links) == (collection is Collection.RELATIONSHIPS)


def out(
    start: str, end: str, *names: str, by: str | None = None, hops: Hops | None = None, **more: Any
) -> Link:
    return Link(start, end, names, relationship=by, hops=hops, **more)


@pytest.mark.parametrize(
    ("source", "links"),
    [
        ("T JOIN C RELATED T.x", [out("T", "C", "x", by="]2")]),
        ("T join C related T.[[a b]] r", [out("T", "C", "a b", by="r")]),
        (
            "T JOIN C RELATED T.x AS r OPTIONAL JOIN D RELATED C.y",
            [out("T", "C", "x", by="r"), out("C", "D", "y", by="]4", optional=True)],
        ),
        (
            "T JOIN OPTIONAL RELATED T.x JOIN D RELATED OPTIONAL.y",
            [out("T", "OPTIONAL", "x", by="]2"), out("OPTIONAL", "D", "y", by="]4")],
        ),
        ("MATCH (a)", []),
        ("MATCH (a)-[]->(b)", [out("a", "b", by="]1")]),
        ("MATCH (a)-[r:x|y]->(a)", [out("a", "a", "x", "y", by="r")]),
        ("match ( a ) <-[ r : x ]- ( )", [out("a", "]2", "x", by="r", direction=Direction.IN)]),
        ("MATCH (a)-[:[[x y]]]-(b)", [out("a", "b", "x y", by="]1", direction=Direction.BOTH)]),
        ("MATCH ()-[*3]->()", [out("]0", "]1", hops=Hops(3, 3))]),
        ("MATCH ()-[:x*..3]->()", [out("]0", "]1", "x", hops=Hops(1, 3))]),
        ("MATCH ()-[*1..3]->()", [out("]0", "]1", hops=Hops(2, 3))]),
        ("MATCH ()-[* 0 .. 2 ]->()", [out("]0", "]1", hops=Hops(1, 2))]),
        ("MATCH ()-[r*1]->()", [out("]0", "]2", by="r")]),
        ("MATCH ()-[r*..1]->()", [out("]0", "]2", by="r")]),
        (
            "MATCH (a)-[:x]->(b) JOIN c RELATED b.y",
            [out("a", "b", "x", by="]1"), out("b", "c", "y", by="]4")],
        ),
    ],
)
def test_sources(source: str, links: list[Link]) -> None:
    assert list(parse(f"SELECT COUNT() FROM digitaltwins {source}").links) == links


FAULTS = [
    ("SELECT COUNT(*) FROM digitaltwins", "unexpected * at '*) FROM digitaltwins'. Write COUNT()."),
    ("SELECT a FROM digitaltwins MATCH (a:Room)", "Ask for a model with IS_OF_MODEL(alias, 'dtmi:…')."),
    ("SELECT a FROM digitaltwins LIMIT 5", "There is no LIMIT here; write TOP(n) after SELECT."),
    ("SELECT a FROM digitaltwins T LEFT JOIN b RELATED T.x", "There is no LEFT here; write OPTIONAL JOIN."),
    ("SELECT a FROM digitaltwins T JOIN b RELATED x", "Position=45, Message=missing .."),
    ("SELECT a FROM digitaltwins WHERE COUNT() > 3", "COUNT stands in SELECT or ORDER BY."),
    (
        "SELECT a FROM digitaltwins MATCH (a)-[r](b)",
        "Position=40, Message=unexpected ( at '(b)'. Expected - or ->.",
    ),
    ("SELECT a FROM digitaltwins MATCH SHORTEST (a)", "the shortest way is between two twins at 'a)'"),
    (
        "SELECT a FROM digitaltwins MATCH SHORTEST (a)-[]->()-[]->(b)",
        "Position=58, Message=the shortest way is between",
    ),
    (
        "SELECT a FROM digitaltwins MATCH SHORTEST (a)-[p*2..5]->(b)",
        "a shortest way of no fewer hops at '*2..5]->(b)'. Write",
    ),
    ("SELECT a FROM digitaltwins MATCH SHORTEST (a)-[a]->(b)", "a stands for something else already"),
    ("SELECT p.x FROM digitaltwins MATCH SHORTEST (a)-[p]->(b)", "paths have no x at 'p.x FROM"),
    (
        "SELECT a FROM digitaltwins MATCH SHORTEST (a)-[p]->(b) WHERE p = 1",
        "a path has no value at 'p = 1'. Name a property, as p.length.",
    ),
    ("SELECT DISTINCT p FROM digitaltwins MATCH SHORTEST (a)-[p]->(b)", "groups of the path p"),
    (
        "SELECT a FROM digitaltwins MATCH SHORTEST (a)-[p]->(b) WHERE IS_OF_MODEL(p, 'x')",
        "paths have no model",
    ),
    (
        "SELECT LAST(a, '1 hour', 'avg') FROM digitaltwins",
        "Position=15, Message=not a duration at ''1 hour', 'avg') FROM",
    ),
    ("SELECT LAST(a, '1h', 'median') FROM digitaltwins", "Position=21, Message=not a function of samples"),
    ("SELECT LAST(a, '1h') FROM digitaltwins", "Position=19, Message=missing , at ') FROM"),
    ("SELECT LAST($dtId, '1h', 'avg') FROM digitaltwins", "it has no samples at '$dtId, "),
    ("SELECT LAST(R.a, '1h', 'avg') FROM relationships R", "only twins have samples at 'R.a, "),
    ("SELECT a FROM digitaltwins WHERE SEARCH('  ')", "a search is for 1 to 16 words at ''  ')'"),
    ("SELECT a FROM relationships WHERE SEARCH('x')", "relationships have no names"),
    ("SELECT a FROM digitaltwins a JOIN b RELATED a.x WHERE SEARCH('x')", "it is not clear of which twin"),
    ("SELECT * FROM digitaltwins T MATCH (a)", "unexpected 'MATCH' at 'MATCH (a)'. Leave out the alias"),
    (
        "SELECT a FROM digitaltwins MATCH (a)-->(b)",
        "Position=37, Message=missing [ at '->(b)'. Write -[]-> for any relationship",
    ),
    ("SELECT a FROM digitaltwins MATCH (a)--(b)", "Write -[]-> for any relationship"),
    ("SELECT a FROM digitaltwins MATCH (a)<--(b)", "Write -[]-> for any relationship"),
    ("SELECT a FROM digitaltwins MATCH (a)->(b)", "Write -[]-> for any relationship"),
    (
        "SELECT a FROM digitaltwins MATCH (a)-[:x*]->(b)",
        "unexpected * at '*]->(b)'. Say how many hops at most: *3 for three, *..5 for one to five; up to 100.",
    ),
    ("SELECT a FROM digitaltwins MATCH (a)-[*]->(b)", "Say how many hops at most"),
    ("SELECT a FROM digitaltwins MATCH (a)-[*2..]->(b)", "Say how many hops at most"),
    (
        "SELECT a FROM digitaltwins MATCH (a)-[:x*3..1]->(b)",
        "no way has more than 3 and at most 1 hops at '*3..1]->(b)'. The greater number comes last: *1..3.",
    ),
    ("SELECT * FROM digitaltwins T WHERE T.a IN ('x')", "Write the values in brackets: IN ['a', 'b']."),
    ("SELECT * FROM digitaltwins T WHERE T.a NOT IN ['x']", "Write NIN ['a', 'b']."),
    ("SELECT * FROM digitaltwins T WHERE T.a BETWEEN 1 AND 9", "write T.name >= 1 AND T.name <= 9."),
    ("SELECT COUNT() FROM digitaltwins T GROUP BY T.a HAVING COUNT() > 1", "There is no HAVING: test what"),
    ("SELECT * FROM digitaltwins T WHERE 1 < T.head", "Put the property first: T.head > 1."),
    ("SELECT * FROM digitaltwins T WHERE T.a = 1 AND 'x' = T.b", "Put the property first: T.b = 'x'."),
    ("SELECT * FROM digitaltwins T WHERE T.a = T.b", "compared with a value, and not with another"),
    ("SELECT * FROM digitaltwins T WHERE T.a = blue", "text stands in single quotes."),
    ("SELECT * FROM digitaltwins T WHERE T.a = 1 AND T.on", "for a Boolean, write T.on = true."),
    ("SELECT * FROM digitaltwins T WHERE (running)", "for a Boolean, write running = true."),
    ("SELECT * FROM digitaltwins T WHERE NOT running AND T.a = 1", "for a Boolean, write running = true."),
    (
        "SELECT * FROM digitaltwins T WHERE T.a = 'it''s'",
        "Inside text, write \\' for a single quote, not two.",
    ),
    ("SELECT * FROM digitaltwins;", "Leave the ; out"),
    ("SELECT * FROM digitaltwins T WHERE T.a = 1 ;", "Leave the ; out"),
    ("SELECT a FROM digitaltwins MATCH (a)-[:x*..101]->(b)", "Position=40, Message=a way has 1 to 100 hops"),
    (
        "SELECT a FROM digitaltwins MATCH (a)-[:x*0]->(b)",
        "a way has 1 to 100 hops at '*0]->(b)'. Write *3 for",
    ),
    (
        "SELECT a FROM digitaltwins MATCH (a)-[:x*3..3]->(b)",
        "For just 3 write *3: the lower bound does not count itself.",
    ),
    ("SELECT a FROM digitaltwins MATCH (a)-[*99999999999]->(b)", "a way has 1 to 100 hops"),
    ("SELECT a FROM digitaltwins MATCH (a)-[r:x*2]->(b)", "Position=38, Message=r cannot stand for several"),
    ("SELECT a FROM digitaltwins MATCH (a)-[a]->(b)", "a stands for something else already at 'a]->(b)'"),
    (
        "SELECT a FROM digitaltwins MATCH (a)-[b]->(b)",
        "Position=43, Message=b stands for something else already",
    ),
    ("SELECT a FROM digitaltwins MATCH (a)-[r]->(b)-[r]->(c)", "Position=47, Message=r stands for something"),
    ("SELECT * FROM digitaltwins MATCH ()-[]->()", "nothing has a name"),
    (
        "SELECT $dtId FROM digitaltwins MATCH ()-[]->()",
        "it is not clear which twin or relationship has $dtId",
    ),
    ("SELECT a FROM digitaltwins MATCH (a)" + "-[]->()" * 50, "more than 100 twins and relationships at "),
    (
        "SELECT T FROM digitaltwins JOIN C RELATED T.x",
        "Position=42, Message=T is not a twin that stands before it",
    ),
    (
        "SELECT T FROM digitaltwins T JOIN C RELATED t.x",
        "t is not a twin that stands before it at 't.x'. Did you mean T?",
    ),
    (
        "SELECT T FROM digitaltwins T JOIN C RELATED T.x r JOIN D RELATED r.x",
        "r is not a twin that stands before",
    ),
    (
        "SELECT T FROM digitaltwins T JOIN T RELATED T.x",
        "Position=34, Message=T stands for something else already",
    ),
    ("SELECT T FROM digitaltwins T JOIN C", "Message=missing RELATED."),
    (
        "SELECT R FROM relationships R JOIN C RELATED R.x",
        "relationships cannot be joined at 'JOIN C RELATED R.x'",
    ),
    (
        "SELECT head FROM digitaltwins T JOIN C RELATED T.x",
        "which twin or relationship has head at 'head FROM",
    ),
    (
        "SELECT c.a FROM digitaltwins T JOIN C RELATED T.x",
        "has c.a at 'c.a FROM digitaltwins T JOIN C RELATED …'. c is not an alias here. Did you mean C?",
    ),
    (
        "SELECT C FROM digitaltwins T JOIN C RELATED T.x WHERE IS_OF_MODEL('dtmi:a;1')",
        "it is not clear of which twin",
    ),
    (
        "SELECT C FROM digitaltwins T JOIN C RELATED T.x r WHERE IS_OF_MODEL(r, 'dtmi:a;1')",
        "relationships have no model",
    ),
    (
        "SELECT C FROM digitaltwins T JOIN C RELATED T.x r WHERE r = 1",
        "a relationship has no value at 'r = 1'",
    ),
    ("SELECT C FROM digitaltwins T JOIN C RELATED T.x r WHERE r.$dtId = 1", "relationships have no $dtId"),
    ("", "Line=1, Position=0, Message=missing SELECT."),
    ("foo", "Line=1, Position=0, Message=missing SELECT at 'foo'."),
    (
        "SELECT * FORM digitaltwins",
        "Position=9, Message=missing FROM at 'FORM digitaltwins'. Did you mean FROM?",
    ),
    ("SELECT * FROM devices", "Position=14, Message=unexpected 'devices' at 'devices'."),
    (
        "SELECT *\nFROM digitaltwins\n  T WERE T.a = 1",
        "Line=3, Position=4, Message=unexpected 'WERE' at 'WERE T.a = 1'. Did",
    ),
    ("SELECT FROM digitaltwins", "nothing is selected"),
    ("SELECT * FROM digitaltwins WHERE", "Position=32, Message=the query ends too early."),
    (
        "SELECT * FROM digitaltwins WHERE a == 1",
        "Position=36, Message=unexpected = at '= 1'. Compare with a single =.",
    ),
    ('SELECT * FROM digitaltwins WHERE a = "x"', "Write text in single quotes"),
    ("SELECT * FROM digitaltwins WHERE a = 'x", "Position=37, Message=unexpected ' at ''x'. Close the text"),
    (
        "SELECT * FROM digitaltwins WHERE IS_DEFINE(a)",
        "There is no function IS_DEFINE; did you mean IS_DEFINED?",
    ),
    (
        "SELECT STARTSWITH(a, 'x') FROM digitaltwins",
        "unexpected ( at '(a, 'x') FROM digitaltwins'. STARTSWITH cannot stand here. Expected",
    ),
    ("SELECT SUM(AVG(a)) FROM digitaltwins", "AVG cannot stand in another function."),
    ("SELECT SUM(FOO(a)) FROM digitaltwins", "Expected"),
    ("SELECT * FROM digitaltwins WHERE a = 1 ADN b = 2", "Did you mean AND?"),
    ("SELECT * FROM digitaltwins WHERE a LIKE 'x'", "There is no LIKE here; write STARTSWITH, ENDSWITH or"),
    (
        "SELECT * FROM digitaltwins HAVING a",
        "Position=34, Message=unexpected a at 'a'. There is no HAVING: test what is to be grouped",
    ),
    ("SELECT a FROM digitaltwins ORDER a", "Position=33, Message=missing BY at 'a'."),
    (
        "SELECT a FROM digitaltwins ORDER BY a DECS",
        "Position=38, Message=unexpected 'DECS' at 'DECS'. Did you mean DESC?",
    ),
    ("SELECT a FROM digitaltwins GROUP BY", "Position=35, Message=missing a name"),
    ("SELECT a FROM digitaltwins OFFSET x", "missing a number at 'x'"),
    ("SELECT a FROM digitaltwins OFFSET -1", "not a number of rows at '-1'"),
    (
        "SELECT SUM() FROM digitaltwins",
        "Position=7, Message=SUM of nothing at 'SUM() FROM digitaltwins'. Name a property",
    ),
    (
        "SELECT SUM($dtId) FROM digitaltwins",
        "Position=11, Message=SUM is of numbers at '$dtId) FROM digitaltwins'. Use COUNT",
    ),
    ("SELECT SUM(T) FROM digitaltwins T", "a twin has no value at 'T) FROM digitaltwins T'"),
    (
        "SELECT COUNT(), COUNT(a) FROM digitaltwins",
        "Position=16, Message=two items are called COUNT at 'COUNT(a) FROM",
    ),
    (
        "SELECT a, MAX(b) FROM digitaltwins",
        "Position=7, Message=a may differ within a group at 'a, MAX(b) FROM",
    ),
    ("SELECT * FROM digitaltwins GROUP BY a", "Position=0, Message=groups of everything"),
    ("SELECT DISTINCT a, COUNT() FROM digitaltwins", "a may differ within a group"),
    ("SELECT DISTINCT a FROM digitaltwins GROUP BY b", "a may differ within a group"),
    (
        "SELECT DISTINCT COUNT() FROM digitaltwins GROUP BY a ORDER BY a",
        "it may differ within a row at 'a'. Add it to SELECT DISTINCT.",
    ),
    (
        "SELECT DISTINCT COUNT() FROM digitaltwins GROUP BY a ORDER BY MAX(b)",
        "it may differ within a row at 'MAX(b)'. Add it to SELECT DISTINCT.",
    ),
    ("SELECT DISTINCT T.$metadata, COUNT() FROM digitaltwins T GROUP BY T", "$metadata has no value"),
    (
        "SELECT DISTINCT a FROM digitaltwins ORDER BY b",
        "Position=45, Message=it may differ within a row at 'b'. Add it to SELECT",
    ),
    ("SELECT DISTINCT $metadata FROM digitaltwins", "$metadata has no value at '$metadata FROM"),
    (
        "SELECT a FROM digitaltwins GROUP BY a ORDER BY b",
        "it may differ within a row at 'b'. Add it to GROUP BY.",
    ),
    ("SELECT a FROM digitaltwins ORDER BY COUNT()", "Position=36, Message=there are no groups at 'COUNT()'."),
    ("SELECT T FROM digitaltwins T ORDER BY T", "a twin has no value at 'T'"),
    ("SELECT a FROM digitaltwins GROUP BY $metadata", "$metadata has no value at '$metadata'"),
    ("SELECT a FROM digitaltwins ORDER BY " + "a, " * 16 + "a", "more than 16 in one list"),
    ("SELECT " + "a, " * 100 + "a FROM digitaltwins", "more than 100 in one list"),
    ("SELECT * FROM digitaltwins WHERE a IN []", "unexpected ] at ']'"),
    ("SELECT * FROM digitaltwins; DROP TABLE twin", "Position=26"),
    ("SELECT * FROM digitaltwins WHERE a = 1 -- b", "Position=39"),
    ("SELECT * FROM digitaltwins WHERE a = 1e999", "the number is too great at '1e999'"),
    ("SELECT * FROM digitaltwins WHERE a = 1" + "0" * 400, "the number is too great"),
    ("SELECT * FROM digitaltwins WHERE a < null", "Position=37, Message=null has no order"),
    ("SELECT TOP(-1) FROM digitaltwins", "not a number of rows at '-1)"),
    ("SELECT TOP(99999999999) FROM digitaltwins", "not a number of rows"),
    (
        "SELECT * FROM digitaltwins WHERE order = 1",
        "ORDER is a reserved word at 'order = 1'. Where a property is meant, write [[order]].",
    ),
    ("SELECT * FROM digitaltwins WHERE a = 'x\0'", "Message=the character U+0000"),
    ("SELECT * FROM digitaltwins WHERE a = '\ud800'", "Message=the character U+D800"),
    ("SELECT * FROM digitaltwins WHERE " + "NOT " * 100 + "a = 1", f"nested over {NESTING_MAX} deep"),
    ("SELECT * FROM digitaltwins WHERE " + "(a = 1 AND " * 5000, f"longer than {TEXT_LENGTH_MAX} characters"),
    ("SELECT * FROM digitaltwins WHERE a = 1" + " OR a = 1" * TESTS_MAX, f"more than {TESTS_MAX} tests"),
    (
        "SELECT * FROM digitaltwins WHERE a" + ".a" * NAMES_MAX + " = 1",
        f"a path of more than {NAMES_MAX} names",
    ),
    (
        "SELECT * FROM digitaltwins T WHERE T = 1",
        "a twin has no value at 'T = 1'. Name a property, as T.name.",
    ),
    (
        "SELECT * FROM digitaltwins T WHERE T.$dtid = 'x'",
        "digitaltwins have no $dtid at 'T.$dtid = 'x''. Did you mean $dtId?",
    ),
    ("SELECT * FROM digitaltwins WHERE $sourceId = 'x'", "digitaltwins have no $sourceId"),
    ("SELECT * FROM relationships WHERE $dtId = 'x'", "relationships have no $dtId"),
    ("SELECT * FROM relationships WHERE IS_OF_MODEL('dtmi:a;1')", "relationships have no model"),
    ("SELECT * FROM digitaltwins T WHERE IS_OF_MODEL(S, 'dtmi:a;1')", "S is not an alias"),
    ("SELECT * FROM digitaltwins T WHERE T.$metadata.a = 1", "$metadata.a cannot be asked for"),
    (
        "SELECT T.$etga FROM digitaltwins T",
        "digitaltwins have no $etga at 'T.$etga FROM digitaltwins T'. Did you mean",
    ),
    ("SELECT T.a, T.b.a FROM digitaltwins T", "Position=12, Message=two items are called a"),
    (
        "SELECT * FROM digitaltwins WHERE $metadata.a.sourceTime = 'x'",
        "Position=58, Message=not a time with a zone at ''x''.",
    ),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_say_where_and_what_to_do(text: str, message: str) -> None:
    with pytest.raises(InvalidError) as error:
        analyse(text)
    assert error.value.code == "SqlQueryError"
    assert error.value.message.startswith("SQL query parse failed: SQL Parser Error, Line=")
    assert message in error.value.message


WORDS = st.sampled_from(
    "SELECT * COUNT ( ) TOP FROM digitaltwins relationships T T.a $dtId . , WHERE AND OR NOT IN NIN [ ] = < 1 2.5 'x' "
    "IS_DEFINED IS_OF_MODEL CONTAINS [[a]] "
    "JOIN RELATED OPTIONAL MATCH (a) -[ ]-> <-[ ]- r :x | *..3 *2 null true ; -- /* \\ ' \" $ % { }".split()
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS, max_size=25).map(" ".join)))
@example("SELECT * FROM digitaltwins T WHERE T.a = 'x' OR")
def test_any_text_is_a_query_or_a_fault(text: str) -> None:
    with suppress(InvalidError):
        analyse(text)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=25).map(" ".join))
def test_a_fault_is_one_of_the_language(text: str) -> None:
    with pytest.raises(InvalidError, match="SQL query parse failed: SQL Parser Error, Line=") as error:
        analyse(text + " ]]")
    assert error.value.code == "SqlQueryError"

from __future__ import annotations

from typing import Any

import pytest

from gemel.base.errors import InvalidError
from gemel.graph.relationship_reading import get_relationship
from integration.query.conftest import World

T = "SELECT * FROM digitaltwins T WHERE "
PUMPS = ["p1", "p2", "p3", "p4", "p5"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("T.head = 2.5", "q2"),
        ("T.head != 2.5", "p2 p4 q1"),
        ("NOT T.head = 2.5", "p2 p4 q1"),
        ("T.head <> 2.5", "p2 p4 q1"),
        ("T.head > 1 AND T.head <= 2.5", "q2"),
        ("T.head < 0.1", "q1"),
        ("T.head >= -0.0 AND NOT T.head > 0", "q1"),
        ("T.head = 0.1", "p2"),
        ("T.$lifecycle = 'maintenance'", "p5"),
        ("T.$lifecycle != 'active'", "p5 r1"),
        ("T.$lifecycle IN ['planned', 'decommissioned']", "r1"),
        ("STARTSWITH(T.$lifecycle, 'main') OR T.$lifecycle = 5", "p5"),
        ("T.count = 3", "p1 k1"),
        ("T.count = 3.0", "p1 k1"),
        ("T.count = '3'", ""),
        ("T.count != '3'", "p1 p2 p3 k1 k2"),
        ("T.count > '3' OR NOT T.count > '3'", ""),
        ("T.label = 'one'", "p1 q1"),
        ("T.label < 'b'", "p3 p4"),
        ("T.label >= 'two'", "p2"),
        ("T.label = 'Zürich \\'x\\' \\\\ %s {} $1 €'", "p4"),
        ("T.running = true", "p1 p3"),
        ("T.running = 1", ""),
        ("T.running > false", "p1 p3"),
        ("T.limits.low < 0", "p2"),
        ("T.limits.low = 1", "p1"),
        ("T.limits = 1 OR T.limits = null", ""),
        ("T.tags.x = 'p1'", "p1"),
        ("T.tags.[[x]] = 'p1'", "p1"),
        ("T.motor.speed = 10", "p2 k1"),
        ("T.motor.speed < 0", "p3"),
        ("T.serial = 9007199254740993", "k1"),
        ("T.serial = 9007199254740992", "k2"),
        ("T.serial > 9007199254740992", "k1"),
        ("T.serial >= 9007199254740993", "k1"),
        ("T.serial < -9223372036854775807", "k3"),
        ("T.count < 9007199254740993 AND T.count > -9007199254740993", "p1 p2 p3 k1 k2"),
        ("T.power > 9007199254740993", ""),
        ("T.power >= 9007199254740993", ""),
        ("T.power = 9007199254740993 OR T.power IN [9007199254740993]", ""),
        ("T.power < 9007199254740993", "q1 q2"),
        ("T.power <= 9007199254740993 AND T.power NIN [9007199254740993]", "q1 q2"),
        ("T.power != 9007199254740993", "q1 q2"),
        ("T.power < 9007199254740991 OR T.power > 9007199254740992", "q1"),
        ("T.deep.b = 9007199254740993", "k2"),
        ("T.deep.b = 9007199254740992", ""),
        ("T.label IN ['one', 'b', 3]", "p1 q1 k4"),
        ("T.label NIN ['one', 'b', 3]", "p2 p3 p4"),
        ("NOT T.label NIN ['one', 'b', 3]", "p1 q1 k4"),
        ("T.count IN [3, 2.5, 'x', null]", "p1 k1 k2"),
        ("NOT T.count IN [3, 2.5, 'x', null]", "p2 p3"),
        ("IS_DEFINED(T.head)", "p2 p4 q1 q2"),
        ("NOT IS_DEFINED(T.head)", "p1 p3 p5 r1 k1 k2 k3 k4"),
        ("IS_DEFINED(T.limits.low)", "p1 p2"),
        ("IS_DEFINED(T.motor)", "p1 p2 p3 p4 p5 k1 k2"),
        ("IS_OBJECT(T.motor)", "p1 p2 p3 p4 p5 k1 k2"),
        ("IS_OBJECT(T.limits)", "p1 p2 p4"),
        ("IS_NUMBER(T.count) AND NOT IS_NUMBER(T.label)", "p1 p2 p3 k1 k2"),
        ("IS_STRING(T.label)", "p1 p2 p3 p4 q1 k4"),
        ("IS_BOOL(T.running)", "p1 p2 p3"),
        ("IS_PRIMITIVE(T.tags) OR IS_PRIMITIVE(T.area)", "r1"),
        ("IS_NULL(T.label)", ""),
        ("STARTSWITH(T.label, 't')", "p2"),
        ("NOT STARTSWITH(T.label, 't')", "p1 p3 p4 q1 k4"),
        ("NOT STARTSWITH(T.head, 't')", ""),
        ("ENDSWITH(T.label, '€')", "p4"),
        ("CONTAINS(T.label, 'ne') AND CONTAINS(T.label, '')", "p1 q1"),
        ("CONTAINS(T.$dtId, '1') AND STARTSWITH(T.$dtId, 'p')", "p1"),
        ("ARRAY_CONTAINS(T.labels, 'b\\'')", "k1"),
        ("ARRAY_CONTAINS(T.numbers, 1152921504606846976)", "k1"),
        ("NOT ARRAY_CONTAINS(T.numbers, 3)", "k1 k3"),
        ("ARRAY_CONTAINS(T.labels, 'one') OR ARRAY_CONTAINS(T.label, 'one')", "k3"),
        ("T.$dtId = 'p1' OR T.$dtId IN ['k1', 'k2']", "p1 k1 k2"),
        ("$dtId > 'p' AND $dtId <= 'p3'", "p1 p2 p3"),
        ("T.$dtId != 5 AND STARTSWITH($dtId, 'r')", "r1"),
        ("T.$metadata.$model = 'dtmi:t:Room;1'", "r1"),
        ("IS_OF_MODEL('dtmi:t:Asset;1') AND NOT IS_OF_MODEL(T, 'dtmi:t:Pump;1')", "q1 q2 k1 k2 k3 k4"),
        ("IS_OF_MODEL(T, 'dtmi:t:Asset;1', exact)", ""),
        ("IS_OF_MODEL('dtmi:t:Pump;2', EXACT)", "q1 q2"),
        ("NOT IS_OF_MODEL('dtmi:t:Nothing;1') AND T.area > 0", "r1"),
        ("(T.head = 2.5 OR T.label = 'two') AND NOT (T.label = 'one' AND T.count = 3)", "p2"),
        ("T.$metadata.head.lastUpdateTime > '2020-01-01T00:00:00Z'", "p2 p4 q1 q2"),
        ("T.$metadata.head.sourceTime < '2020-01-01T00:00:00Z'", ""),
        ("T.$metadata.motor.speed.lastUpdateTime > '2020-01-01T00:00:00+01:00'", "p2 p3"),
        ("T.motor.$metadata.speed.lastUpdateTime > '2020-01-01T00:00:00+01:00'", "p2 p3"),
        ("NOT IS_DEFINED(T.$metadata.label.sourceTime) AND IS_OF_MODEL('dtmi:t:Pump;1')", "p5"),
        ("STARTSWITH(T.$metadata.area.lastUpdateTime, '20')", "r1"),
        ("T.$metadata.$lastUpdateTime < '2020-01-01T00:00:00Z'", ""),
        ("T.$metadata.$lastUpdateTime > '2020-01-01T00:00:00Z' AND T.area > 0", "r1"),
        ("T.nothing = 1 OR NOT T.nothing = 1 OR T.nothing.x != 2", ""),
        ("NOT IS_DEFINED(T.nothing) AND T.area > 0", "r1"),
    ],
)  # fmt: skip
def test_conditions_on_twins(world: World, condition: str, expected: str) -> None:
    assert sorted(world.ids(T + condition)) == sorted(expected.split())
    assert world.rows(f"SELECT COUNT() FROM digitaltwins T WHERE {condition}") == [
        {"COUNT": len(expected.split())}
    ]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("R.$sourceId = 'p1'", "p1/f1 p1/f2"),
        ("R.$targetId = 'k1'", "p2/f1"),
        ("R.$relationshipId = 'f1'", "p1/f1 p2/f1"),
        ("R.$relationshipName != 'feeds'", "r1/c1"),
        ("R.diameter > 1", "p1/f1"),
        ("NOT R.diameter > 1", "p1/f2"),
        ("R.note = 'thin' OR R.diameter = 1", "p1/f2 p2/f1"),
        ("NOT IS_DEFINED(R.note)", "p1/f2 r1/c1"),
        ("STARTSWITH(note, 'th') AND R.note NIN ['thin']", "p1/f1"),
        ("R.nothing = 1 OR NOT R.nothing = 1", ""),
    ],
)
def test_conditions_on_relationships(world: World, condition: str, expected: str) -> None:
    rows = world.rows(f"SELECT * FROM relationships R WHERE {condition}")
    assert [f"{row['$sourceId']}/{row['$relationshipId']}" for row in rows] == expected.split()
    count = world.rows(f"SELECT COUNT() FROM relationships R WHERE {condition}")
    assert count == [{"COUNT": len(expected.split())}]


def test_rows_are_the_documents_that_get_gives(world: World) -> None:
    async def relationship() -> Any:
        async with world.site.db.read(world.site.tenant) as tx:
            return (await get_relationship(tx, "p1", "f1")).body

    (twin,) = world.rows(T + "T.$dtId = 'p2'")
    assert twin == world.run(world.site.get("p2")).body
    (row,) = world.rows("SELECT * FROM relationships WHERE $sourceId = 'p1' AND $relationshipId = 'f1'")
    assert row == world.run(relationship())


def test_the_etag_and_last_update_of_a_document_find_it(world: World) -> None:
    for twin in world.rows("SELECT * FROM digitaltwins"):
        condition = f"T.$etag = '{twin['$etag']}'"
        assert world.ids(T + condition) == [twin["$dtId"]]
        assert world.ids(T + f"NOT {condition} AND T.$dtId = '{twin['$dtId']}'") == []
        moment = twin["$metadata"]["$lastUpdateTime"]
        assert twin["$dtId"] in world.ids(T + f"T.$metadata.$lastUpdateTime = '{moment}'")


def test_projections(world: World) -> None:
    rows = world.rows(
        "SELECT T.$dtId, T.label AS name, T.limits.low, T.motor.speed AS speed, T.$metadata.$model, nothing "
        "FROM digitaltwins T WHERE IS_OF_MODEL('dtmi:t:Pump;1') AND T.$dtId < 'p3'"
    )
    assert rows == [
        {"$dtId": "p1", "name": "one", "low": 1, "$model": "dtmi:t:Pump;1"},
        {"$dtId": "p2", "name": "two", "low": -7.5, "speed": 10.0, "$model": "dtmi:t:Pump;1"},
    ]
    (whole,) = world.rows("SELECT X, X.area FROM digitaltwins X WHERE X.area = 12.5")
    assert whole == {"X": world.run(world.site.get("r1")).body, "area": 12.5}
    links = world.rows("SELECT R.$targetId AS to, R.diameter FROM relationships R WHERE R.$sourceId = 'p1'")
    assert links == [{"to": "p2", "diameter": 2.5}, {"to": "q1", "diameter": 1.0}]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_top_holds_over_pages(world: World, size: int) -> None:
    everything = world.ids("SELECT * FROM digitaltwins", size)
    assert everything == world.ids("SELECT * FROM digitaltwins")
    assert len(everything) == 12
    for top in (1, 2, 4, 12, 50):
        assert world.ids(f"SELECT TOP({top}) FROM digitaltwins", size) == everything[:top]
        assert (
            world.ids(f"SELECT TOP({top}) * FROM digitaltwins T WHERE T.$dtId < 'z'", size)
            == everything[:top]
        )
    assert world.rows("SELECT TOP(0) FROM digitaltwins", size) == []
    links = world.rows("SELECT * FROM relationships", size)
    assert [row["$relationshipId"] for row in links] == ["f1", "f2", "f1", "c1"]


def test_unknown_names_are_warned_of(world: World) -> None:
    page = world.page(T + "t.head = 1 AND T.heat > 2 AND T.head < 5 AND IS_OF_MODEL('dtmi:t:Gone;1')")
    assert page.items == []
    assert page.warnings == (
        "There is no model dtmi:t:Gone;1.",
        "No model has a property t.head. The alias is written T.",
        "No model has a property heat. Did you mean head?",
    )
    assert (
        world.page(T + "T.head < 5 AND IS_DEFINED(T.motor) AND T.motor.speed > 1 AND T.tags.x = 'y'").warnings
        == ()
    )


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("SELECT T.motor, T.limits.low, T.tags.any FROM digitaltwins T", ()),
        ("SELECT T.mottor FROM digitaltwins T", ("No model has a property mottor. Did you mean motor?",)),
        (
            "SELECT T.limits.lwo FROM digitaltwins T",
            ("No model has a property limits.lwo. Did you mean limits.low?",),
        ),
        ("SELECT T.label.x FROM digitaltwins T", ("No model has a property label.x.",)),
        (
            "SELECT T FROM digitaltwins T ORDER BY T.flow",
            ("flow is telemetry, which a twin does not keep: ask for LAST(flow, '1h', 'last').",),
        ),
        ("SELECT LAST(T.flow, '1h', 'last') FROM digitaltwins T", ()),
        (
            "SELECT LAST(T.flw, '1h', 'last') FROM digitaltwins T",
            ("No model has a property flw. Did you mean flow?",),
        ),
        (
            "SELECT COUNT() FROM digitaltwins T GROUP BY T.heda",
            ("No model has a property heda. Did you mean head?",),
        ),
        (
            "SELECT MAX(T.motor.sped) FROM digitaltwins T",
            ("No model has a property motor.sped. Did you mean motor.speed?",),
        ),
        (
            "SELECT X.head FROM digitaltwins T",
            ("No model has a property X.head. X is not an alias here; write T.",),
        ),
        (
            "SELECT X.head FROM digitaltwins",
            ("No model has a property X.head. X is not an alias here; leave it out.",),
        ),
        (
            "SELECT b FROM digitaltwins MATCH (a)-[:feds|contains]->(b)",
            ("No model has a relationship feds. Did you mean feeds?",),
        ),
        (
            "SELECT C FROM digitaltwins T JOIN C RELATED T.nothing",
            ("No model has a relationship nothing.",),
        ),
        (
            "SELECT R FROM relationships R WHERE R.$relationshipName = 'Feeds'",
            ("No model has a relationship Feeds. Did you mean feeds?",),
        ),
        (
            "SELECT R FROM relationships R WHERE R.$relationshipName IN ['feeds', 'xyz']",
            ("No model has a relationship xyz.",),
        ),
        ("SELECT R FROM relationships R WHERE NOT R.$relationshipName = 'xyz'", ()),
        (
            "SELECT SUM(T.label), AVG(T.head), SUM(T.tags.x) AS x FROM digitaltwins T",
            (
                "SUM is of numbers, which label is in no model.",
                "SUM is of numbers, which tags.x is in no model.",
            ),
        ),
        ("SELECT AVG(T.running) FROM digitaltwins T", ("AVG is of numbers, which running is in no model.",)),
        (
            "SELECT SUM(R.note), SUM(R.diameter) AS d FROM relationships R",
            ("SUM is of numbers, which note is in no relationship of a model.",),
        ),
        (
            "SELECT T FROM digitaltwins T WHERE IS_OF_MODEL(T, 'dtmi:t:Pumps;1', exact)",
            ("There is no model dtmi:t:Pumps;1. Did you mean dtmi:t:Pump;1?",),
        ),
        ("SELECT T FROM digitaltwins T WHERE IS_DEFINED(T.gone)", ("No model has a property gone.",)),
        (
            "SELECT R FROM relationships R WHERE R.diametre > 1 AND R.note = 'x'",
            ("No relationship of a model has a property diametre. Did you mean diameter?",),
        ),
        (
            "SELECT T.$metadata.heda.sourceTime FROM digitaltwins T",
            ("No model has a property heda. Did you mean head?",),
        ),
    ],
)
def test_what_no_model_has_is_warned_of_wherever_it_stands(
    world: World, text: str, warnings: tuple[str, ...]
) -> None:
    assert world.page(text).warnings == warnings


def test_the_charge_is_the_time_it_took(world: World) -> None:
    assert 0 < world.page("SELECT * FROM digitaltwins").charge < 60_000


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, "BadRequest"),
        ({"token": "nonsense"}, "BadRequest"),
        ({"text": "SELECT * FROM digitaltwins", "page_size": 0}, "InvalidArgument"),
        ({"text": "SELECT"}, "SqlQueryError"),
        ({"text": T + "T.$metadata.head.lastUpdateTime > 'yesterday'"}, "SqlQueryError"),
        ({"text": T + "T.$metadata.head.lastUpdateTime > '2020-01-01T00:00:00'"}, "SqlQueryError"),
    ],
)
def test_what_is_refused(world: World, arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidError) as error:
        world.page(**arguments)
    assert error.value.code == code


def test_another_tenant_sees_nothing(world: World) -> None:
    token = world.page("SELECT * FROM digitaltwins", page_size=2).token
    other = World(world.site.neighbour(), world.runner)
    assert other.rows("SELECT * FROM digitaltwins") == []
    _refused(other, token)
    assert other.rows(T + "T.head > 0 OR NOT IS_DEFINED(T.head)") == []
    assert other.rows("SELECT * FROM relationships R WHERE R.$sourceId = 'p1'") == []
    assert other.rows("SELECT COUNT() FROM digitaltwins") == [{"COUNT": 0}]
    for text in (
        "SELECT * FROM digitaltwins MATCH (a)-[r]-(b)",
        "SELECT a, b FROM digitaltwins MATCH (a)-[*..3]->(b)",
        "SELECT p FROM digitaltwins MATCH SHORTEST (a)-[p]-(b)",
        "SELECT a FROM digitaltwins a OPTIONAL JOIN b RELATED a.feeds ORDER BY a.label",
        "SELECT DISTINCT a.label FROM digitaltwins a WHERE SEARCH(a, 'p')",
        "SELECT a.label, COUNT() FROM digitaltwins a GROUP BY a.label",
        "SELECT a.$dtId, LAST(a.head, '1h', 'count') AS n FROM digitaltwins a",
    ):
        assert world.rows(text)
        assert other.rows(text) == []
    ordered = world.page("SELECT * FROM digitaltwins T ORDER BY T.label", page_size=2).token
    _refused(other, ordered)


def _refused(other: World, token: str | None) -> None:
    with pytest.raises(InvalidError, match="not one that a query of this tenant gave"):
        other.page(token=token)

"""Order, groups, distinct rows and offsets: what the model of test_graph_semantics does not say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from gemel.base.errors import InvalidError
from gemel.graph.indexes import add_index
from gemel.query import Ask, QueryPage, run_query
from gemel.query.token import Position, decode_position, encode_position
from integration.query.conftest import World
from support.graph import PUMP, ROOM, Site, interface, open_site, prop
from support.postgres import Dsns

DESCENDING = "SELECT T.$dtId FROM digitaltwins T WHERE IS_OF_MODEL(T, 'dtmi:t:Room;1') ORDER BY T.area DESC"

RUNNING = """
SELECT count(*) FROM pg_stat_activity
WHERE state = 'active' AND query LIKE '%relationship AS%' AND pid <> pg_backend_pid()"""


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


async def page(
    site: Site, text: str | None = None, token: str | None = None, size: int | None = 3, timeout_s: float = 60
) -> QueryPage:
    async with site.db.read(site.tenant) as tx:
        return await run_query(tx, site.context, Ask(text, token, size), timeout_s=timeout_s)


def ids(found: QueryPage) -> list[str]:
    return [row["$dtId"] for row in found.items]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            "SELECT T.$metadata.$model AS model, COUNT() FROM digitaltwins T GROUP BY T.$metadata.$model "
            "ORDER BY COUNT() DESC, model",
            [
                {"model": "dtmi:t:Pump;1", "COUNT": 5},
                {"model": "dtmi:t:Kinds;1", "COUNT": 4},
                {"model": "dtmi:t:Pump;2", "COUNT": 2},
                {"model": "dtmi:t:Room;1", "COUNT": 1},
            ],
        ),
        (
            "SELECT COUNT(), COUNT(T.count) AS counted, SUM(T.count) AS total, AVG(T.count) AS mean, "
            "MIN(T.count) AS low, MAX(T.count) AS high FROM digitaltwins T",
            [{"COUNT": 12, "counted": 5, "total": 7.5, "mean": 1.5, "low": -1, "high": 3}],
        ),
        ("SELECT SUM(T.power) AS s FROM digitaltwins T", [{"s": 2**53 + 2}]),
        (
            "SELECT SUM(T.serial) AS s, MAX(T.serial) AS m FROM digitaltwins T",
            [{"s": -(2**63) + 2**54 + 4, "m": 2**53 + 1}],
        ),
        (
            "SELECT SUM(T.label) AS s, AVG(T.nothing) AS a, COUNT(T.motor) AS c FROM digitaltwins T",
            [{"c": 2}],
        ),
        (
            "SELECT MIN(T.label) AS low, MAX(T.label) AS high FROM digitaltwins T",
            [{"low": "", "high": "two"}],
        ),
        ("SELECT MIN(T.$dtId) AS low, MAX(T.$etag) AS e FROM digitaltwins T WHERE T.$dtId = 'x'", [{}]),
        ("SELECT COUNT() FROM digitaltwins T OFFSET 1", []),
        ("SELECT TOP(0) COUNT() FROM digitaltwins T", []),
        (
            "SELECT DISTINCT T.label FROM digitaltwins T ORDER BY T.label DESC OFFSET 1",
            [{"label": label} for label in ("one", "b", "Zürich 'x' \\ %s {} $1 €", "")] + [{}],
        ),
        ("SELECT DISTINCT T.running AS r FROM digitaltwins T ORDER BY r", [{"r": False}, {"r": True}, {}]),
        ("SELECT DISTINCT COUNT() AS n FROM digitaltwins", [{"n": 12}]),
        (
            "SELECT DISTINCT T.running, T.running AS r FROM digitaltwins T GROUP BY T.running ORDER BY r DESC",
            [{"running": True, "r": True}, {"running": False, "r": False}, {}],
        ),
        (
            "SELECT DISTINCT COUNT() AS n FROM digitaltwins T GROUP BY T.label, T.running ORDER BY n",
            [{"n": 1}, {"n": 6}],
        ),
        (
            "SELECT DISTINCT T.count, MAX(T.running) AS m FROM digitaltwins T GROUP BY T.$dtId, T.count "
            "ORDER BY T.count DESC OFFSET 1",
            [{"count": 2.5}, {"count": 0}, {"count": -1}, {}],
        ),
        (
            "SELECT DISTINCT a.label, COUNT() AS n FROM digitaltwins a JOIN b RELATED a.feeds GROUP BY a, b "
            "ORDER BY a.label",
            [{"label": "one", "n": 1}, {"label": "two", "n": 1}],
        ),
        (
            "SELECT a.$dtId, COUNT(b) AS n FROM digitaltwins a OPTIONAL JOIN b RELATED a.feeds "
            "WHERE IS_OF_MODEL(a, 'dtmi:t:Pump;1') GROUP BY a.$dtId ORDER BY n DESC, a.$dtId",
            [{"$dtId": f"p{number}", "n": n} for number, n in ((1, 2), (2, 1), (3, 0), (4, 0), (5, 0))],
        ),
        (
            "SELECT R.$relationshipName AS name, MAX(R.diameter) AS widest FROM relationships R "
            "GROUP BY R.$relationshipName ORDER BY name",
            [{"name": "contains"}, {"name": "feeds", "widest": 2.5}],
        ),
        (
            "SELECT T.$dtId FROM digitaltwins T WHERE T.count < 9 ORDER BY T.count DESC, $dtId OFFSET 2",
            [{"$dtId": "k2"}, {"$dtId": "p3"}, {"$dtId": "p2"}],
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_answers(world: World, text: str, rows: list[dict[str, Any]], size: int) -> None:
    assert world.rows(text, size) == rows


def test_a_group_of_a_twin_has_its_document(world: World) -> None:
    (row,) = world.rows(
        "SELECT a, a.label AS name, COUNT() AS n FROM digitaltwins a JOIN b RELATED a.feeds "
        "WHERE a.$dtId = 'p1' GROUP BY a"
    )
    assert row == {"a": world.run(world.site.get("p1")).body, "name": "one", "n": 2}
    links = world.rows("SELECT DISTINCT r FROM digitaltwins MATCH (a)-[r:feeds]->() WHERE a.$dtId = 'p1'")
    assert [link["r"]["$relationshipId"] for link in links] == ["f1", "f2"]


@pytest.mark.parametrize(
    "order", ["", " ORDER BY T.label", " ORDER BY T.count DESC, T.$etag", " ORDER BY T.motor"]
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_top_and_offset_are_parts_of_the_whole(world: World, order: str, size: int) -> None:
    everything = world.ids("SELECT * FROM digitaltwins T" + order)
    for top, offset in ((3, 0), (3, 2), (100, 5), (5, 11), (5, 12), (5, 100)):
        found = world.ids(f"SELECT TOP({top}) * FROM digitaltwins T{order} OFFSET {offset}", size)
        assert found == everything[offset : offset + top]


def test_rows_whose_order_stays_are_seen_once_whatever_else_changes(
    database: Dsns, runner: asyncio.Runner
) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            for number in range(12):
                await site.put(f"r{number}", ROOM, area=float(number))
            await site.put("none", ROOM)
            first = await page(site, DESCENDING)
            assert ids(first) == ["r11", "r10", "r9"]
            await site.delete("r9")
            await site.patch("r0", {"op": "replace", "path": "/area", "value": 99})
            await site.put("new", ROOM, area=8.0)
            second = await page(site, token=first.token)
            assert ids(second) == ["r8", "new", "r7"]
            await site.patch("r10", {"op": "replace", "path": "/area", "value": 4.5})
            third = await page(site, token=second.token, size=4)
            assert ids(third) == ["r6", "r5", "r10", "r4"]
            # Where no size is given, it is that of the page before.
            fourth = await page(site, token=third.token, size=None)
            assert ids(fourth) == ["r3", "r2", "r1", "none"]
            assert fourth.token is None

    runner.run(work())


def test_groups_go_on_after_the_last_whatever_else_changes(database: Dsns, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            for number in range(8):
                await site.put(f"r{number}", ROOM, area=number / 3)
            text = "SELECT T.area, AVG(T.area) AS a FROM digitaltwins T GROUP BY T.area ORDER BY a OFFSET 1"
            first = await page(site, text)
            await site.delete("r0")
            await site.put("low", ROOM, area=-1.0)
            second = await page(site, token=first.token)
            third = await page(site, token=second.token)
            assert [row["area"] for found in (first, second, third) for row in found.items] == [
                number / 3 for number in range(1, 8)
            ]

    runner.run(work())


def test_pages_go_on_where_an_index_is_made_between_them(database: Dsns, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            for number in range(6):
                await site.put(f"p{number}", head=1.0)
            for number in range(5):
                await site.relate(f"p{number}", "f", f"p{number + 1}")
            text = "SELECT a.$dtId FROM digitaltwins MATCH (a)-[:feeds]->(b) WHERE b.head = 1"
            first = await page(site, text)
            async with site.db.write(site.tenant) as tx:
                await add_index(tx, site.context, PUMP, "head")
            second = await page(site, token=first.token)
            assert (ids(first), ids(second)) == (["p0", "p1", "p2"], ["p3", "p4"])
            again = await page(site, f"EXPLAIN {text}")
            assert "promoted_value" in again.items[0]["sql"]

    runner.run(work())


# What one path of several models may have, in order; of two that are equal, the twin made first comes first. A double
# is the number that its shortest digits are.
ORDERED: list[tuple[str, Any]] = [
    ("long", -(2**63)),
    ("double", -1.5),
    ("double", -0.0),
    ("long", 0),
    ("double", 0.1),
    ("double", 2.0),
    ("long", 2),
    ("long", 2**53 - 1),
    ("double", 2.0**53),
    ("long", 2**53),
    ("long", 2**53 + 1),
    ("long", 2**60 - 1),
    ("long", 2**60),
    ("double", 2.0**60),
    ("double", 1e300),
    ("boolean", False),
    ("boolean", True),
    ("string", ""),
    ("string", "2"),
    ("string", "a"),
    ("string", "\u00e4"),
    ("object", {"x": 1.0}),
    ("double", None),
]


def _is_before(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    """Say whether two neighbours of ORDERED differ in their place."""
    numbers = [
        Decimal(repr(value))
        for kind, value in (one, other)
        if kind in ("double", "long") and value is not None
    ]
    return numbers[0] < numbers[1] if len(numbers) == 2 else one[0] != "object"


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_values_of_all_types_are_in_one_order(database: Dsns, runner: asyncio.Runner, size: int) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            fields = {"@type": "Object", "fields": [{"name": "x", "schema": "double"}]}
            for kind in ("double", "long", "boolean", "string", "object"):
                schema = fields if kind == "object" else kind
                await site.add_models([interface(f"dtmi:t:v:{kind};1", prop("v", schema))])
            for kind, value in ORDERED:
                own = {} if value is None else {"v": value}
                await site.put(f"t{ORDERED.index((kind, value))}", f"dtmi:t:v:{kind};1", **own)
            groups: list[list[str]] = []
            for number, each in enumerate(ORDERED):
                if number == 0 or _is_before(ORDERED[number - 1], each):
                    groups.append([])
                groups[-1].append(f"t{number}")
            falling = [*groups[-2::-1], groups[-1]]
            for direction, expected in (("", groups), (" DESC", falling)):
                for top in ("", "TOP(100) "):
                    text = f"SELECT {top}T.$dtId, T.v FROM digitaltwins T ORDER BY T.v{direction}"
                    found, answer = [], await page(site, text, size=size)
                    found += answer.items
                    while answer.token is not None:
                        answer = await page(site, token=answer.token, size=size)
                        found += answer.items
                    assert [row["$dtId"] for row in found] == [name for group in expected for name in group]
                    values = {f"t{number}": value for number, (_, value) in enumerate(ORDERED)}
                    assert {row["$dtId"]: row.get("v") for row in found} == values

    runner.run(work())


def test_a_key_of_another_shape_is_refused(world: World) -> None:
    token = world.page("SELECT * FROM digitaltwins T ORDER BY T.head", page_size=2).token
    assert token is not None
    plain = world.page("SELECT * FROM digitaltwins T", page_size=2).token
    assert plain is not None
    assert world.page(token=token).items
    position = decode_position(token, world.site.tenant)
    for after in (
        decode_position(plain, world.site.tenant).after,
        ("1e999999999", None, None, 1),
        ("1", "[", None, 1),
        ("1", "{}", "x", None),
        ("1", None, 1),
    ):
        forged = encode_position(Position(position.text, after), world.site.tenant)
        with pytest.raises(InvalidError) as error:
            world.page(token=forged)
        assert error.value.code == "BadRequest"


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("ordered.ROWS_MAX", "SELECT T.$dtId FROM digitaltwins T ORDER BY T.head"),
        ("grouped.ROWS_MAX", "SELECT DISTINCT T.head FROM digitaltwins T"),
        ("grouped.ROWS_MAX", "SELECT T.head, COUNT() FROM digitaltwins T GROUP BY T.head"),
        ("shortest.STEPS_MAX", "SELECT a FROM digitaltwins MATCH SHORTEST (a)-[]-(b)"),
        ("hops.STEPS_MAX", "SELECT COUNT() FROM digitaltwins MATCH (a)-[*..9]-(b)"),
    ],
)
def test_too_many_rows_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str, text: str
) -> None:
    assert world.page(text).items
    monkeypatch.setattr(f"gemel.query.{limit}", 3)
    with pytest.raises(InvalidError) as error:
        world.page(text)
    assert error.value.code == "LimitExceeded"
    assert world.page("SELECT COUNT() FROM digitaltwins").items


@pytest.mark.parametrize(
    "text",
    [
        "SELECT COUNT() FROM digitaltwins MATCH " + "-[]-".join("()" for _ in range(11)),
        "SELECT a, b FROM digitaltwins MATCH (a)"
        + "".join(f"-[r{n}]-()" for n in range(12))
        + "-[]->(b) ORDER BY b.area",
        "SELECT a.$dtId FROM digitaltwins MATCH (a)-[*..90]-(b)-[*..90]-(c)-[*..90]-(d) ORDER BY d.area",
        "SELECT DISTINCT b.area FROM digitaltwins MATCH (a)" + "-[]->()" * 20 + "-[]->(b)",
    ],
)
def test_what_would_run_for_ever_is_stopped(database: Dsns, runner: asyncio.Runner, text: str) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            await _dense(site, 40)
            with pytest.raises(InvalidError) as error:
                await page(site, text, timeout_s=0.5)
            assert error.value.code == "TimeoutError"
            found = await page(site, "SELECT COUNT() FROM relationships", timeout_s=0.5)
            assert found.items == [{"COUNT": 40 * 39}]
            with psycopg.connect(site.dsns.owner) as owner:
                assert owner.execute(RUNNING).fetchone() == (0,)

    runner.run(work())


async def _dense(site: Site, twins: int) -> None:
    """Relate every twin to every other, behind the back of everything but the query."""
    for number in range(twins):
        await site.put(f"r{number}", ROOM, area=1.0)
    with psycopg.connect(site.dsns.owner, autocommit=True) as owner:
        owner.execute(
            """
            INSERT INTO relationship (tenant, source_no, relationship_id, name, target_no, valid_from, recorded)
            SELECT s.tenant, s.twin_no, t.twin_id, 'contains', t.twin_no, now(), now()
            FROM twin AS s JOIN twin AS t ON t.tenant = s.tenant AND t.twin_no <> s.twin_no
            WHERE s.tenant = %s""",
            (site.tenant,),
        )

"""LAST over history, SEARCH over names, and EXPLAIN."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import InvalidError
from gemel.history.moment import Moment
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded, encode
from gemel.history.write import write_samples
from gemel.query import Ask, run_query
from gemel.query.token import decode_position, encode_position
from integration.query.conftest import World
from support.graph import ROOM, Site, interface, open_site, prop
from support.postgres import Dsns

MINUTE_US = 60_000_000
NAMED = "dtmi:t:Named;1"
NAMED_MODEL = interface(
    NAMED,
    prop("name", "string"),
    prop("displayName", "string"),
    prop("note", "string"),
    {"@type": "Telemetry", "name": "state", "schema": "string"},
)


@pytest.fixture(scope="module")
def sampled(database: Dsns) -> Iterator[World]:
    with asyncio.Runner() as runner:
        opening = open_site(database)
        site = runner.run(opening.__aenter__())
        runner.run(_fill(site))
        yield World(site, runner)
        runner.run(opening.__aexit__(None, None, None))


async def _fill(site: Site) -> None:
    await site.add_models([NAMED_MODEL])
    start: dict[str, Any] = {"$metadata": {"$validFrom": iso_us(now_us() - 180 * MINUTE_US)}}
    await site.put("p1", **deepcopy(start))
    await site.put("p2", head=7.0, **deepcopy(start))
    await site.put("p3", **deepcopy(start))
    await site.put("r1", ROOM, area=1.0)
    await site.put("n1", NAMED, name="North PUMP", displayName="Pumpe Öst", note="blue")
    await site.put("n2", NAMED, displayName="Boiler of the north")
    now = now_us()
    flow = {"p1": [(1, 1.0), (2, 3.0), (30, 5.0), (90, 100.0)], "p2": [(5, 2.0)], "p3": [(70, 9.0)]}
    state = {"n1": [(1, "on"), (2, "off")]}
    rows = [(twin, "flow", at, encode(value, "double"), 0) for twin, all in flow.items() for at, value in all]
    rows += [
        (twin, "state", at, encode(value, "json"), 0) for twin, all in state.items() for at, value in all
    ]
    rows += [("p1", "flow", 3, encode(1e6, "double"), 2), ("p1", "head", 4, encode(4.0, "double"), 0)]
    rows += [("p1", "head", 1, Encoded(None, 3, None), 0)]
    async with site.db.write(site.tenant) as tx:
        numbers: dict[str, int] = dict(await tx.rows("SELECT twin_id, twin_no FROM twin"))
        paths = await site.context.paths.ensure(
            tx, [("flow", "telemetry"), ("state", "telemetry"), ("head", "property")]
        )
        role = {"flow": "telemetry", "state": "telemetry", "head": "property"}
        batch = [
            Sample(
                numbers[twin] << 20 | paths[path, role[path]],
                now - at * MINUTE_US,
                value,
                0,
                quality,
                tx.stamp(),
            )
            for twin, path, at, value, quality in rows
        ]
        await write_samples(tx, SampleBatch.of(batch))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("LAST(T.flow, '1h', 'avg')", {"p1": 3.0, "p2": 2.0}),
        ("LAST(T.flow, '1h', 'sum')", {"p1": 9.0, "p2": 2.0}),
        ("LAST(T.flow, '2h', 'MAX')", {"p1": 100.0, "p2": 2.0, "p3": 9.0}),
        ("LAST(T.flow, '10m', 'min')", {"p1": 1.0, "p2": 2.0}),
        ("LAST(T.flow, '10m', 'first')", {"p1": 3.0, "p2": 2.0}),
        ("LAST(T.flow, '7d', 'last')", {"p1": 1.0, "p2": 2.0, "p3": 9.0}),
        ("LAST(T.flow, '30s', 'last')", {}),
        ("LAST(T.state, '1h', 'last')", {"n1": "on"}),
        ("LAST(T.state, '1h', 'avg')", {}),
        ("LAST(T.head, '7d', 'last')", {"p1": 4.0, "p2": 7.0}),
        ("LAST(T.nothing, '1h', 'sum')", {}),
    ],
)
def test_functions_of_a_window(sampled: World, call: str, expected: dict[str, Any]) -> None:
    rows = sampled.rows(f"SELECT T.$dtId, {call} AS v FROM digitaltwins T")
    assert {row["$dtId"]: row["v"] for row in rows if "v" in row} == expected
    assert len(rows) == 6


def test_counts_of_a_window_are_never_missing(sampled: World) -> None:
    rows = sampled.rows(
        "SELECT T.$dtId, LAST(T.flow, '1h', 'count') AS n FROM digitaltwins T ORDER BY n DESC, $dtId"
    )
    assert rows[:3] == [{"$dtId": "p1", "n": 3}, {"$dtId": "p2", "n": 1}, {"$dtId": "n1", "n": 0}]
    assert sampled.rows("SELECT LAST(T.gone, '1h', 'count') AS n FROM digitaltwins T WHERE $dtId = 'p1'") == [
        {"n": 0}
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("WHERE LAST(T.flow, '1h', 'avg') > 2.5", ["p1"]),
        ("WHERE LAST(T.flow, '1h', 'avg') <= 2", ["p2"]),
        ("WHERE NOT LAST(T.flow, '1h', 'avg') > 2.5", ["p2"]),
        ("WHERE NOT IS_DEFINED(LAST(T.flow, '1h', 'avg')) AND IS_OF_MODEL(T, 'dtmi:t:Pump;1')", ["p3"]),
        (
            "WHERE LAST(T.state, '1h', 'last') IN ['on', 'off'] OR CONTAINS(LAST(T.state, '1h', 'last'), 'x')",
            ["n1"],
        ),
        ("WHERE LAST(T.flow, '1h', 'count') = 0 AND IS_OF_MODEL(T, 'dtmi:t:Pump;1')", ["p3"]),
        (
            "WHERE IS_DEFINED(LAST(T.flow, '2h', 'max')) ORDER BY LAST(T.flow, '2h', 'max') DESC",
            ["p1", "p3", "p2"],
        ),
        ("WHERE SEARCH(T, 'north pump')", ["n1"]),
        ("WHERE SEARCH(T, 'NORTH')", ["n1", "n2"]),
        ("WHERE SEARCH('öst')", ["n1"]),
        ("WHERE SEARCH(T, 'n2 boil')", ["n2"]),
        ("WHERE SEARCH(T, 'blue')", []),
        ("WHERE SEARCH(T.note, 'BL')", ["n1"]),
        ("WHERE NOT SEARCH(T.note, 'red') OR SEARCH(T.$dtId, 'R')", ["r1", "n1"]),
        ("WHERE SEARCH(T, '% _ \\\\')", []),
    ],
)
def test_windows_and_searches_choose_and_order(sampled: World, text: str, ids: list[str]) -> None:
    assert sampled.ids(f"SELECT T.$dtId FROM digitaltwins T {text}") == ids


def test_a_twin_that_is_not_there_has_no_samples_to_count(sampled: World) -> None:
    text = "SELECT b, LAST(b.flow, '1h', 'count') AS n FROM digitaltwins a OPTIONAL JOIN b RELATED a.feeds"
    assert sampled.rows(f"{text} WHERE a.$dtId = 'p1'") == [{}]


def test_windows_can_be_aggregated(sampled: World) -> None:
    (row,) = sampled.rows(
        "SELECT COUNT(LAST(T.flow, '1h', 'avg')) AS n, SUM(LAST(T.flow, '2h', 'max')) AS s FROM digitaltwins T"
    )
    assert row == {"n": 2, "s": 111}


def test_all_pages_have_the_windows_of_the_first(sampled: World) -> None:
    text = "SELECT T.$dtId, LAST(T.flow, '1h', 'avg') AS v FROM digitaltwins T"
    first = sampled.page(text, page_size=1)
    assert first.token is not None
    position = decode_position(first.token, sampled.site.tenant)
    assert abs(position.now_us - now_us()) < 60 * MINUTE_US
    again = sampled.page(token=first.token, page_size=1)
    assert again.items == [{"$dtId": "p2", "v": 2.0}]
    earlier = encode_position(replace(position, now_us=position.now_us - 10 * MINUTE_US), sampled.site.tenant)
    assert sampled.page(token=earlier, page_size=1).items == [{"$dtId": "p2"}]


def test_windows_end_at_the_moment_that_is_asked_of(sampled: World) -> None:
    asked = now_us() - 20 * MINUTE_US

    async def ask(moment: Moment) -> dict[str, Any]:
        text = "SELECT T.$dtId, LAST(T.flow, '1h', 'sum') AS v FROM digitaltwins T"
        async with sampled.site.db.read(sampled.site.tenant) as tx:
            page = await run_query(tx, sampled.site.context, Ask(text, moment=moment))
        return {row["$dtId"]: row["v"] for row in page.items if "v" in row}

    assert sampled.run(ask(Moment(as_of_us=asked))) == {"p1": 5.0, "p3": 9.0}
    assert sampled.run(ask(Moment(as_of_us=asked, known_at_us=asked))) == {}


def test_explain_shows_what_a_query_becomes(sampled: World) -> None:
    page = sampled.page(
        "EXPLAIN SELECT TOP(5) a, b.head FROM digitaltwins MATCH (a)-[:feeds]->(b) "
        "WHERE a.$dtId = 'p1' AND b.head > 1.5 ORDER BY b.head"
    )
    assert page.token is None
    (row,) = page.items
    assert [step["pass"] for step in row["passes"]] == ["parse", "resolve_names", "bind_paths"]
    assert row["passes"][0]["tree"]["node"] == "Query"
    assert "StoredWindow" not in str(row)
    assert row["sql"].startswith("SELECT m.c0")
    assert "feeds" in row["parameters"]
    assert "p1" in row["parameters"]
    assert row["indexes"] == {"head": False}
    assert any("twin_tenant_twin_id_key" in line for line in row["plan"])
    page = sampled.page(
        "explain SELECT LAST(T.flow, '1h', 'avg') FROM digitaltwins T WHERE IS_OF_MODEL('dtmi:x;1')"
    )
    assert page.warnings == ("There is no model dtmi:x;1.",)
    assert any("Result" in line or "Scan" in line for line in page.items[0]["plan"])


def test_explain_is_refused_as_its_query_is(sampled: World) -> None:
    with pytest.raises(InvalidError) as error:
        sampled.page("EXPLAIN SELECT a FROM digitaltwins a WHERE")
    assert error.value.code == "SqlQueryError"

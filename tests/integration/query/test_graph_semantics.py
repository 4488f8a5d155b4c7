"""Random patterns and joins over small random graphs, against the meaning in tests/support/query_model.py."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemel.query.parse import parse
from integration.query.conftest import World
from support.graph import ASSET, MODELS, PUMP, PUMP2, ROOM, Site, open_site
from support.postgres import Dsns
from support.query_model import Graph, answer

SEED = 20260207
TWINS = ["p1", "p2", "p3", "q1", "q2", "r1", "r2"]
MODEL_OF = {"p": PUMP, "q": PUMP2, "r": ROOM}
FAMILIES = {ASSET: {PUMP, PUMP2}, PUMP: {PUMP}, PUMP2: {PUMP2}, ROOM: {ROOM}}
DENSITIES = (0.08, 0.2, 0.45)


async def _graph(site: Site, chance: random.Random, density: float) -> None:
    await site.add_models(MODELS)
    for twin_id in TWINS:
        values: dict[str, Any] = (
            {"head": chance.choice([0.0, 1.0, 2.5])} if twin_id[0] != "r" else {"area": 1.0}
        )
        if twin_id[0] != "r" and chance.random() < 0.7:
            values["label"] = chance.choice(["a", "b", "é"])
        await site.put(twin_id, MODEL_OF[twin_id[0]], **values)
    for source in TWINS:
        for target in TWINS:
            for number in range(2):
                if source == target or chance.random() > density:
                    continue
                name = "contains" if source[0] == "r" else "feeds"
                if name == "feeds" and target[0] == "r":
                    continue
                more = (
                    {"diameter": chance.choice([1.0, 2.0])}
                    if name == "feeds" and chance.random() < 0.6
                    else {}
                )
                await site.relate(source, f"{target}.{number}", target, name, **more)


@pytest.fixture(scope="module")
def graphs(database: Dsns) -> Iterator[list[tuple[World, Graph]]]:
    print(f"seed {SEED}")
    with asyncio.Runner() as runner:
        opening = open_site(database)
        site = runner.run(opening.__aenter__())
        found = []
        for number, density in enumerate(DENSITIES):
            world = World(site.neighbour(), runner)
            world.run(_graph(world.site, random.Random(SEED + number), density))
            twins = world.rows("SELECT * FROM digitaltwins")
            links = world.rows("SELECT * FROM relationships")
            found.append((world, Graph(twins, links, FAMILIES)))
        yield found
        runner.run(opening.__aexit__(None, None, None))


def rarely(draw: st.DrawFn, of: int = 4) -> bool:
    return draw(st.integers(1, of)) == of


NAMES = st.sampled_from(["", "", ":feeds", ":contains", ":feeds|contains", ":nothing"])
HOPS = st.sampled_from(["*1", "*2", "*..2", "*..3", "*0..1", "*1..3", "*2..4", "*..7"])
EDGES = st.sampled_from([("-", "->"), ("-", "->"), ("<-", "-"), ("-", "-")])


@st.composite
def patterns(draw: st.DrawFn) -> str:
    nodes = draw(st.integers(1, 4))
    text = "digitaltwins MATCH "
    for number in range(nodes):
        if number:
            left, right = draw(EDGES)
            hops = draw(HOPS) if rarely(draw, 3) else ""
            variable = f"r{number}" if not hops and draw(st.booleans()) else ""
            text += f"{left}[{variable}{draw(NAMES)}{hops}]{right}"
        alias = draw(st.sampled_from("abcd"[: nodes + 1])) if not rarely(draw) else ""
        text += f"({alias})"
    return text


@st.composite
def sources(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["match", "match", "join", "relationships"]))
    if kind == "relationships":
        return "relationships r1"
    text, twins = ("digitaltwins a", ["a"]) if kind == "join" else (draw(patterns()), [])
    twins = twins or aliases(text, "abcd")
    for number in range(draw(st.integers(0, 3) if twins else st.just(0))):
        optional = "OPTIONAL " if rarely(draw, 3) else ""
        variable = f" j{number}" if draw(st.booleans()) else ""
        relation = draw(st.sampled_from(["feeds", "feeds", "contains"]))
        text += f" {optional}JOIN x{number} RELATED {draw(st.sampled_from(twins))}.{relation}{variable}"
        twins = [*twins, f"x{number}"]
    return text


def aliases(source: str, starting: str) -> list[str]:
    named = parse(f"SELECT COUNT() FROM {source}").named
    return [name for name in named if name[0] in starting]


TWIN_TESTS = [
    "{}.$dtId = 'p1'", "{}.$dtId IN ['p2', 'q1', 'r1']", "{}.$dtId > 'p3'", "{}.$dtId != 5", "{}.head > 1",
    "{}.head = 2.5", "{}.label = 'b'", "{}.label != 'b'", "IS_DEFINED({}.label)", "IS_DEFINED({})",
    "IS_OBJECT({}.motor)", "{}.area = 1",
    "IS_OF_MODEL({}, 'dtmi:t:Asset;1')", "IS_OF_MODEL({}, 'dtmi:t:Pump;1', exact)",
    "STARTSWITH({}.$metadata.$model, 'dtmi:t:P')", "{}.$metadata.head.lastUpdateTime > '2020-01-01T00:00:00Z'",
    "{}.$metadata.$lastUpdateTime > '2020-01-01T00:00:00Z'", "{}.$etag = 'x'", "NOT {}.$etag = 'x'",
]  # fmt: skip
LINK_TESTS = [
    "{}.diameter > 1", "{}.diameter != 2", "IS_DEFINED({}.diameter)", "{}.$relationshipName = 'feeds'",
    "IS_DEFINED({})",
    "{}.$sourceId = 'p1'", "{}.$targetId IN ['p2', 'q1']", "CONTAINS({}.$relationshipId, '.1')", "{}.$targetId < 'q'",
]  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn, source: str) -> str:
    named = aliases(source, "abcdxrj")

    def test() -> str:
        name = draw(st.sampled_from(named))
        return draw(st.sampled_from(LINK_TESTS if name[0] in "rj" else TWIN_TESTS)).format(name)

    text = test()
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.sampled_from(["{} AND {}", "({} OR {})", "NOT ({}) AND {}"])).format(text, test())
    return text


@st.composite
def queries(draw: st.DrawFn) -> tuple[str, str]:
    """Return what is selected, and the rest of a query."""
    source = draw(sources())
    named = aliases(source, "abcdxrj")
    rest = f"FROM {source}"
    if not named:
        return "COUNT()", rest
    if not rarely(draw, 5):
        rest += f" WHERE {draw(conditions(source))}"
    columns = {
        name: ["$relationshipId", "$sourceId", "diameter"]
        if name[0] in "rj"
        else ["$dtId", "head", "label", "$etag"]
        for name in named
    }
    items = [f"{name}.{draw(st.sampled_from(columns[name]))} AS {name}0" for name in named]
    return draw(st.sampled_from(["*", ", ".join(named), ", ".join(items)])), rest


def counted(rows: list[Any]) -> Counter[bytes]:
    return Counter(msgspec.json.encode(row, order="sorted") for row in rows)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=queries(), which=st.integers(0, 2), size=st.sampled_from([1, 3, 1000]))
def test_patterns_and_joins_mean_what_they_say(
    graphs: list[tuple[World, Graph]], query: tuple[str, str], which: int, size: int
) -> None:
    world, graph = graphs[which]
    selected, rest = query
    expected = answer(f"SELECT {selected} {rest}", graph)
    size = size if len(expected) <= 60 else 1000
    FOUND[min(len(expected), 10)] += 1
    assert counted(world.rows(f"SELECT {selected} {rest}", size)) == counted(expected)
    if selected != "COUNT()":
        assert world.rows(f"SELECT COUNT() {rest}") == [{"COUNT": len(expected)}]


def test_the_examples_are_worth_something() -> None:
    """Of the queries above, many find nothing, but many do, and many find much."""
    assert sum(FOUND.values()) >= 300
    assert FOUND[0] < 0.6 * sum(FOUND.values())
    assert FOUND[10] > 0.15 * sum(FOUND.values())


FOUND: Counter[int] = Counter()

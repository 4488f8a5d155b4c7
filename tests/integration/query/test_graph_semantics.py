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
    kind = draw(st.sampled_from(["match", "match", "join", "relationships", "shortest"]))
    if kind == "shortest":
        left, right = draw(EDGES)
        hops = draw(st.sampled_from(["", "*..2", "*1", "*..4"]))
        end = draw(st.sampled_from(["(b)", "(b)", "(a)", "() JOIN x0 RELATED a.feeds"]))
        return f"digitaltwins MATCH SHORTEST (a){left}[w{draw(NAMES)}{hops}]{right}{end}"
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
    "SEARCH({}, 'P b')", "SEARCH({}, 'É')", "NOT SEARCH({}, '1')", "SEARCH({}.label, 'B')", "NOT SEARCH({}.label, 'é')",
    "{}.$metadata.$lastUpdateTime > '2020-01-01T00:00:00Z'", "{}.$etag = 'x'", "NOT {}.$etag = 'x'",
]  # fmt: skip
LINK_TESTS = [
    "{}.diameter > 1", "{}.diameter != 2", "IS_DEFINED({}.diameter)", "{}.$relationshipName = 'feeds'",
    "IS_DEFINED({})",
    "{}.$sourceId = 'p1'", "{}.$targetId IN ['p2', 'q1']", "CONTAINS({}.$relationshipId, '.1')",
    "{}.$targetId < 'q'", "SEARCH({}.$targetId, 'P')",
]  # fmt: skip


WAY_TESTS = [
    "{}.length = 2",
    "{}.length > 1",
    "NOT {}.length IN [1, 3]",
    "IS_DEFINED({})",
    "IS_NUMBER({}.length)",
]


@st.composite
def conditions(draw: st.DrawFn, source: str) -> str:
    named = aliases(source, "abcdxrjw")

    def test() -> str:
        name = draw(st.sampled_from(named))
        tests = {"r": LINK_TESTS, "j": LINK_TESTS, "w": WAY_TESTS}.get(name[0], TWIN_TESTS)
        return draw(st.sampled_from(tests)).format(name)

    text = test()
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.sampled_from(["{} AND {}", "({} OR {})", "NOT ({}) AND {}"])).format(text, test())
    return text


PROPERTIES = {
    "twin": [
        "$dtId",
        "head",
        "label",
        "$metadata.$model",
        "$metadata.head.sourceTime",
        "$lifecycle",
        "motor",
        "nothing",
    ],
    "way": ["length"],
    "link": ["$relationshipId", "$sourceId", "diameter", "$relationshipName", "nothing"],
}
FUNCTIONS = ["COUNT", "MIN", "MAX", "SUM", "AVG"]


@st.composite
def paths(draw: st.DrawFn, named: list[str]) -> str:
    name = draw(st.sampled_from(named))
    kind = {"r": "link", "j": "link", "w": "way"}.get(name[0], "twin")
    return f"{name}.{draw(st.sampled_from(PROPERTIES[kind]))}"


@st.composite
def orders(draw: st.DrawFn, terms: st.SearchStrategy[str]) -> str:
    if rarely(draw, 2):
        return ""
    wanted = draw(st.lists(terms, min_size=1, max_size=3))
    return " ORDER BY " + ", ".join(term + draw(st.sampled_from(["", " ASC", " DESC"])) for term in wanted)


@st.composite
def queries(draw: st.DrawFn) -> str:
    source = draw(sources())
    named = aliases(source, "abcdxrjw")
    rest = f"FROM {source}"
    if not named:
        return f"SELECT COUNT() {rest}"
    if not rarely(draw, 5):
        rest += f" WHERE {draw(conditions(source))}"
    kind = draw(
        st.sampled_from(["*", "documents", "values", "values", "distinct", "groups", "groups", "all"])
    )
    path, named = paths(named), [name for name in named if name[0] != "w"]
    values = draw(st.lists(path, min_size=1, max_size=3, unique=True))
    if kind == "distinct":
        named = draw(st.lists(st.sampled_from(named), unique=True, max_size=1))
        items = [f"{each} AS i{place}" for place, each in enumerate([*named, *values])]
        return f"SELECT DISTINCT {', '.join(items)} {rest}{draw(orders(st.sampled_from(values)))}"
    if kind in ("groups", "all"):
        keys = (
            [*values, *draw(st.lists(st.sampled_from(named), unique=True, max_size=1))]
            if kind == "groups"
            else []
        )
        terms = draw(st.lists(aggregates(named), min_size=1, max_size=3))
        items = [f"{each} AS i{place}" for place, each in enumerate([*keys, *terms])]
        grouped = f" GROUP BY {', '.join(keys)}" if keys else ""
        if draw(st.booleans()):
            chosen = draw(st.lists(st.integers(0, len(items) - 1), min_size=1, unique=True))
            orderly = [f"i{place}" for place in chosen if place >= len(keys) or "." in keys[place]]
            order = draw(orders(st.sampled_from(orderly))) if orderly else ""
            return f"SELECT DISTINCT {', '.join(items[place] for place in chosen)} {rest}{grouped}{order}"
        order = draw(orders(st.sampled_from([*[key for key in keys if "." in key], *terms, f"i{len(keys)}"])))
        return f"SELECT {', '.join(items)} {rest}{grouped}{order}"
    items = {
        "*": ["*"],
        "documents": named,
        "values": [f"{each} AS i{at}" for at, each in enumerate(values)],
    }[kind]
    return f"SELECT {', '.join(items)} {rest}{draw(orders(path))}"


@st.composite
def aggregates(draw: st.DrawFn, named: list[str]) -> str:
    function = draw(st.sampled_from(FUNCTIONS))
    if function == "COUNT":
        return f"COUNT({draw(st.just('') | st.sampled_from(named) | paths(named))})"
    path = draw(paths(named))
    if function in ("SUM", "AVG") and "$" in path:
        path = path.split(".")[0] + {"r": ".diameter", "j": ".diameter", "w": ".length"}.get(path[0], ".head")
    return f"{function}({path})"


def settled(row: Any) -> bytes:
    """Return a row as text; numbers that are equal but for a double's last digits are the same."""

    def same(value: Any) -> Any:
        if isinstance(value, dict) and ("$path" in value or "relationships" in value):
            return f"a way of {value['length']}"
        if isinstance(value, dict):
            return {key: same(each) for key, each in value.items()}
        if isinstance(value, float | int) and not isinstance(value, bool):
            return f"{float(value):.12g}"
        return value

    return msgspec.json.encode(same(row), order="sorted")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=queries(), which=st.integers(0, 2), size=st.sampled_from([1, 3, 1000]))
def test_queries_mean_what_they_say(
    graphs: list[tuple[World, Graph]], text: str, which: int, size: int
) -> None:
    world, graph = graphs[which]
    lists = answer(text, graph)
    wanted = sum(map(len, lists))
    FOUND[min(wanted, 10)] += 1
    rows = [settled(row) for row in world.rows(text, size if wanted <= 60 else 1000)]
    for expected in lists:
        assert Counter(rows[: len(expected)]) == Counter(map(settled, expected))
        del rows[: len(expected)]
    assert not rows


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("edge", ["-[w:feeds]->", "<-[w]-", "-[w:feeds|contains*..3]-"])
@pytest.mark.parametrize(
    "where",
    ["", " WHERE a.$dtId = 'p1'", " WHERE a.$dtId = 'r1' AND b.$dtId = 'p3'", " WHERE b.$dtId = 'q2'"],
)
def test_a_shortest_way_leads_from_twin_to_twin(
    graphs: list[tuple[World, Graph]], which: int, edge: str, where: str
) -> None:
    world, graph = graphs[which]
    text = f"SELECT a.$dtId AS start, w, b.$dtId AS end FROM digitaltwins MATCH SHORTEST (a){edge}(b){where}"
    rows = world.rows(text, 1000)
    assert rows == world.rows(text, 7)
    assert len(rows) == sum(map(len, answer(text, graph)))
    for row in rows:
        ids = [twin["$dtId"] for twin in row["w"]["twins"]]
        assert (ids[0], ids[-1], len(ids)) == (row["start"], row["end"], row["w"]["length"] + 1)
        for start, link, end in zip(ids, row["w"]["relationships"], ids[1:], strict=False):
            ends = (link["$sourceId"], link["$targetId"])
            assert ends == (start, end) if edge.endswith("->") else {*ends} == {start, end}
            assert link in graph.relationships


def test_the_examples_are_worth_something() -> None:
    """Of the queries above, many find nothing, but many do, and many find much."""
    assert sum(FOUND.values()) >= 300
    assert FOUND[0] < 0.6 * sum(FOUND.values())
    assert FOUND[10] > 0.05 * sum(FOUND.values())


FOUND: Counter[int] = Counter()

"""The check of the whole graph, against a graph whose every fault is known."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from gemel.base.errors import GemelError
from gemel.graph import library
from gemel.graph.checking import check_graph
from gemel.graph.findings import Finding
from gemel.graph.library import decommission
from gemel.models import ModelSet, TwinType, compile_twin_type
from support.graph import ASSET, PUMP, PUMP2, ROOM, Site, interface, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]


async def found(site: Site, size: int = 1000) -> list[Finding]:
    findings: list[Finding] = []
    token = None
    examined = 0
    while True:
        async with site.db.read(site.tenant) as tx:
            page = await check_graph(tx, site.context, size, token)
        findings += page.findings
        examined += page.examined
        assert page.examined <= size
        token = page.token
        if token is None:
            assert (examined,) == (await site.rows("SELECT count(*) FROM twin"))[0]
            return findings


def kinds(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return sorted((each.twin, each.kind, each.part) for each in findings)


async def build(site: Site) -> None:
    for number in range(7):
        await site.put(f"p{number}", head=1.0)
    await site.put("a", ASSET)
    await site.put("room", ROOM)
    for number in range(6):
        await site.relate(f"p{number}", "r", f"p{number + 1}", diameter=1.0)


def harm(site: Site, *statements: str) -> None:
    """Do as the owner what no write of ours does."""
    with psycopg.connect(site.dsns.owner, autocommit=True) as owner:
        for statement in statements:
            owner.execute(statement.encode())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_every_fault_is_found_and_nothing_else(
    play: Play, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("gemel.graph.neighbours.ROWS_MAX", 2)

    async def work(site: Site) -> None:
        await build(site)
        assert await found(site, size) == []
        only = f"tenant = {site.tenant} AND"
        p = f"(SELECT twin_no FROM twin WHERE {only} twin_id = '{{}}')"
        harm(
            site,
            f"UPDATE twin SET components = '{{}}' WHERE {only} twin_id = 'p0'",
            f"UPDATE twin SET components = components || '{{\"fan\": \"dtmi:t:Fan;1\"}}' WHERE {only} twin_id = 'p1'",
            f"UPDATE latest SET kind = 2, num = NULL, doc = '\"high\"' WHERE {only} series >> 20 = {p.format('p2')}",
            f"UPDATE relationship SET name = 'hates' WHERE {only} source_no = {p.format('p3')}",
            f"UPDATE relationship SET target_no = {p.format('room')} WHERE {only} source_no = {p.format('p4')}",
            f'UPDATE relationship SET properties = \'{{"diameter": "wide", "x": 1}}\' '
            f"WHERE {only} source_no = {p.format('p5')}",
        )
        assert kinds(await found(site, size)) == [
            ("p0", "component", "motor"),
            ("p1", "component", "fan"),
            ("p2", "value", "head"),
            ("p3", "relationship", "hates"),
            ("p4", "target", "feeds"),
            ("p5", "relationshipProperty", "r"),
            ("p5", "relationshipProperty", "r"),
        ]

    play(work)


def test_models_out_of_use_and_ends_of_another_version(play: Play) -> None:
    async def work(site: Site) -> None:
        one, two = "dtmi:t:Tank;1", "dtmi:t:Tank;2"
        link = {"@type": "Relationship", "name": "next"}
        await site.add_models(
            [interface(one, {**link, "target": one}), interface(two, {**link, "target": two})]
        )
        await site.put("t1", one)
        await site.put("t2", one)
        await site.relate("t1", "n", "t2", "next")
        await site.put("t1", two)
        assert kinds(await found(site)) == [("t1", "target", "next")]
        async with site.db.write(site.tenant) as tx:
            await decommission(tx, site.context.library, one, decommissioned=True)
        assert kinds(await found(site)) == [("t1", "target", "next"), ("t2", "modelDecommissioned", "")]
        await site.put("t2", two)
        assert await found(site) == []

    play(work)


def test_minimums_are_reported(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """DTDL up to v4 allows no minimum but 0: here a model wants two all the same."""

    def strict(models: ModelSet, dtmi: str) -> TwinType:
        made = compile_twin_type(models, dtmi)
        wanted = {name: replace(each, min_multiplicity=2) for name, each in made.relationships.items()}
        return replace(made, relationships=wanted if dtmi == PUMP2 else made.relationships)

    monkeypatch.setattr(library, "compile_twin_type", strict)

    async def work(site: Site) -> None:
        for twin_id in ("q1", "q2", "q3"):
            await site.put(twin_id, PUMP2)
        await site.put("a", ASSET)
        for number in range(2):
            await site.relate("q1", f"r{number}", "a")
        await site.relate("q2", "r", "a")
        assert kinds(await found(site)) == [
            ("q2", "minMultiplicity", "feeds"),
            ("q3", "minMultiplicity", "feeds"),
        ]

    play(work)


async def act(site: Site, chance: random.Random, one: str, other: str) -> None:
    """Do something to a twin, which may be refused."""
    models = [PUMP, PUMP2, ASSET, ROOM]
    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: site.relate(one, "r1", other, chance.choice(["feeds", "contains"])),
        lambda: site.relate(one, "r2", other, "feeds", diameter=chance.choice([1.0, "x"])),
        lambda: site.put(one, chance.choice(models)),
        lambda: site.patch(one, {"op": "add", "path": "/label", "value": chance.choice(["x", 1])}),
        lambda: site.patch(one, {"op": "remove", "path": "/motor"}),
    ]
    with suppress(GemelError):
        await chance.choice(acts)()


def test_what_random_writes_leave_is_as_the_models_say(play: Play) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def work(site: Site) -> None:
        twins = [f"t{number}" for number in range(6)]
        for twin_id in twins:
            await site.put(twin_id, chance.choice([PUMP, PUMP2, ASSET, ROOM]))
        for _ in range(120):
            await act(site, chance, *chance.sample(twins, 2))
        assert await found(site, 2) == []
        assert (await site.rows("SELECT count(*) > 0 FROM relationship")) == [(True,)]

    play(work)


def test_a_token_of_another_list_is_refused(play: Play) -> None:
    async def work(site: Site) -> None:
        async with site.db.read(site.tenant) as tx:
            error = await refused(check_graph(tx, site.context, 10, "nonsense"))
        assert error.code == "InvalidArgument"

    play(work)

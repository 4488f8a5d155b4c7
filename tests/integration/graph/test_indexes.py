from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from gemel.graph import indexes
from support.graph import Site, interface, prop, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

VALVE, PART, PLACED = "dtmi:t:Valve;1", "dtmi:t:Part;1", "dtmi:t:Placed;1"
MODELS = [
    interface(PART, prop("state", "string")),
    interface(PLACED, prop("place", "string")),
    interface(
        VALVE,
        prop("open", "boolean"),
        prop("level", "double"),
        prop("count", "long"),
        prop("place", {"@type": "Object", "fields": [{"name": "x", "schema": "double"}]}),
        {"@type": "Telemetry", "name": "flow", "schema": "double"},
        {"@type": "Component", "name": "part", "schema": PART},
    ),
]
# An index is of a path: where one model has an object there, another may have what it can find.
OWNERS = {"place": PLACED}
PATHS = ("open", "level", "count", "place", "part.state")


async def add(site: Site, path: str, model: str = VALVE) -> dict[str, Any]:
    async with site.db.write(site.tenant) as tx:
        return await indexes.add_index(tx, site.context, model, path)


async def remove(site: Site, path: str) -> None:
    async with site.db.write(site.tenant) as tx:
        await indexes.remove_index(tx, site.context, path)


async def shown(site: Site) -> list[dict[str, Any]]:
    async with site.db.read(site.tenant) as tx:
        return await indexes.list_indexes(tx, site.context)


async def put(site: Site, twin_id: str, state: str | None = None, **values: Any) -> None:
    part: dict[str, Any] = {"$metadata": {}} | ({} if state is None else {"state": state})
    await site.put(twin_id, VALVE, part=part, **values)


async def rows(site: Site, path: str) -> dict[str, tuple[Any, ...]]:
    found = await site.rows(
        "SELECT t.twin_id, v.num, v.text, v.flag FROM promoted_value v JOIN twin t USING (tenant, twin_no) "
        "JOIN path p USING (tenant, path_no) WHERE p.path = %s AND p.role = 'property' "
        "AND num_nonnulls(v.num, v.text, v.flag) = 1",
        path,
    )
    return {row[0]: tuple(row[1:]) for row in found}


def test_what_is_there_and_what_comes_is_indexed(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.add_models(MODELS)
        await put(site, "v1", "worn", open=True, level=1.5, count=2**60, place={"x": 1.0})
        for path in PATHS:
            assert await add(site, path, OWNERS.get(path, VALVE)) == {"path": path, "twins": 1}
        await put(site, "v2", "x" * 600, open=False, level=-2.5, count=7)
        assert await rows(site, "open") == {"v1": (None, None, True), "v2": (None, None, False)}
        assert await rows(site, "level") == {"v1": (1.5, None, None), "v2": (-2.5, None, None)}
        assert await rows(site, "count") == {"v1": (float(2**60), None, None), "v2": (7.0, None, None)}
        assert await rows(site, "place") == {}
        texts = await rows(site, "part.state")
        assert texts == {"v1": (None, "worn", None), "v2": (None, "x" * 500, None)}
        await site.patch("v1", {"op": "remove", "path": "/level"})
        await site.delete("v2")
        assert await rows(site, "level") == {}
        assert [each["path"] for each in await shown(site)] == sorted(PATHS)

    play(work)


def test_an_index_built_later_is_the_same_as_one_kept_in_step(play: Play) -> None:
    async def work(site: Site) -> None:
        seed = random.randrange(2**32)
        print("seed", seed)
        chance = random.Random(seed)
        await site.add_models(MODELS)
        for path in PATHS:
            await add(site, path, OWNERS.get(path, VALVE))
        choices: dict[str, list[Any]] = {
            "open": [True, False],
            "level": [0.0, -1e300, 2.5],
            "count": [0, 2**62 + 1, -5],
            "state": ["", "a", "ä" * 600],
            "place": [{"x": 1.0}],
        }
        for _ in range(40):
            names = chance.sample(sorted(choices), chance.randrange(5))
            await put(
                site, f"v{chance.randrange(6)}", **{name: chance.choice(choices[name]) for name in names}
            )
        kept = {path: await rows(site, path) for path in PATHS}
        for path in PATHS:
            await remove(site, path)
            assert await rows(site, path) == {}
            await add(site, path, OWNERS.get(path, VALVE))
        assert {path: await rows(site, path) for path in PATHS} == kept
        assert any(kept.values())

    play(work)


def test_what_cannot_be_indexed_is_refused(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.add_models(MODELS)
        await add(site, "level")
        assert (await refused(add(site, "level"))).code == "IndexAlreadyExists"
        assert (await refused(add(site, "flow"))).code == "InvalidArgument"
        assert "arrays or objects" in (await refused(add(site, "place"))).message
        assert (await refused(add(site, "part"))).code == "InvalidArgument"
        assert (await refused(add(site, "level", "dtmi:t:None;1"))).code == "ModelNotFound"
        assert (await refused(remove(site, "open"))).code == "IndexNotFound"
        assert (await refused(remove(site, "no.such"))).code == "IndexNotFound"
        await site.add_models([interface("dtmi:t:Many;1", *(prop(f"p{n}", "double") for n in range(64)))])
        for number in range(63):
            await add(site, f"p{number}", "dtmi:t:Many;1")
        assert (await refused(add(site, "p63", "dtmi:t:Many;1"))).code == "LimitExceeded"

    play(work)


def test_indexes_are_a_tenants_own(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.add_models(MODELS)
        neighbour = site.neighbour()
        await neighbour.add_models(MODELS)
        await add(site, "level")
        await put(neighbour, "v1", level=3.0)
        assert await shown(neighbour) == []
        assert await rows(site, "level") == await rows(neighbour, "level") == {}

    play(work)

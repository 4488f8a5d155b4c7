from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from gemel.base.clock import now_us
from gemel.graph.directory import Directory, DirectoryView, create_missing, extend_start
from support.graph import ASSET, MODELS, PUMP, PUMP2, Site, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]


async def resolve(site: Site, *twin_ids: str) -> DirectoryView:
    async with site.db.read(site.tenant) as tx:
        return await site.directory.resolve(tx, twin_ids)


async def create(site: Site, model_id: str, starts_us: dict[str, int]) -> list[str]:
    async with site.db.write(site.tenant) as tx:
        return await create_missing(tx, site.context, model_id, starts_us)


def test_it_gives_numbers_types_and_starts(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", head=1.0)
        await site.put("a", ASSET)
        view = await resolve(site, "p1", "a", "nobody", "no such id\x00")
        assert view.twins.keys() == {"p1", "a"}
        pump = view.twins["p1"]
        assert pump.twin_type.twin_type.model == PUMP
        slots = pump.twin_type.slots
        assert slots.keys() >= {"head", "flow", "motor.speed", "motor.temperature", "label"}
        assert (slots["head"].slot.role, slots["flow"].slot.role) == ("property", "telemetry")
        paths = await site.rows(
            "SELECT path_no FROM path WHERE path = 'motor.temperature' AND role = 'telemetry'"
        )
        assert paths == [(slots["motor.temperature"].path_no,)]
        rows = await site.rows(
            "SELECT twin_no, (extract(epoch FROM valid_from) * 1000000)::bigint FROM twin WHERE twin_id = 'p1'"
        )
        assert rows == [(pump.twin_no, pump.valid_from_us)]
        assert view.twins["a"].twin_type.slots["label"].path_no == slots["label"].path_no

    play(work)


def test_what_is_held_is_dropped_when_the_graph_changes(play: Play) -> None:
    async def work(site: Site) -> None:
        assert site.directory.cached(site.tenant, ["p1"]) is None
        assert (await resolve(site, "p1")).twins == {}
        held = site.directory.cached(site.tenant, ["p1"])
        assert held is not None
        assert held.twins == {}
        assert site.directory.cached(site.tenant, ["p1", "p2"]) is None
        await site.put("p1", PUMP2)
        view = await resolve(site, "p1")
        assert view.epochs != held.epochs
        first = view.twins["p1"]
        await site.put("p1", PUMP2, head=1.0)
        assert (await resolve(site, "p1")).epochs == view.epochs
        await site.put("p1", PUMP)
        changed = (await resolve(site, "p1")).twins["p1"]
        assert (changed.twin_no, changed.twin_type.twin_type.model) == (first.twin_no, PUMP)
        await site.delete("p1")
        assert (await resolve(site, "p1")).twins == {}
        await site.put("p1", PUMP)
        again = (await resolve(site, "p1")).twins["p1"]
        assert again.twin_no != first.twin_no
        assert first.floor_us == 0 < again.floor_us <= again.valid_from_us

    play(work)


def test_an_uncommitted_twin_is_never_held(play: Play) -> None:
    async def work(site: Site) -> None:
        async def fail() -> None:
            async with site.db.write(site.tenant) as tx:
                await create_missing(tx, site.context, ASSET, {"a": now_us()})
                assert (await site.directory.resolve(tx, ["a"])).twins.keys() == {"a"}
                assert site.directory.cached(site.tenant, ["a"]) is None
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert (await resolve(site, "a")).twins == {}
        await create(site, PUMP, {"b": now_us()})
        assert (await resolve(site, "a", "b")).twins.keys() == {"b"}

    play(work)


def test_missing_twins_are_created_with_their_components(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", head=1.0)
        start_us = now_us() - 10_000_000
        created = await create(site, PUMP, {"p1": start_us, "p2": start_us, "p3": start_us + 1})
        assert sorted(created) == ["p2", "p3"]
        body = (await site.get("p2")).body
        assert body["motor"]["$metadata"].keys() == {"$lastUpdateTime"}
        assert body["$metadata"]["$model"] == PUMP
        starts = {
            twin_id: ref.valid_from_us for twin_id, ref in (await resolve(site, "p2", "p3")).twins.items()
        }
        assert starts == {"p2": start_us, "p3": start_us + 1}
        assert await create(site, PUMP, {"p1": start_us}) == []
        told = await site.rows("SELECT count(*) FROM change WHERE kind = 'twin.created'")
        assert told == [(3,)]
        assert (await refused(create(site, "dtmi:t:None;1", {"x": start_us}))).code == "ValidationFailed"
        assert (await refused(create(site, PUMP, {"not an id": start_us}))).code == "InvalidArgument"
        await site.patch("p2", {"op": "add", "path": "/motor/speed", "value": 1.0})

    play(work)


def test_a_twin_created_again_starts_after_the_deleted_one(play: Play) -> None:
    async def work(site: Site) -> None:
        await create(site, ASSET, {"a": now_us() - 10_000_000})
        await site.delete("a")
        await create(site, ASSET, {"a": now_us() - 10_000_000})
        ref = (await resolve(site, "a")).twins["a"]
        assert ref.valid_from_us == ref.floor_us > now_us() - 10_000_000

    play(work)


def test_starts_move_back_only(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET, label="x")
        await site.put("b", ASSET)
        view = await resolve(site, "a", "b")
        tag = (await site.get("a")).etag
        a, b = view.twins["a"], view.twins["b"]
        async with site.db.write(site.tenant) as tx:
            await extend_start(tx, {a.twin_no: a.valid_from_us - 500, b.twin_no: b.valid_from_us + 500})
        moved = (await resolve(site, "a", "b")).twins
        assert moved["a"].valid_from_us == a.valid_from_us - 500
        assert moved["b"].valid_from_us == b.valid_from_us
        assert (await site.get("a")).etag == tag
        spans = await site.rows(
            "SELECT twin_id, (extract(epoch FROM valid_from) * 1000000)::bigint, recorded_to = 'infinity' "
            "FROM twin_span ORDER BY recorded_from"
        )
        assert spans == [
            ("a", a.valid_from_us, False),
            ("b", b.valid_from_us, True),
            ("a", a.valid_from_us - 500, True),
        ]

    play(work)


def test_it_stays_within_its_limit(play: Play) -> None:
    async def work(site: Site) -> None:
        small = Directory(site.context.library, site.context.paths, entries_max=10)
        other = site.neighbour()
        await other.add_models(MODELS)
        start_us = now_us()
        for each in (site, other):
            await create(each, ASSET, {f"t{number}": start_us for number in range(8)})
        for each in (site, other, site, other):
            async with each.db.read(each.tenant) as tx:
                view = await small.resolve(tx, [f"t{number}" for number in range(8)])
            assert len(view.twins) == 8
            held = sum(small.cached(one.tenant, ["t0"]) is not None for one in (site, other))
            assert held == 1
        ids = [f"t{number}" for number in range(8)] + [f"none{number}" for number in range(20)]
        async with site.db.read(site.tenant) as tx:
            assert len((await small.resolve(tx, ids)).twins) == 8
        assert small.cached(site.tenant, ["t0"]) is None

    play(work)


def test_tenants_do_not_share_twins(play: Play) -> None:
    async def work(site: Site) -> None:
        other = site.neighbour()
        await other.add_models(MODELS)
        await site.put("a", ASSET)
        mine = (await resolve(site, "a")).twins["a"]
        assert (await resolve(other, "a")).twins == {}
        await other.put("a", ASSET)
        assert (await resolve(other, "a")).twins["a"].twin_no != mine.twin_no
        async with other.db.write(other.tenant) as tx:
            await extend_start(tx, {mine.twin_no: mine.valid_from_us - 1000})
        assert (await resolve(site, "a")).twins["a"].valid_from_us == mine.valid_from_us

    play(work)

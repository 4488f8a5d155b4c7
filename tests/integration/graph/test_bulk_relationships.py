"""Many relationships at once: the same relationships, refusals and traces as PUT after PUT."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import GemelError
from gemel.graph import overlap
from gemel.graph.bulk import put_twins, read_twin_puts
from gemel.graph.bulk_relationships import RelationshipItem, foresee_relationships, put_relationships
from gemel.graph.ends import KnownEnds
from gemel.graph.relationship_reading import TwinEnd
from gemel.graph.relationships import delete_relationship, put_relationship
from gemel.graph.twins import delete_twin
from support.feed import KINDS, kinds_of
from support.graph import ASSET, MODELS, PUMP, ROOM, Site

Play = Callable[[Callable[[Site], Awaitable[None]]], None]
TWINS = {"a": PUMP, "b": PUMP, "c": ASSET, "room": ROOM}
RELATIONSHIPS = """
SELECT s.twin_id, r.relationship_id, r.name, t.twin_id, r.properties FROM relationship AS r
JOIN twin AS s ON s.tenant = r.tenant AND s.twin_no = r.source_no
JOIN twin AS t ON t.tenant = r.tenant AND t.twin_no = r.target_no
WHERE r.tenant = current_tenant() ORDER BY 1, 2"""
SPANS = """
SELECT s.twin_id, r.relationship_id, r.name, r.properties, r.valid_to = 'infinity', r.recorded_to = 'infinity'
FROM relationship_span AS r JOIN twin AS s ON s.tenant = r.tenant AND s.twin_no = r.source_no
WHERE r.tenant = current_tenant() ORDER BY 1, 2, r.recorded_from, r.valid_from"""


def item(chance: random.Random, now: int) -> RelationshipItem:
    """Return a relationship that is mostly right."""
    body: Any = {
        "$targetId": chance.choice(["a", "b", "c", "room", "nobody", "not an id"]),
        "$relationshipName": chance.choice(["feeds", "feeds", "feeds", "contains", "hates"]),
    }
    if chance.random() < 0.5:
        body["diameter"] = chance.choice([1.0, 2, "wide"])
    if chance.random() < 0.1:
        body["colour"] = "red"
    if chance.random() < 0.3:
        offset_us = chance.choice([-(10**12), -60_000_000, 0, 3_600_000_000])
        body["$validFrom"] = iso_us(now + offset_us)
    body = chance.choice([body] * 15 + [{}, None, [1]])
    return RelationshipItem(
        chance.choice([*TWINS, "nobody", "x y"]), chance.choice(["r1", "r2", "r3", "r 4"]), body
    )


async def put_each(site: Site, items: list[RelationshipItem]) -> list[GemelError | None]:
    errors: list[GemelError | None] = []
    for source, relationship, body in items:
        try:
            async with site.db.write(site.tenant) as tx:
                await put_relationship(tx, site.context, source, relationship, body)
            errors.append(None)
        except GemelError as error:
            errors.append(error)
    return errors


async def forget(site: Site, key: tuple[str, str]) -> bool:
    try:
        async with site.db.write(site.tenant) as tx:
            await delete_relationship(tx, *key)
    except GemelError:
        return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_as_one_after_another(play: Play, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"seed {seed}")
    monkeypatch.setattr(overlap, "SLICE", 7)

    async def work(site: Site) -> None:
        chance = random.Random(seed)
        other = site.neighbour()
        await other.add_models(MODELS)
        early = {"$validFrom": iso_us(now_us() - 86_400_000_000)}
        for each in (site, other):
            for twin_id, model in TWINS.items():
                await each.put(twin_id, model, **{"$metadata": dict(early)})
        taken, ends = 0, KnownEnds()
        for _ in range(6):
            wanted = {
                (one.source_id, one.relationship_id): one
                for one in (item(chance, now_us()) for _ in range(40))
            }
            items = list(wanted.values())
            async with site.db.read(site.tenant) as read:
                foreseen = await foresee_relationships(read, site.context, items, ends)
            async with site.db.write(site.tenant) as tx:
                at_once = await put_relationships(tx, site.context, items, ends, foreseen)
            one_by_one = await put_each(other, items)
            assert [_said(error) for error in at_once] == [_said(error) for error in one_by_one]
            taken += at_once.count(None)
            key = chance.choice(list(wanted))
            assert await forget(site, key) == await forget(other, key)
        assert taken
        for sql in (RELATIONSHIPS, SPANS):
            assert await site.rows(sql) == await other.rows(sql)
        told, one_by_one_told = [kinds_of(await each.rows(KINDS)) for each in (site, other)]
        assert sorted(told) == sorted(one_by_one_told)

    play(work)


def test_ends_are_held_no_longer_than_the_graph_is_as_it_was(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("one", next(iter(TWINS.values())))
        await site.put("other", next(iter(TWINS.values())))
        ends, source, target = KnownEnds(), "one", "other"
        found = []
        for _ in range(2):
            async with site.db.write(site.tenant) as tx:
                found.append(await ends.find(tx, [source, target, "none"]))
            if target in found[-1]:
                async with site.db.write(site.tenant) as tx:
                    await delete_twin(tx, site.context, target)
        assert [set(each) for each in found] == [{source, target}, {source}]

    play(work)


def test_ends_learn_of_twins_that_are_put_and_forget_them_with_the_graph(play: Play) -> None:
    """By putting them, what is held is as the database has it: without a look, and with others' writes between."""

    async def put(site: Site, ends: KnownEnds, *twin_ids: str) -> None:
        early = {"$model": ASSET, "$validFrom": iso_us(now_us() - 60_000_000)}
        async with site.db.read(site.tenant) as read:
            puts = await read_twin_puts(
                read, site.context, [(each, {"$metadata": early}) for each in twin_ids]
            )
        await site.context.prepare(puts.times_us)
        async with site.db.write(site.tenant) as tx:
            assert await put_twins(tx, site.context, puts, ends) == [None] * len(twin_ids)

    async def found(site: Site, ends: KnownEnds, *twin_ids: str) -> dict[str, TwinEnd]:
        async with site.db.write(site.tenant) as tx:
            held = dict(await ends.find(tx, twin_ids))
            assert {each: held.get(each) for each in twin_ids} == {
                each: (await KnownEnds().find(tx, [each])).get(each) for each in twin_ids
            }
            return held

    async def work(site: Site) -> None:
        ends = KnownEnds()
        await site.put("before", ASSET)
        await put(site, ends, "one", "other")
        assert set(await found(site, ends, "one")) == {"one", "other"}
        await put(site, ends, "third", "before")  # moves the start of one that is there
        assert set(await found(site, ends, "before")) == {"one", "other", "third", "before"}
        async with site.db.write(site.tenant) as tx:
            await delete_twin(tx, site.context, "other")
        await put(site, ends, "fourth")
        assert set(await found(site, ends, "one", "other", "fourth")) == {"one", "fourth"}

    play(work)


def _said(error: GemelError | None) -> Any:
    return None if error is None else (error.code, error.message, error.details)

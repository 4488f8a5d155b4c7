"""What models say of relationships is held at every write: of relationships, and of the models of their ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gemel.base.errors import GemelError
from gemel.graph.bulk import put_twins, read_twin_puts
from gemel.graph.bulk_relationships import RelationshipItem, put_relationships
from gemel.graph.context import GraphContext
from gemel.graph.ends import KnownEnds
from gemel.graph.library import ModelLibrary
from gemel.graph.relationships import delete_relationship, put_relationship
from gemel.history.paths import Paths
from gemel.history.weeks import Weeks
from gemel.store.database import Database
from support.graph import Site, interface, prop, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

PUMP, PUMP2, BIG, TANK, TANK2, ROOM, OPEN = (
    f"dtmi:r:{name}" for name in ("Pump;1", "Pump;2", "Big;1", "Tank;1", "Tank;2", "Room;1", "Open;1")
)


def relation(name: str, **more: Any) -> dict[str, Any]:
    return {"@type": "Relationship", "name": name, **more}


FEEDS = relation("feeds", target=PUMP, maxMultiplicity=2, properties=[prop("diameter", "double")])
MODELS = [
    interface(TANK, FEEDS, relation("near"), relation("owner", target=ROOM, maxMultiplicity=1)),
    interface(TANK2, relation("feeds", target=PUMP2, properties=[prop("diameter", "double")])),
    interface(OPEN, relation("feeds", maxMultiplicity=1)),
    interface(PUMP, relation("drains", target=TANK)),
    interface(PUMP2, relation("drains", target=TANK2)),
    interface(BIG, extends=PUMP),
    interface(ROOM),
]
TWINS = {"tank": TANK, "p1": PUMP, "p2": PUMP, "p3": PUMP, "big": BIG, "room": ROOM, "room2": ROOM}


def build(play: Play, work: Callable[[Site], Awaitable[None]]) -> None:
    """Play on a tenant that has the models and twins of this module."""

    async def prepared(site: Site) -> None:
        await site.add_models(MODELS)
        for twin_id, model in TWINS.items():
            await site.put(twin_id, model)
        await work(site)

    play(prepared)


async def put_many(site: Site, *items: tuple[str, str, str, str]) -> list[GemelError | None]:
    wanted = [
        RelationshipItem(source, own, {"$targetId": target, "$relationshipName": name})
        for source, own, name, target in items
    ]
    async with site.db.write(site.tenant) as tx:
        return await put_relationships(tx, site.context, wanted, KnownEnds())


def codes(errors: list[GemelError | None]) -> list[str | None]:
    return [None if error is None else error.code for error in errors]


def test_targets_are_held(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.relate("tank", "a", "p1")
        await site.relate("tank", "b", "big")
        await site.relate("tank", "c", "room", "near")
        error = await refused(site.relate("tank", "d", "room"))
        assert (error.code, PUMP in error.message) == ("InvalidRelationship", True)
        assert (await refused(site.relate("room", "d", "p1"))).code == "InvalidRelationship"

    build(play, work)


def test_the_one_too_many_is_refused(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.relate("tank", "a", "p1")
        await site.relate("tank", "b", "p2")
        error = await refused(site.relate("tank", "c", "p3"))
        assert error.code == "MaxMultiplicityExceeded"
        assert "has 2 relationships named feeds, and its model allows 2" in error.message
        await site.relate("tank", "b", "p3", diameter=2.0)
        await site.relate("tank", "c", "room", "near")
        assert (await refused(site.relate("tank", "c", "p2"))).code == "MaxMultiplicityExceeded"
        await site.relate("tank", "a", "room", "near")
        await site.relate("tank", "c", "p2")
        assert (await refused(site.relate("tank", "a", "p1"))).code == "MaxMultiplicityExceeded"
        async with site.db.write(site.tenant) as tx:
            await delete_relationship(tx, "tank", "b")
        await site.relate("tank", "a", "p1")

    build(play, work)


def test_many_at_once_are_counted_together(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.relate("tank", "a", "p1")
        errors = await put_many(
            site,
            ("tank", "b", "feeds", "p2"),
            ("tank", "c", "feeds", "p3"),
            ("tank", "a", "near", "room"),
            ("tank", "d", "feeds", "p3"),
            ("tank", "e", "owner", "room"),
            ("tank", "f", "owner", "room2"),
            ("tank", "g", "feeds", "room"),
        )
        full, wrong = "MaxMultiplicityExceeded", "InvalidRelationship"
        assert codes(errors) == [None, full, None, None, None, full, wrong]
        rows = await site.rows("SELECT name, count(*) FROM relationship GROUP BY name ORDER BY name")
        assert rows == [("feeds", 2), ("near", 1), ("owner", 1)]

    build(play, work)


@asynccontextmanager
async def other_process(site: Site) -> AsyncIterator[Site]:
    db = Database(site.dsns.serve)
    await db.open()
    try:
        yield replace(site, db=db, context=GraphContext(ModelLibrary(), Paths(), Weeks(db)))
    finally:
        await db.close()


def test_those_who_come_at_once_never_exceed_together(play: Play) -> None:
    async def work(site: Site) -> None:
        async with other_process(site) as other:
            calls = [
                each.relate("tank", f"r{number}", target)
                for number, target in enumerate(["p1", "p2", "p3", "big"] * 3)
                for each in (site, other)[number % 2 : number % 2 + 1]
            ]
            answers = await asyncio.gather(*calls, return_exceptions=True)
        refusals = [answer for answer in answers if isinstance(answer, GemelError)]
        assert {error.code for error in refusals} == {"MaxMultiplicityExceeded"}
        assert len(answers) - len(refusals) == 2
        assert await site.rows("SELECT count(*) FROM relationship") == [(2,)]

    build(play, work)


async def change_by_put(site: Site, twin_id: str, model: str) -> None:
    await site.put(twin_id, model)


async def change_by_patch(site: Site, twin_id: str, model: str) -> None:
    await site.patch(twin_id, {"op": "replace", "path": "/$metadata/$model", "value": model})


async def change_in_bulk(site: Site, twin_id: str, model: str) -> None:
    async with site.db.read(site.tenant) as tx:
        read = await read_twin_puts(tx, site.context, [(twin_id, {"$metadata": {"$model": model}})])
    async with site.db.write(site.tenant) as tx:
        for error in await put_twins(tx, site.context, read):
            if error is not None:
                raise error


CHANGES = [change_by_put, change_by_patch, change_in_bulk]


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_existing_relationships_do_not_fit_is_refused(play: Play, change: Any) -> None:
    async def work(site: Site) -> None:
        await site.relate("tank", "a", "p1", diameter=2.0)
        await site.relate("tank", "b", "p2")
        for twin_id, model, said in (
            ("tank", ROOM, f"The model {ROOM} has no relationship named feeds: a and 1 more."),
            ("tank", OPEN, f"The twin has 2 relationships named feeds, and {OPEN} allows 1."),
            ("p1", ROOM, f"The relationship feeds leads to twins of {PUMP}: tank/a."),
        ):
            error = await refused(change(site, twin_id, model))
            assert (error.code, error.details[0].code) == ("ValidationFailed", "InvalidRelationship")
            assert said in [detail.message for detail in error.details]
            assert (await site.get(twin_id)).body["$metadata"]["$model"] == TWINS[twin_id]
        async with site.db.write(site.tenant) as tx:
            await delete_relationship(tx, "tank", "b")
        error = await refused(change(site, "tank", OPEN))
        wrong = "a: diameter does not appear on the DTDL for relationship feeds."
        assert [detail.message for detail in error.details] == [wrong]
        await change(site, "p1", BIG)
        await site.relate("tank", "a", "p1")
        await change(site, "tank", OPEN)

    build(play, work)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("order", [("tank", "p1"), ("p1", "tank")])
def test_twins_that_refer_to_each_other_move_to_a_new_version(
    play: Play, change: Any, order: tuple[str, str]
) -> None:
    async def work(site: Site) -> None:
        await site.relate("tank", "a", "p1", diameter=2.0)
        await site.relate("p1", "b", "tank", "drains")
        for twin_id in order:
            await change(site, twin_id, {"tank": TANK2, "p1": PUMP2}[twin_id])
        # A relationship that is put is held to the very version.
        assert (await refused(site.relate("tank", "c", "p2"))).code == "InvalidRelationship"
        async with site.db.write(site.tenant) as tx:
            body = {"$targetId": "p1", "$relationshipName": "feeds"}
            await put_relationship(tx, site.context, "tank", "a", body)

    build(play, work)

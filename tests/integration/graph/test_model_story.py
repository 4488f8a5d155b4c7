from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gemel.graph import library, model_story
from gemel.graph.model_log import ModelLogEntry
from gemel.graph.model_story import Deprecation
from support.graph import PUMP, Site, interface, prop, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

ONE, TWO, MINOR = "dtmi:t:Fan;1", "dtmi:t:Fan;2", "dtmi:t:Fan;1.1"
DAY_US = 86_400_000_000


async def add(site: Site, *documents: dict[str, Any]) -> None:
    async with site.db.write(site.tenant) as tx:
        await library.add_models(tx, site.context.library, list(documents), "key:anna")


async def story(site: Site, model_id: str) -> dict[str, Any]:
    async with site.db.read(site.tenant) as tx:
        return await model_story.model_story(tx, site.context.library, model_id)


async def deprecate(site: Site, model_id: str, deprecation: Deprecation) -> None:
    async with site.db.write(site.tenant) as tx:
        entry = ModelLogEntry(model_id, "key:ben", "deprecated", "too coarse")
        await model_story.deprecate(tx, site.context.library, entry, deprecation)


def test_a_new_version_is_logged_with_what_it_changed(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site, interface(ONE, prop("speed", "integer"), prop("mode", "string")))
        await add(site, interface(TWO, prop("speed", "double")))
        assert (await story(site, ONE))["log"][0]["changes"] == []
        told = await story(site, TWO)
        assert told["versions"] == [ONE, TWO]
        (entry,) = told["log"]
        assert (entry["kind"], entry["actor"]) == ("added", "key:anna")
        assert entry["note"] == f"2 changes from {ONE}, 1 of them breaking"
        assert {(each["path"], each["compatible"]) for each in entry["changes"]} == {
            ("speed.schema", True),
            ("mode", False),
        }

    play(work)


def test_versions_stand_in_their_order_and_each_is_compared_with_the_one_before(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site, interface(TWO), interface(ONE))
        (entry,) = (await story(site, TWO))["log"]
        assert entry["note"] == f"0 changes from {ONE}, 0 of them breaking"
        assert (await story(site, ONE))["log"][0]["note"] == ""

    play(work)


def test_deprecation_and_its_withdrawal(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site, interface(ONE), interface(TWO))
        await site.put("fan-1", ONE)
        await deprecate(site, ONE, Deprecation(DAY_US, 2 * DAY_US, TWO))
        told = await story(site, ONE)
        assert told["deprecation"] == {
            "from": "1970-01-02T00:00:00.000000Z",
            "removal": "1970-01-03T00:00:00.000000Z",
            "successor": TWO,
        }
        assert (told["twins"], told["decommissioned"]) == (1, False)
        assert (told["log"][0]["kind"], told["log"][0]["note"]) == ("deprecated", "too coarse")
        await site.put("fan-2", ONE)
        async with site.db.write(site.tenant) as tx:
            await model_story.withdraw_deprecation(tx, ModelLogEntry(ONE, None, "undeprecated"))
        told = await story(site, ONE)
        assert told["deprecation"] is None
        assert [entry["kind"] for entry in told["log"]] == ["undeprecated", "deprecated", "added"]

    play(work)


def test_a_deprecation_that_cannot_be_is_refused(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site, interface(ONE))
        for deprecation, said in (
            (Deprecation(DAY_US, 0, None), "before the deprecation"),
            (Deprecation(0, None, ONE), "no other model"),
            (Deprecation(0, None, TWO), "no other model"),
        ):
            error = await refused(deprecate(site, ONE, deprecation))
            assert (error.code, said in error.message) == ("InvalidArgument", True)
        assert (await refused(deprecate(site, TWO, Deprecation(0, None, None)))).code == "ModelNotFound"
        assert len((await story(site, ONE))["log"]) == 1

    play(work)


def test_the_log_outlives_the_model(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site, interface(ONE))
        async with site.db.write(site.tenant) as tx:
            await model_story.add_note(tx, ModelLogEntry(ONE, "key:anna", "noted", "as delivered"))
            patch = [{"op": "replace", "path": "/decommissioned", "value": True}]
            await library.update_model(tx, site.context.library, ONE, patch, "key:anna")
            await library.delete_model(tx, site.context.library, ONE, "key:ben")
        told = await story(site, ONE)
        assert told["deleted"] is True
        assert [(entry["kind"], entry["actor"]) for entry in told["log"]] == [
            ("deleted", "key:ben"),
            ("decommissioned", "key:anna"),
            ("noted", "key:anna"),
            ("added", "key:anna"),
        ]
        assert (await refused(story(site, TWO))).code == "ModelNotFound"

    play(work)


def test_search_tells_names_and_states(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site, interface(ONE, displayName="Exhaust fan"), interface(TWO, displayName="Fan"))
        await deprecate(site, ONE, Deprecation(0, None, TWO))
        async with site.db.read(site.tenant) as tx:
            found = await model_story.find_models(tx, site.context.library, "fan", 10)
            assert [(each["id"], each["deprecated"]) for each in found] == [(ONE, True), (TWO, False)]
            assert found[0]["displayName"] == {"en": "Exhaust fan"}
            assert len(await model_story.find_models(tx, site.context.library, "fan", 1)) == 1
            assert await model_story.find_models(tx, site.context.library, "fan zeppelin", 10) == []

    play(work)


def test_a_neighbour_sees_nothing_of_it(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site, interface(ONE))
        neighbour = site.neighbour()
        assert (await refused(story(neighbour, ONE))).code == "ModelNotFound"
        assert (await story(site, PUMP))["twins"] == 0

    play(work)

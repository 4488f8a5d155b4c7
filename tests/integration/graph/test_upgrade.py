from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gemel.graph.upgrade import Upgrade, UpgradePage, Upgrader
from gemel.security.audit import AuditEntry
from support.graph import Site, interface, prop, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

OLD, NEW, PART = "dtmi:t:Fan;1", "dtmi:t:Fan;2", "dtmi:t:Part;1"
AUDIT = AuditEntry("anna", None, "model.upgrade", "", "ok", "0" * 32)


def component(name: str) -> dict[str, Any]:
    return {"@type": "Component", "name": name, "schema": PART}


async def add(site: Site) -> None:
    part = interface(PART, prop("state", "string"))
    old = interface(
        OLD, prop("speed", "double"), prop("mode", "string"), component("left"), component("shaft")
    )
    new = interface(
        NEW, prop("speed", "integer"), prop("label", "string"), component("shaft"), component("right")
    )
    await site.add_models([part, old, new])


async def put(site: Site, twin_id: str, **values: Any) -> None:
    body = {"left": {"$metadata": {}}, "shaft": {"$metadata": {}}} | values
    await site.put(twin_id, OLD, **body)


async def page(site: Site, size: int = 100, token: str | None = None, **options: Any) -> UpgradePage:
    upgrader = Upgrader(site.db, site.context, site.patcher)
    return await upgrader.page(site.tenant, Upgrade(OLD, NEW, **options), AUDIT, size, token)


async def models(site: Site) -> dict[str, str]:
    return dict(await site.rows("SELECT twin_id, model_id FROM twin WHERE tenant = current_tenant()"))


def test_a_dry_run_lists_every_misfit_and_moves_nothing(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site)
        await put(site, "fits", speed=3.0)
        await put(site, "half", speed=2.5, mode="auto", left={"$metadata": {}, "state": "worn"})
        looked = await page(site)
        assert (looked.examined, looked.moved, looked.token) == (2, 1, None)
        assert sorted((each.twin, each.path, each.value) for each in looked.misfits) == [
            ("half", "left.state", "worn"),
            ("half", "mode", "auto"),
            ("half", "speed", 2.5),
        ]
        assert set((await models(site)).values()) == {OLD}

    play(work)


def test_twins_that_fit_move_and_the_others_stay(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site)
        await put(site, "fits", speed=3.0, shaft={"$metadata": {}, "state": "new"})
        await put(site, "half", speed=2.5)
        moved = await page(site, dry_run=False)
        assert (moved.examined, moved.moved, [each.path for each in moved.misfits]) == (2, 1, ["speed"])
        assert await models(site) == {"fits": NEW, "half": OLD}
        body = (await site.get("fits")).body
        assert (body["speed"], body["shaft"]["state"], "right" in body, "left" in body) == (
            3,
            "new",
            True,
            False,
        )
        audited = await site.rows("SELECT action, target FROM audit WHERE target = 'fits'")
        assert audited == [("model.upgrade", "fits")]

    play(work)


def test_a_decommissioned_twin_moves_as_the_dry_run_says(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site)
        await put(site, "bare", **{"$lifecycle": "decommissioned"})
        await put(site, "whole", speed=3.0, **{"$lifecycle": "decommissioned"})
        for dry_run in (True, False):
            seen = await page(site, dry_run=dry_run)
            assert (seen.moved, [(each.twin, each.path) for each in seen.misfits]) == (
                1,
                [("whole", "speed")],
            )
        assert (await page(site, dry_run=False, drop=True)).moved == 1
        assert set((await models(site)).values()) == {NEW}
        assert (await site.history("whole", "speed"))[0][0] == 3.0

    play(work)


def test_dropped_values_are_gone_and_stay_in_the_history(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site)
        await put(site, "half", speed=2.5, mode="auto", left={"$metadata": {}, "state": "worn"})
        moved = await page(site, dry_run=False, drop=True)
        assert (moved.moved, len(moved.misfits)) == (1, 3)
        body = (await site.get("half")).body
        assert {"speed", "mode", "left"}.isdisjoint(body)
        assert (await site.history("half", "speed"))[0][0] == 2.5

    play(work)


def test_twins_whose_relationships_would_not_fit_stay_even_with_drop(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site)
        house = interface(
            "dtmi:t:House;1",
            {"@type": "Relationship", "name": "cools", "target": "dtmi:t:Cooler;1"},
            prop("speed", "double"),
        )
        await site.add_models(
            [
                interface("dtmi:t:Cooler;1"),
                interface("dtmi:t:Cooling;1", prop("speed", "double"), extends="dtmi:t:Cooler;1"),
                interface("dtmi:t:Cooling;2", prop("speed", "double")),
                house,
            ]
        )
        for twin_id in ("used", "free"):
            await site.put(twin_id, "dtmi:t:Cooling;1")
        await site.put("house", "dtmi:t:House;1")
        await site.relate("house", "r1", "used", "cools")
        upgrader = Upgrader(site.db, site.context, site.patcher)
        for dry_run in (True, False):
            upgrade = Upgrade("dtmi:t:Cooling;1", "dtmi:t:Cooling;2", dry_run=dry_run, drop=True)
            told = await upgrader.page(site.tenant, upgrade, AUDIT, 10, None)
            assert told.moved == 1
            assert [(each.twin, each.path) for each in told.misfits] == [("used", "")]
            assert "house/r1" in told.misfits[0].reason
        assert (await models(site))["used"] == "dtmi:t:Cooling;1"

    play(work)


def test_pages_go_on_and_what_was_moved_does_not_come_again(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site)
        for number in range(7):
            await put(site, f"fan-{number}", speed=float(number))
        first = await page(site, 3, dry_run=False)
        second = await page(site, 3, first.token, dry_run=False)
        await put(site, "late", speed=1.0)
        rest = await page(site, 30, second.token, dry_run=False)
        assert [each.moved for each in (first, second, rest)] == [3, 3, 2]
        assert (await page(site, dry_run=False)).examined == 0

    play(work)


def test_a_move_that_cannot_be_asked_for_is_refused(play: Play) -> None:
    async def work(site: Site) -> None:
        await add(site)
        upgrader = Upgrader(site.db, site.context, site.patcher)
        for source, target, code in (
            (OLD, OLD, "InvalidArgument"),
            (OLD, "dtmi:t:Fan;9", "ModelNotFound"),
            ("dtmi:t:Fan;9", OLD, "ModelNotFound"),
            ("fan", OLD, "InvalidArgument"),
        ):
            error = await refused(upgrader.page(site.tenant, Upgrade(source, target), AUDIT, 10, None))
            assert error.code == code
        assert (await refused(page(site, token="made-up"))).code == "InvalidArgument"

    play(work)

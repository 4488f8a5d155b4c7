"""Transitions on the database: state, history, etag, feed; and what a decommissioned twin still takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gemel.base.clock import iso_us, now_us
from gemel.graph.etag import Conditions
from gemel.graph.lifecycles import Lifecycle, TransitionRequest, change_lifecycle, get_lifecycle
from gemel.graph.timeline import FOREVER_US
from gemel.history.moment import END_US, Moment
from support.graph import ASSET, PUMP, PUMP2, Site, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]
HOUR_US = 3_600_000_000


async def turn(
    site: Site, state: str, at_us: int | None = None, reason: str = "because", if_match: str | None = None
) -> Lifecycle:
    request = TransitionRequest(state, reason, "ann", at_us, Conditions(if_match))
    async with site.db.write(site.tenant) as tx:
        return await change_lifecycle(tx, site.context, "a", request)


async def lifecycle(site: Site) -> Lifecycle:
    async with site.db.read(site.tenant) as tx:
        return await get_lifecycle(tx, site.context, "a")


async def born(site: Site, body: dict[str, Any] | None = None, model: str = ASSET) -> int:
    start_us = now_us() - 10 * HOUR_US
    made: dict[str, Any] = {"$metadata": {"$model": model}, **(body or {})}
    if model == PUMP:
        made["motor"] = {"$metadata": {}}
    await site.put_body("a", made, valid_from_us=start_us)
    return start_us


def test_a_twin_goes_through_its_life(play: Play) -> None:
    async def work(site: Site) -> None:
        start_us = await born(site, {"$lifecycle": "planned"})
        assert (await lifecycle(site)).allowed == ("commissioned", "decommissioned")
        for state in ("commissioned", "active", "maintenance", "active", "maintenance", "decommissioned"):
            made = await turn(site, state, reason=f"now {state}")
            assert (made.state, made.since_us) == (state, made.history[-1].from_us)
            assert (await site.get("a")).body["$lifecycle"] == state
        states = [each.state for each in made.history]
        assert states == "planned commissioned active maintenance active maintenance decommissioned".split()
        assert made.history[0][1:] == (
            start_us,
            made.history[1].from_us,
            None,
            None,
            made.history[0].recorded_us,
            None,
        )
        last = made.history[-1]
        assert (last.to_us, last.reason, last.actor) == (FOREVER_US, "now decommissioned", "ann")
        assert made.allowed == ()
        assert await lifecycle(site) == made

    play(work)


def test_what_is_not_allowed_names_what_is(play: Play) -> None:
    async def work(site: Site) -> None:
        await born(site)
        error = await refused(turn(site, "planned"))
        assert error.code == "LifecycleTransitionInvalid"
        assert "maintenance or decommissioned may follow active" in error.message
        await turn(site, "decommissioned")
        error = await refused(turn(site, "active"))
        assert (error.code, "nothing may follow" in error.message) == ("LifecycleTransitionInvalid", True)
        assert (await lifecycle(site)).state == "decommissioned"
        for reason in ("", "  ", "x" * 1025, "a\nb", "\0"):
            assert (await refused(turn(site, "active", reason=reason))).code == "InvalidArgument"
        assert (await refused(turn(site, "gone"))).code == "InvalidArgument"

    play(work)


def test_a_state_since_the_past_and_its_correction(play: Play) -> None:
    async def work(site: Site) -> None:
        start_us = await born(site)
        one_us, two_us = start_us + HOUR_US, start_us + 2 * HOUR_US
        assert (await turn(site, "decommissioned", one_us)).since_us == one_us
        # It was not at one but at two: first it goes on as it was, then it ends.
        undone = await turn(site, "active", one_us, "told too early")
        assert (undone.state, undone.since_us) == ("active", start_us)
        made = await turn(site, "decommissioned", two_us, "scrapped")
        assert (made.state, made.since_us) == ("decommissioned", two_us)
        told = [(each.state, each.from_us, each.to_us, each.superseded_us is None) for each in made.history]
        assert told == [
            ("active", start_us, one_us, True),
            ("decommissioned", one_us, FOREVER_US, False),
            ("active", one_us, two_us, True),
            ("decommissioned", two_us, FOREVER_US, True),
        ]
        early = await refused(turn(site, "active", start_us - 1))
        late = await refused(turn(site, "active", now_us() + HOUR_US))
        assert (early.code, late.code) == ("InvalidArgument", "InvalidArgument")
        whole = await turn(site, "planned", start_us, "never built")
        assert (whole.state, whole.since_us) == ("planned", start_us)
        assert await site.rows("SELECT lifecycle, lifecycle_from FROM twin") == [("planned", None)]

    play(work)


def test_what_changes_nothing_writes_nothing(play: Play) -> None:
    async def work(site: Site) -> None:
        await born(site)
        made = await turn(site, "maintenance")
        changes = await site.rows("SELECT count(*) FROM change")
        assert await turn(site, "maintenance", reason="again") == made
        assert await site.rows("SELECT count(*) FROM change") == changes

    play(work)


def test_a_lifecycle_of_the_past(play: Play) -> None:
    async def work(site: Site) -> None:
        start_us = await born(site)
        first = await turn(site, "maintenance", start_us + HOUR_US, "worn")
        known_us = first.history[-1].recorded_us
        await turn(site, "active", start_us + HOUR_US, "a mistake")
        await turn(site, "decommissioned", start_us + 2 * HOUR_US, "scrapped")

        async def at(as_of_us: int, known_at_us: int = END_US) -> tuple[str, int, int]:
            async with site.db.read(site.tenant) as tx:
                found = await get_lifecycle(tx, site.context, "a", Moment(as_of_us, known_at_us))
            return found.state, found.since_us, len(found.history)

        late_us = start_us + 3 * HOUR_US
        assert await at(start_us) == ("active", start_us, 4)
        assert await at(start_us + HOUR_US) == ("active", start_us, 4)
        assert await at(late_us) == ("decommissioned", start_us + 2 * HOUR_US, 4)
        assert await at(late_us, known_us) == ("maintenance", start_us + HOUR_US, 2)
        assert await at(late_us, known_us - 1) == ("active", start_us, 1)
        await site.delete("a")
        assert await at(late_us) == ("decommissioned", start_us + 2 * HOUR_US, 4)

    play(work)


def test_etag_and_feed(play: Play) -> None:
    async def work(site: Site) -> None:
        await born(site)
        tag = (await site.get("a")).etag
        made = await turn(site, "maintenance", reason="worn", if_match=tag)
        assert made.etag == (await site.get("a")).etag != tag
        assert (await refused(turn(site, "active", if_match=tag))).code == "PreconditionFailed"
        told = await site.rows("SELECT kind, body FROM change ORDER BY change_no DESC LIMIT 1")
        payload = msgspec.msgpack.decode(told[0][1])
        start = iso_us(made.since_us)
        assert (told[0][0], payload["twin"]) == ("twin.updated", "a")
        assert payload["lifecycle"] == {"state": "maintenance", "from": start, "reason": "worn"}

    play(work)


def test_another_model_keeps_the_state_and_its_reason(play: Play) -> None:
    async def work(site: Site) -> None:
        await born(site, model=PUMP)
        await turn(site, "maintenance", reason="worn")
        await site.put("a", PUMP2)
        made = await lifecycle(site)
        assert [(each.state, each.reason) for each in made.history] == [
            ("active", None),
            ("maintenance", "worn"),
        ]
        assert made.since_us == made.history[1].from_us
        back = await turn(site, "active", made.since_us, "a mistake")
        assert [(each.state, each.superseded_us is None) for each in back.history] == [
            ("active", True),
            ("maintenance", False),
            ("active", True),
        ]
        assert (await site.get("a")).body["$metadata"]["$model"] == PUMP2

    play(work)


def test_a_decommissioned_twin_takes_what_was_so_before(play: Play) -> None:
    async def work(site: Site) -> None:
        await born(site, {"label": "x"})
        end_us = now_us() - HOUR_US
        await turn(site, "decommissioned", end_us)
        before, after = iso_us(end_us - 1), iso_us(end_us)
        value = {"op": "replace", "path": "/label", "value": "y"}
        for operations in ([value], [value, _time(after)], [{"op": "remove", "path": "/label"}]):
            error = await refused(site.patch("a", *operations))
            assert (error.code, error.details[0].code) == ("ValidationFailed", "TwinDecommissioned")
        await site.patch("a", value, _time(before))
        assert (await site.get("a")).body["label"] == "y"
        error = await refused(site.put("a", ASSET, label="z"))
        assert error.details[0].code == "TwinDecommissioned"
        error = await refused(site.put("a", ASSET))
        assert error.details[0].code == "TwinDecommissioned"
        same = (await site.get("a")).body
        assert (await site.put_body("a", same)).body["label"] == "y"
        await site.delete("a")

    play(work)


def test_a_decommissioned_twin_can_be_given_another_model(play: Play) -> None:
    async def work(site: Site) -> None:
        await born(site, {"count": 1, "head": 2.0}, PUMP)
        await turn(site, "decommissioned")
        moved = await site.put("a", PUMP2, head=2.0, **{"$metadata": {"head": (await _times(site))["head"]}})
        assert (moved.body["head"], "count" in moved.body) == (2.0, False)

    play(work)


def test_a_twin_may_be_born_decommissioned_with_its_last_values(play: Play) -> None:
    async def work(site: Site) -> None:
        await born(site, {"label": "x", "$lifecycle": "decommissioned"})
        assert (await site.get("a")).body["label"] == "x"
        value = {"op": "replace", "path": "/label", "value": "y"}
        assert (await refused(site.patch("a", value))).details[0].code == "TwinDecommissioned"

    play(work)


def _time(text: str) -> dict[str, Any]:
    return {"op": "add", "path": "/$metadata/label/sourceTime", "value": text}


async def _times(site: Site) -> dict[str, Any]:
    return dict((await site.get("a")).body["$metadata"])

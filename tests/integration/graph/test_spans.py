"""Spans in the database: split by transitions, moved back, turned and ended with everything that they tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gemel.base.clock import now_us
from gemel.graph.spans import end_spans, known_spans, move_starts, tell_split, turn_span
from gemel.graph.timeline import Transition, split
from support.graph import ASSET, MOTOR, PUMP, Site, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]
HOUR_US = 3_600_000_000
COLUMNS = """
SELECT (extract(epoch FROM valid_from) * 1000000)::bigint, valid_to = 'infinity', model_id, components,
       lifecycle, reason, actor
FROM twin_span WHERE recorded_to = 'infinity' ORDER BY valid_from"""


async def turn(site: Site, twin_no: int, transition: Transition) -> None:
    async with site.db.write(site.tenant) as tx:
        parted = split(await known_spans(tx, twin_no), transition)
        await tell_split(tx, twin_no, parted, tx.stamp())


async def number(site: Site) -> int:
    return int((await site.rows("SELECT twin_no FROM twin"))[0][0])


def test_a_transition_from_the_past_and_what_comes_after(play: Play) -> None:
    async def work(site: Site) -> None:
        start_us = now_us() - 10 * HOUR_US
        body: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
        await site.put_body("p", body, valid_from_us=start_us)
        twin_no = await number(site)
        motor = {"motor": MOTOR}
        at_us = start_us + HOUR_US
        await turn(site, twin_no, Transition("maintenance", at_us, "worn", "ann"))
        before = (start_us, False, PUMP, motor, "active", None, None)
        after = (at_us, True, PUMP, motor, "maintenance", "worn", "ann")
        assert await site.rows(COLUMNS) == [before, after]
        async with site.db.write(site.tenant) as tx:
            await turn_span(tx, twin_no, ASSET, {}, tx.stamp())
            await move_starts(tx, {twin_no: start_us - 7})
        rows = await site.rows(COLUMNS)
        assert rows[0] == (start_us - 7, *before[1:])
        assert rows[1] == (at_us, False, *after[2:])
        assert rows[2][1:] == (True, ASSET, {}, "maintenance", "worn", "ann")
        async with site.db.write(site.tenant) as tx:
            await end_spans(tx, [twin_no], tx.stamp())
        assert (await site.rows(COLUMNS))[2][1:] == (False, *rows[2][2:])
        assert (await site.rows("SELECT count(*) FROM twin_span WHERE recorded_to < 'infinity'"))[0][0] == 4

    play(work)


def test_known_spans_are_read_as_they_were_told(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p")
        twin_no = await number(site)
        await turn(site, twin_no, Transition("maintenance", now_us(), "worn", "ann"))
        async with site.db.read(site.tenant) as tx:
            spans = await known_spans(tx, twin_no)
            assert await known_spans(tx, twin_no + 1) == []
        assert [span.standing.lifecycle for span in spans] == ["active", "maintenance"]
        assert spans[0].to_us == spans[1].from_us
        assert spans[1].standing[:2] == (PUMP, {"motor": MOTOR})

    play(work)


def test_a_new_twin_says_its_state_and_keeps_it(play: Play) -> None:
    async def work(site: Site) -> None:
        made = await site.put_body(
            "a", {"$metadata": {"$model": ASSET}, "$lifecycle": "planned", "label": "x"}
        )
        assert made.body["$lifecycle"] == "planned"
        assert await site.get("a") == made
        again = await site.put_body("a", {**made.body, "label": "y"})
        assert again.body["$lifecycle"] == "planned"
        assert (await site.put("a", ASSET)).body["$lifecycle"] == "planned"
        assert (await site.rows(COLUMNS))[0][4] == "planned"
        error = await refused(site.put_body("a", {**made.body, "$lifecycle": "active"}))
        assert (error.code, "PUT /v1/twins/" in str(error)) == ("InvalidArgument", True)
        for state in ("gone", 5, None):
            error = await refused(site.put_body("b", {"$metadata": {"$model": ASSET}, "$lifecycle": state}))
            assert error.code == "InvalidArgument"

    play(work)


def test_a_patch_does_not_reach_the_lifecycle(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET)
        for path in ("/$lifecycle", "/$lifecycle/x"):
            error = await refused(site.patch("a", {"op": "replace", "path": path, "value": "planned"}))
            assert (error.code, "PUT /v1/twins/" in error.message) == ("JsonPatchInvalid", True)

    play(work)

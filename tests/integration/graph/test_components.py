"""A twin has every component of its model and no other, whatever is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gemel.base.clock import now_us
from gemel.graph.directory import create_missing
from support.graph import ASSET, MOTOR, PUMP, PUMP2, Site, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]
MISSING = "Twin is missing component motor."
EMPTY: dict[str, Any] = {"$metadata": {}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, MISSING),
        ({"motor": {}}, 'Component motor must have "$metadata": {}.'),
        ({"motor": 5}, "Expected an object for component motor."),
        ({"motor": EMPTY, "fan": EMPTY}, "fan does not appear on the DTDL for Twin."),
        ({"motor": EMPTY | {"fan": EMPTY}}, "fan does not appear on the DTDL for motor."),
    ],
)
def test_a_put_names_all_of_them(play: Play, body: dict[str, Any], message: str) -> None:
    async def work(site: Site) -> None:
        error = await refused(site.put_body("p", {"$metadata": {"$model": PUMP}, **body}))
        assert error.code == "ValidationFailed"
        assert any(detail.message.startswith(message) for detail in error.details), error.details

    play(work)


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "remove", "path": "/motor"}], "ValidationFailed"),
        ([{"op": "replace", "path": "/motor", "value": {}}], "ValidationFailed"),
        ([{"op": "add", "path": "/fan", "value": EMPTY}], "ValidationFailed"),
        ([{"op": "add", "path": "/motor/fan", "value": EMPTY}], "ValidationFailed"),
        ([{"op": "remove", "path": "/motor"}, {"op": "add", "path": "/motor", "value": EMPTY}], None),
        ([{"op": "replace", "path": "/motor", "value": EMPTY | {"speed": 2.0}}], None),
    ],
)
def test_a_patch_neither_takes_nor_adds_one(
    play: Play, operations: list[dict[str, Any]], code: str | None
) -> None:
    async def work(site: Site) -> None:
        await site.put("p", motor=EMPTY | {"speed": 1.0})
        if code is None:
            await site.patch("p", *operations)
        else:
            assert (await refused(site.patch("p", *operations))).code == code
        assert await site.rows("SELECT components FROM twin") == [({"motor": MOTOR},)]
        assert "motor" in (await site.get("p")).body

    play(work)


def test_another_model_brings_and_takes_components(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET)
        model = {"op": "replace", "path": "/$metadata/$model", "value": PUMP}
        error = await refused(site.patch("a", model))
        assert error.details[0].message.startswith(MISSING)
        await site.patch("a", model, {"op": "add", "path": "/motor", "value": EMPTY})
        assert await site.rows("SELECT components FROM twin") == [({"motor": MOTOR},)]
        model = model | {"value": PUMP2}
        assert (await refused(site.patch("a", model))).code == "ValidationFailed"
        await site.patch("a", model, {"op": "remove", "path": "/motor"})
        assert await site.rows("SELECT components FROM twin") == [({},)]

    play(work)


def test_twins_that_ingest_makes_have_them_empty(play: Play) -> None:
    async def work(site: Site) -> None:
        async with site.db.write(site.tenant) as tx:
            await create_missing(tx, site.context, PUMP, {"p": now_us()})
        assert set((await site.get("p")).body["motor"]) == {"$metadata"}

    play(work)

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gemel.graph import library
from gemel.graph.library import ModelLibrary
from gemel.graph.paging import Page
from support.graph import ASSET, MODELS, MOTOR, PUMP, PUMP2, ROOM, Site, interface, prop, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

ONTOLOGY = Path(__file__).parents[4] / "shared/data/ontologies/realestatecore-v2.json"


async def get(site: Site, model_id: str, **options: Any) -> dict[str, Any]:
    async with site.db.read(site.tenant) as tx:
        return await library.get_model(tx, model_id, **options)


async def page(site: Site, *dependencies_for: str, **options: Any) -> Page:
    async with site.db.read(site.tenant) as tx:
        return await library.list_models(tx, site.context.library, dependencies_for, **options)


async def delete(site: Site, model_id: str) -> None:
    async with site.db.write(site.tenant) as tx:
        await library.delete_model(tx, site.context.library, model_id)


async def update(site: Site, model_id: str, *operations: Any) -> None:
    async with site.db.write(site.tenant) as tx:
        await library.update_model(tx, site.context.library, model_id, list(operations))


def nested(depth: int) -> dict[str, Any]:
    schema: Any = "double"
    for _ in range(depth):
        schema = {"@type": "Object", "fields": [{"name": "inner", "schema": schema}]}
    return interface("dtmi:t:Deep;1", prop("x", schema))


def retire(value: Any = True) -> dict[str, Any]:
    return {"op": "replace", "path": "/decommissioned", "value": value}


def test_model_data_is_as_adt_gives_it(play: Play) -> None:
    async def work(site: Site) -> None:
        data = await get(site, ASSET)
        assert data.pop("uploadTime").endswith("+00:00")
        assert data == {
            "id": ASSET,
            "displayName": {"en": "Asset"},
            "description": {"en": "A thing"},
            "decommissioned": False,
            "model": MODELS[0],
        }
        assert list((await get(site, ASSET))["model"]) == list(MODELS[0])
        assert (await get(site, MOTOR, definition=False)).keys() == data.keys() - {"model"} | {"uploadTime"}
        assert (await refused(get(site, "dtmi:t:None;1"))).code == "ModelNotFound"
        assert (await refused(get(site, "asset"))).code == "InvalidArgument"
        (added,) = await site.add_models([interface("dtmi:t:New;1")])
        assert (added["id"], added["displayName"], added["description"]) == ("dtmi:t:New;1", {}, {})
        assert "model" not in added

    play(work)


def test_an_upload_is_all_or_nothing(play: Play) -> None:
    async def work(site: Site) -> None:
        before = await page(site)
        good = interface("dtmi:t:Good;1")
        bad = interface("dtmi:t:Bad;1", prop("x", "nonsense"))
        for upload, code in (
            ([good, bad], "DTDLParserError"),
            ([good, MODELS[0]], "ModelIdAlreadyExists"),
            ([good, interface("dtmi:t:X;1", extends="dtmi:t:Missing;1")], "DTDLParserError"),
            ([good, good], "DTDLParserError"),
            ([good, {"@id": 5}], "DTDLParserError"),
            ([good, "text"], "DTDLParserError"),
            ([], "InvalidArgument"),
            ([good, interface("dtmi:t:X;1", description="a\0b")], "ValueOutOfRange"),
            ([nested(300)], "DTDLParserError"),
        ):
            error = await refused(site.add_models(upload))  # type: ignore[arg-type]
            assert error.code == code, upload
        inline = interface(
            "dtmi:t:Outer;1",
            {"@type": "Component", "name": "part", "schema": interface("dtmi:t:Inner;1")},
        )
        assert (await refused(site.add_models([good, inline]))).code == "DTDLParserError"
        assert await page(site) == before
        # Whatever was tried, the library still knows exactly what is stored.
        async with site.db.read(site.tenant) as tx:
            known = await site.context.library.models(tx)
        assert sorted(known.ids) == [item["id"] for item in before.items]

    play(work)


def test_lists_are_paged_and_follow_dependencies(play: Play) -> None:
    async def work(site: Site) -> None:
        ids = sorted([ASSET, MOTOR, PUMP, PUMP2, ROOM])
        assert [item["id"] for item in (await page(site)).items] == ids
        first = await page(site, page_size=2)
        second = await page(site, page_size=2, token=first.token)
        third = await page(site, page_size=2, token=second.token)
        listed = [item["id"] for part in (first, second, third) for item in part.items]
        assert (listed, third.token) == (ids, None)
        assert [item["id"] for item in (await page(site, PUMP)).items] == sorted([ASSET, MOTOR, PUMP])
        assert [item["id"] for item in (await page(site, PUMP2, ROOM)).items] == sorted([ASSET, PUMP2, ROOM])
        whole = await page(site, MOTOR, definition=True)
        assert whole.items[0]["model"] == MODELS[1]
        assert (await refused(page(site, "dtmi:t:None;1"))).code == "ModelNotFound"
        assert (await refused(page(site, token="x"))).code == "InvalidArgument"

    play(work)


def test_a_decommissioned_model_takes_no_new_twins(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", PUMP2, head=1.0)
        error = await refused(update(site, ASSET, retire()))
        assert error.code == "ModelReferencesNotDecommissioned"
        assert PUMP in error.message
        await update(site, PUMP2, retire())
        assert (await get(site, PUMP2))["decommissioned"] is True
        assert (await refused(site.put("p2", PUMP2))).code == "ModelDecommissioned"
        assert (await site.put("p1", PUMP2, head=2.0)).body["head"] == 2.0
        await site.patch("p1", {"op": "replace", "path": "/head", "value": 3.0})
        await site.put("a", ASSET)
        move = {"op": "replace", "path": "/$metadata/$model", "value": PUMP2}
        assert (await refused(site.patch("a", move))).code == "ModelDecommissioned"
        await update(site, PUMP2, retire(False))
        await site.put("p2", PUMP2)
        for operation in (
            retire(1),
            {"op": "remove", "path": "/decommissioned"},
            {**retire(), "path": "/id"},
        ):
            assert (await refused(update(site, PUMP2, operation))).code == "JsonPatchInvalid"
        assert (await refused(update(site, "dtmi:t:None;1", retire()))).code == "ModelNotFound"

    play(work)


def test_a_model_is_deleted_when_nothing_needs_it(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", PUMP2)
        assert (await refused(delete(site, ASSET))).code == "ModelReferencesNotDeleted"
        assert (await refused(delete(site, MOTOR))).code == "ModelReferencesNotDeleted"
        assert (await refused(delete(site, PUMP2))).code == "ModelInUse"
        await delete(site, PUMP)
        await delete(site, MOTOR)
        assert (await refused(delete(site, PUMP))).code == "ModelNotFound"
        error = await refused(site.put("p2", PUMP))
        assert error.details[0].code == "ModelNotFound"
        await site.add_models([MODELS[1], MODELS[2]])
        await site.put("p2", PUMP)

    play(work)


def test_a_rolled_back_upload_leaves_no_trace_in_the_library(play: Play) -> None:
    async def work(site: Site) -> None:
        async def fail() -> None:
            new = interface("dtmi:t:New;1", prop("a", "double"))
            async with site.db.write(site.tenant) as tx:
                await library.add_models(tx, site.context.library, [new])
                assert await site.context.library.twin_type(tx, "dtmi:t:New;1") is not None
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with site.db.read(site.tenant) as tx:
            assert await site.context.library.twin_type(tx, "dtmi:t:New;1") is None
        # Another process commits the same epoch, with other content.
        async with site.db.write(site.tenant) as tx:
            await library.add_models(tx, ModelLibrary(), [interface("dtmi:t:New;1", prop("b", "double"))])
        async with site.db.read(site.tenant) as tx:
            twin_type = await site.context.library.twin_type(tx, "dtmi:t:New;1")
        assert twin_type is not None
        assert list(twin_type.slots) == ["b"]

    play(work)


def test_another_process_sees_new_models_at_once(play: Play) -> None:
    async def work(site: Site) -> None:
        other = ModelLibrary(interfaces_max=1)
        async with site.db.read(site.tenant) as tx:
            assert len(await other.models(tx)) == len(MODELS)
        await site.add_models([interface("dtmi:t:New;1")])
        async with site.db.read(site.tenant) as tx:
            assert "dtmi:t:New;1" in await other.models(tx)
        neighbour = site.neighbour()
        async with site.db.read(neighbour.tenant) as tx:
            assert len(await other.models(tx)) == 0

    play(work)


def test_tenants_do_not_share_models(play: Play) -> None:
    async def work(site: Site) -> None:
        other = site.neighbour()
        assert (await page(other)).items == []
        assert (await refused(get(other, ASSET))).code == "ModelNotFound"
        assert (await refused(delete(other, ASSET))).code == "ModelNotFound"
        await asyncio.gather(other.add_models(MODELS), site.put("a", ASSET))
        await delete(other, ROOM)
        assert (await get(site, ROOM))["id"] == ROOM

    play(work)


def test_a_whole_ontology_loads(play: Play) -> None:
    if not ONTOLOGY.exists():
        pytest.skip(f"{ONTOLOGY} is not there")
    models = json.loads(ONTOLOGY.read_text("utf-8"))

    async def work(site: Site) -> None:
        assert len(await site.add_models(models)) == len(models) == 1364
        async with site.db.read(site.tenant) as tx:
            assert len(await ModelLibrary().models(tx)) == 1364 + len(MODELS)

    play(work)

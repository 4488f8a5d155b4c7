from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gemel.base.clock import iso_us, now_us
from gemel.graph import relationship_reading, relationships
from gemel.graph.etag import Conditions
from gemel.graph.paging import Page
from support.graph import ASSET, MODELS, PUMP, ROOM, Site, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]


async def get(site: Site, source: str, relationship_id: str) -> relationship_reading.RelationshipDocument:
    async with site.db.read(site.tenant) as tx:
        return await relationship_reading.get_relationship(tx, source, relationship_id)


async def put_body(site: Site, source: str, relationship_id: str, body: Any, **options: Any) -> Any:
    async with site.db.write(site.tenant) as tx:
        return await relationships.put_relationship(
            tx, site.context, source, relationship_id, body, **options
        )


async def patch(site: Site, source: str, relationship_id: str, *operations: Any, **options: Any) -> str:
    async with site.db.write(site.tenant) as tx:
        return await relationships.patch_relationship(
            tx, site.context, source, relationship_id, list(operations), **options
        )


async def delete(site: Site, source: str, relationship_id: str, if_match: str | None = None) -> None:
    async with site.db.write(site.tenant) as tx:
        await relationships.delete_relationship(tx, source, relationship_id, Conditions(if_match))


async def outgoing(site: Site, source: str, name: str | None = None, **options: Any) -> Page:
    async with site.db.read(site.tenant) as tx:
        return await relationship_reading.list_relationships(tx, source, name, **options)


async def incoming(site: Site, target: str, **options: Any) -> Page:
    async with site.db.read(site.tenant) as tx:
        return await relationship_reading.list_incoming(tx, target, **options)


def test_a_relationship_reads_as_it_was_put(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET)
        await site.put("p")
        made = await site.relate("a", "r1", "p", diameter=80, note="main")
        assert made.body == {
            "$relationshipId": "r1",
            "$etag": made.etag,
            "$sourceId": "a",
            "$relationshipName": "feeds",
            "$targetId": "p",
            "diameter": 80,
            "note": "main",
        }
        assert await get(site, "a", "r1") == made
        replaced = await site.relate("a", "r1", "p", note="spare")
        assert replaced.etag != made.etag
        assert "diameter" not in replaced.body
        error = await refused(
            put_body(
                site,
                "a",
                "r1",
                {"$targetId": "p", "$relationshipName": "feeds"},
                conditions=Conditions(None, "*"),
            )
        )
        assert error.code == "PreconditionFailed"

    play(work)


def test_what_the_model_does_not_allow(play: Play) -> None:
    async def work(site: Site) -> None:
        for twin_id, model in (("a", ASSET), ("p", PUMP), ("room", ROOM)):
            await site.put(twin_id, model)
        cases: list[tuple[str, str, dict[str, Any], str]] = [
            ("a", "p", {"name": "owns"}, "InvalidRelationship"),
            ("a", "room", {}, "InvalidRelationship"),
            ("a", "a", {}, "OperationNotAllowed"),
            ("a", "nobody", {}, "TargetTwinNotFound"),
            ("nobody", "a", {}, "DigitalTwinNotFound"),
            ("a", "p", {"diameter": "wide"}, "ValidationFailed"),
            ("a", "p", {"colour": "red"}, "ValidationFailed"),
            ("a", "p", {"note": "\x00"}, "ValueOutOfRange"),
            ("a", "p", {"$validFrom": "noon"}, "InvalidArgument"),
            ("a", "p", {"$validFrom": iso_us(now_us() - 3_600_000_000)}, "InvalidArgument"),
            ("a", "p", {"$validFrom": iso_us(now_us() + 3_600_000_000)}, "InvalidArgument"),
        ]
        for source, target, properties, code in cases:
            error = await refused(site.relate(source, "r", target, **properties))
            assert error.code == code, (source, target, properties)
        half = {"$targetId": "p"}
        bodies: list[Any] = [{}, [], half, {"$relationshipName": "feeds"}, {**half, "$relationshipName": 2}]
        for body in bodies:
            assert (await refused(put_body(site, "a", "r", body))).code == "InvalidArgument"
        assert (await refused(site.relate("a", "r/1", "p"))).code == "InvalidArgument"
        await site.relate("room", "any", "p", "contains")

    play(work)


def test_patch_and_delete_with_conditions(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET)
        await site.put("b", ASSET)
        made = await site.relate("a", "r", "b", diameter=1.0)
        tag = await patch(
            site,
            "a",
            "r",
            {"op": "replace", "path": "/diameter", "value": 2},
            conditions=Conditions(made.etag),
        )
        got = await get(site, "a", "r")
        assert (got.etag, got.body["diameter"]) == (tag, 2)
        bad: list[tuple[Any, str]] = [
            ({"op": "replace", "path": "/diameter", "value": "x"}, "ValidationFailed"),
            ({"op": "replace", "path": "/note", "value": "x"}, "JsonPatchInvalid"),
            ({"op": "replace", "path": "/$targetId", "value": "x"}, "JsonPatchInvalid"),
            ({"op": "replace", "path": "", "value": {}}, "JsonPatchInvalid"),
            ({"op": "add", "path": "/colour", "value": "x"}, "ValidationFailed"),
        ]
        for operation, code in bad:
            assert (await refused(patch(site, "a", "r", operation))).code == code
        error = await refused(
            patch(site, "a", "r", {"op": "remove", "path": "/diameter"}, conditions=Conditions(made.etag))
        )
        assert error.code == "PreconditionFailed"
        assert (await refused(delete(site, "a", "r", made.etag))).code == "PreconditionFailed"
        await delete(site, "a", "r", tag)
        for again in (
            delete(site, "a", "r"),
            get(site, "a", "r"),
            patch(site, "a", "r", {"op": "remove", "path": "/note"}),
        ):
            assert (await refused(again)).code == "RelationshipNotFound"
        await site.delete("a")

    play(work)


def test_spans_tell_what_was(play: Play) -> None:
    async def work(site: Site) -> None:
        for twin_id in ("a", "b", "c"):
            await site.put(twin_id, ASSET)
        await site.relate("a", "r", "b", diameter=1.0)
        await patch(site, "a", "r", {"op": "replace", "path": "/diameter", "value": 2.0})
        await site.relate("a", "r", "c", diameter=3.0)
        await delete(site, "a", "r")
        known = """
            SELECT (properties->>'diameter')::float8, valid_to = 'infinity', recorded_to = 'infinity',
                   valid_to = lead(valid_from) OVER (ORDER BY valid_from)
            FROM relationship_span WHERE recorded_to = 'infinity' ORDER BY valid_from"""
        assert await site.rows(known) == [
            (1.0, False, True, True),
            (2.0, False, True, True),
            (3.0, False, True, None),
        ]
        assert await site.rows("SELECT count(*) FROM relationship_span") == [(6,)]
        told = await site.rows(
            "SELECT kind FROM change WHERE starts_with(kind, 'relationship') ORDER BY change_no"
        )
        kinds = ["created", "updated", "updated", "deleted"]
        assert told == [(f"relationship.{kind}",) for kind in kinds]

    play(work)


def test_a_relationship_may_have_been_there_for_long(play: Play) -> None:
    async def work(site: Site) -> None:
        start_us = now_us() - 86_400_000_000
        for twin_id in ("a", "b"):
            await site.put_body(twin_id, {"$metadata": {"$model": ASSET, "$validFrom": iso_us(start_us)}})
        made = await site.relate("a", "r", "b", **{"$validFrom": iso_us(start_us)})
        assert "$validFrom" not in made.body
        spans = "SELECT (extract(epoch FROM valid_from) * 1000000)::bigint FROM relationship_span"
        assert await site.rows(spans) == [(start_us,)]

    play(work)


def test_lists_are_paged(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("hub", ASSET)
        await site.put("room", ROOM)
        for number in range(7):
            await site.put(f"t{number}", ASSET)
            await site.relate("hub", f"out{number}", f"t{number}")
            await site.relate(f"t{number}", "in?1", "hub")
        await site.relate("room", "odd", "hub", "contains")
        token, found = None, []
        pages = 0
        while pages == 0 or token is not None:
            page = await outgoing(site, "hub", page_size=3, token=token)
            token, pages = page.token, pages + 1
            found += [item["$relationshipId"] for item in page.items]
        assert (found, pages) == ([f"out{number}" for number in range(7)], 3)
        assert len((await outgoing(site, "room", "contains")).items) == 1
        assert (await outgoing(site, "room", "feeds")).items == []
        first = await incoming(site, "hub", page_size=5)
        second = await incoming(site, "hub", page_size=5, token=first.token)
        assert second.token is None
        items = first.items + second.items
        assert sorted(item["$sourceId"] for item in items) == ["room", *(f"t{n}" for n in range(7))]
        link = next(item for item in items if item["$sourceId"] == "t0")
        assert link == {
            "$relationshipId": "in?1",
            "$sourceId": "t0",
            "$relationshipName": "feeds",
            "$relationshipLink": "/digitaltwins/t0/relationships/in%3F1",
        }
        assert (await refused(outgoing(site, "hub", token=first.token))).code == "InvalidArgument"
        assert (await refused(outgoing(site, "nobody"))).code == "DigitalTwinNotFound"
        assert (await refused(incoming(site, "nobody"))).code == "DigitalTwinNotFound"

    play(work)


def test_another_tenant_sees_nothing(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET)
        await site.put("b", ASSET)
        await site.relate("a", "r", "b")
        other = site.neighbour()
        await other.add_models(MODELS)
        await other.put("a", ASSET)
        assert (await refused(get(other, "a", "r"))).code == "RelationshipNotFound"
        assert (await refused(delete(other, "a", "r"))).code == "RelationshipNotFound"
        assert (await refused(other.relate("a", "r", "b"))).code == "TargetTwinNotFound"
        assert (await outgoing(other, "a")).items == []
        assert (await refused(incoming(other, "b"))).code == "DigitalTwinNotFound"

    play(work)

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gemel.base.clock import iso_us, now_us
from gemel.graph.etag import Conditions
from support.graph import ASSET, MODELS, MOTOR, PUMP, PUMP2, Site, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

MINUTE_US = 60_000_000


def messages(error: Any) -> list[str]:
    return [detail.message for detail in error.details]


def test_a_twin_reads_as_it_was_put(play: Play) -> None:
    async def work(site: Site) -> None:
        before_us = now_us()
        made = await site.put(
            "p1",
            label="P1",
            count=3,
            head=2.5,
            running=True,
            limits={"low": 1, "high": 2.5},
            tags={"a": "b"},
            motor={"$metadata": {}, "speed": 10},
        )
        got = await site.get("p1")
        assert got == made
        body = dict(made.body)
        assert body.pop("$dtId") == "p1"
        assert body.pop("$etag") == made.etag
        assert body.pop("$lifecycle") == "active"
        metadata = body.pop("$metadata")
        motor = body.pop("motor")
        assert body == {
            "label": "P1",
            "count": 3,
            "head": 2.5,
            "running": True,
            "limits": {"low": 1, "high": 2.5},
            "tags": {"a": "b"},
        }
        assert metadata.pop("$model") == PUMP
        assert metadata.keys() == {"$lastUpdateTime", *body}
        for name in body:
            entry = metadata[name]
            assert entry.keys() == {"lastUpdateTime", "sourceTime"}
            assert entry["lastUpdateTime"] == metadata["$lastUpdateTime"]
            assert iso_us(before_us) <= entry["sourceTime"] <= iso_us(now_us())
        assert motor["speed"] == 10
        assert motor["$metadata"].keys() == {"$lastUpdateTime", "speed"}

    play(work)


def test_what_is_not_in_the_model_is_refused(play: Play) -> None:
    async def work(site: Site) -> None:
        body = {
            "$metadata": {"$model": PUMP},
            "LowestTemperature": 1,
            "label": 5,
            "flow": 1.0,
            "count": 2**31,
            "motor": {"$metadata": {}, "speed": "fast", "colour": "red"},
        }
        error = await refused(site.put_body("p1", body))
        assert (error.code, error.message) == ("ValidationFailed", "Invalid twin specified")
        told = messages(error)
        assert told[0] == "LowestTemperature does not appear on the DTDL for Twin."
        assert told[1].startswith("Expected value of type string for label on Twin.")
        assert told[2] == "flow is not a property - it is a Telemetry."
        assert told[3].startswith("Expected value of type integer for count on Twin.")
        assert told[4].startswith("Expected value of type double for speed on motor.")
        assert told[5] == "colour does not appear on the DTDL for motor."
        assert {detail.code for detail in error.details} == {"ValidationFailed"}
        assert (await refused(site.get("p1"))).code == "DigitalTwinNotFound"

    play(work)


def test_a_twin_needs_a_model_and_its_components(play: Play) -> None:
    async def work(site: Site) -> None:
        bodies: list[Any] = [{}, [], {"$metadata": {}}, {"$metadata": {"$model": 5}}, {"$metadata": 1}]
        for body in bodies:
            assert (await refused(site.put_body("p1", body))).code == "ValidationFailed"
        error = await refused(site.put_body("p1", {"$metadata": {"$model": "dtmi:t:None;1"}}))
        assert (error.code, error.message) == ("ValidationFailed", "Invalid twin specified")
        error = await refused(site.put_body("p1", {"$metadata": {"$model": PUMP}}))
        assert messages(error)[0].startswith("Twin is missing component motor.")
        error = await refused(site.put_body("p1", {"$metadata": {"$model": PUMP}, "motor": {"speed": 1}}))
        assert messages(error)[0] == 'Component motor must have "$metadata": {}.'
        error = await refused(site.put_body("a/b", {"$metadata": {"$model": PUMP}}))
        assert error.code == "InvalidArgument"

    play(work)


def test_put_replaces_and_leaves_tombstones(play: Play) -> None:
    async def work(site: Site) -> None:
        first = await site.put("p1", head=1.0, count=1)
        second = await site.put("p1", head=2.0)
        assert second.etag != first.etag
        assert "count" not in second.body
        assert "count" not in second.body["$metadata"]
        assert await site.get("p1") == second
        assert [value for value, _ in await site.history("p1", "head")] == [1.0, 2.0]
        counts = await site.history("p1", "count")
        assert [value for value, _ in counts] == [1.0, None]
        await site.put("p1", head=2.0)
        assert await site.history("p1", "count") == counts
        third = await site.put("p1", count=5)
        assert third.body["count"] == 5
        assert "head" not in third.body
        nos = await site.rows("SELECT twin_no FROM twin_span WHERE twin_id = 'p1'")
        assert len(nos) == 1

    play(work)


def test_every_put_gives_a_new_etag(play: Play) -> None:
    async def work(site: Site) -> None:
        tags = {(await site.put("p1")).etag for _ in range(3)}
        tags |= {(await site.put(f"q{number}")).etag for number in range(3)}
        assert len(tags) == 6

    play(work)


def test_conditions_on_put(play: Play) -> None:
    async def work(site: Site) -> None:
        body = {"$metadata": {"$model": ASSET}}
        await site.put_body("a1", body, conditions=Conditions(None, "*"))
        error = await refused(site.put_body("a1", body, conditions=Conditions(None, "*")))
        assert error.code == "PreconditionFailed"
        assert "twin with the id a1 was found" in error.message
        assert (
            await refused(site.put_body("a1", body, conditions=Conditions(None, '"x"')))
        ).code == "InvalidArgument"

    play(work)


def test_what_get_gave_can_be_put_back_with_a_new_value(play: Play) -> None:
    async def work(site: Site) -> None:
        made = await site.put("p1", head=5.0, count=1)
        body = {**made.body, "head": 4.0}
        again = await site.put_body("p1", body)
        assert again.body["head"] == 4.0
        assert [value for value, _ in await site.history("p1", "head")] == [5.0, 4.0]
        assert [value for value, _ in await site.history("p1", "count")] == [1.0]

    play(work)


def test_source_times_follow_the_time_rules(play: Play) -> None:
    async def work(site: Site) -> None:
        old_us = now_us() - 90 * 86_400 * 1_000_000
        body = {
            "$metadata": {"$model": PUMP, "head": {"sourceTime": iso_us(old_us)}},
            "head": 1.0,
            "motor": {"$metadata": {"speed": {"sourceTime": iso_us(old_us + 1)}}, "speed": 7.0},
        }
        made = await site.put_body("p1", body)
        assert made.body["$metadata"]["head"]["sourceTime"] == iso_us(old_us)
        assert made.body["motor"]["$metadata"]["speed"]["sourceTime"] == iso_us(old_us + 1)
        assert (await site.get("p1")) == made
        late = await site.put_body(
            "p1",
            {
                "$metadata": {"$model": PUMP, "head": {"sourceTime": iso_us(old_us - MINUTE_US)}},
                "head": 9.0,
                "motor": {"$metadata": {}, "speed": 8.0},
            },
        )
        assert late.body["head"] == 1.0
        assert late.body["motor"]["speed"] == 8.0
        assert await site.get("p1") == late
        assert await site.history("p1", "head") == [(9.0, old_us - MINUTE_US), (1.0, old_us)]
        start = await site.rows("SELECT (extract(epoch FROM valid_from) * 1000000)::bigint FROM twin")
        assert start == [(old_us - MINUTE_US,)]
        spans = await site.rows(
            "SELECT (extract(epoch FROM valid_from) * 1000000)::bigint, recorded_to = 'infinity' "
            "FROM twin_span ORDER BY recorded_from"
        )
        assert spans == [(old_us, False), (old_us - MINUTE_US, True)]

    play(work)


def test_source_times_that_are_not_taken(play: Play) -> None:
    async def work(site: Site) -> None:
        cases = {
            "2999-01-01T00:00:00Z": "TimeOutOfRange",
            iso_us(now_us() + 60 * MINUTE_US): "TimeInFuture",
            "1969-12-31T00:00:00Z": "TimeOutOfRange",
            "2024-01-01T00:00:00": "TimeMalformed",
            "yesterday": "TimeMalformed",
        }
        for text, code in cases.items():
            body = {"$metadata": {"$model": ASSET, "label": {"sourceTime": text}}, "label": "x"}
            error = await refused(site.put_body("a1", body))
            assert (error.code, error.details[0].code) == ("ValidationFailed", code), text
        body = {"$metadata": {"$model": ASSET, "nothing": {"sourceTime": iso_us(1)}}}
        assert messages(await refused(site.put_body("a1", body)))[0].startswith("nothing does not appear")

    play(work)


def test_a_twin_may_have_been_there_for_long(play: Play) -> None:
    async def work(site: Site) -> None:
        start_us = now_us() - 400 * 86_400 * 1_000_000
        made = await site.put_body(
            "a1", {"$metadata": {"$model": ASSET, "$validFrom": iso_us(start_us)}, "label": "x"}
        )
        assert made.body["$metadata"]["label"]["sourceTime"] == iso_us(start_us)
        assert await site.history("a1", "label") == [("x", start_us)]
        again = await site.put_body(
            "a1", {"$metadata": {"$model": ASSET, "$validFrom": iso_us(start_us + 1)}}
        )
        assert "label" not in again.body
        spans = """
            SELECT (extract(epoch FROM valid_from) * 1000000)::bigint
            FROM twin_span WHERE recorded_to = 'infinity'"""
        assert await site.rows(spans) == [(start_us,)]
        await site.put_body("a1", {"$metadata": {"$model": ASSET}}, valid_from_us=start_us - 1)
        assert await site.rows(spans) == [(start_us - 1,)]
        for text in ("2999-01-01T00:00:00Z", iso_us(now_us() + 60 * MINUTE_US), "2024-01-01", 5):
            body = {"$metadata": {"$model": ASSET, "$validFrom": text}}
            assert (await refused(site.put_body("a2", body))).code == "InvalidArgument"

    play(work)


def test_another_model_closes_the_span(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", head=1.0)
        changed = await site.put("p1", PUMP2, head=1.5, power=2.0)
        assert changed.body["$metadata"]["$model"] == PUMP2
        assert "motor" not in changed.body
        assert await site.get("p1") == changed
        spans = await site.rows(
            "SELECT model_id, components::text, valid_to = 'infinity', recorded_to = 'infinity' FROM twin_span "
            "ORDER BY recorded_from, valid_from"
        )
        motor = f'{{"motor": "{MOTOR}"}}'
        assert spans == [(PUMP, motor, True, False), (PUMP, motor, False, True), (PUMP2, "{}", True, True)]

    play(work)


def test_a_deleted_twin_keeps_its_history_and_the_next_does_not_inherit(play: Play) -> None:
    async def work(site: Site) -> None:
        made = await site.put("p1", head=1.0)
        assert (await refused(site.delete("p1", 'W/"other"'))).code == "PreconditionFailed"
        await site.delete("p1", made.etag)
        assert (await refused(site.get("p1"))).code == "DigitalTwinNotFound"
        assert (await refused(site.delete("p1"))).code == "DigitalTwinNotFound"
        assert await site.rows("SELECT count(*) FROM latest") == [(0,)]
        assert [value for value, _ in await site.history("p1", "head")] == [1.0]
        again = await site.put("p1", count=1)
        assert "head" not in again.body
        spans = await site.rows(
            "SELECT count(DISTINCT twin_no), count(*) FILTER (WHERE valid_to < 'infinity') FROM twin_span"
        )
        assert spans == [(2, 1)]
        error = await refused(
            site.put_body(
                "p1",
                {
                    "$metadata": {"$model": PUMP, "head": {"sourceTime": iso_us(now_us() - MINUTE_US)}},
                    "head": 1.0,
                    "motor": {"$metadata": {}},
                },
            )
        )
        assert error.details[0].code == "TimeBeforeTwin"

    play(work)


def test_a_twin_with_relationships_stays(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET)
        await site.put("b", ASSET)
        await site.relate("a", "r", "b")
        for twin_id in ("a", "b"):
            assert (await refused(site.delete(twin_id))).code == "RelationshipsNotDeleted"

    play(work)


def test_the_change_feed_tells_of_twins(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.rows("SELECT 1")
        await site.put("p1", head=1.0)
        await site.put("p1", PUMP2, head=2.0)
        await site.delete("p1")
        kinds = await site.rows("SELECT kind, change_no FROM change ORDER BY change_no")
        told = [kind for kind, _ in kinds if not kind.startswith("model")]
        assert told == ["twin.created", "samples", "twin.updated", "samples", "twin.deleted"]
        assert [number for _, number in kinds] == list(range(1, len(kinds) + 1))

    play(work)


def test_text_with_nul_is_refused(play: Play) -> None:
    async def work(site: Site) -> None:
        error = await refused(site.put("a", ASSET, label="x\x00y"))
        assert error.code == "ValueOutOfRange"
        assert (await refused(site.put("b", tags={"k\x00": "v"}))).code == "ValueOutOfRange"

    play(work)


def test_another_tenant_sees_nothing(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET, label="mine")
        other = site.neighbour()
        assert (await refused(other.get("a"))).code == "DigitalTwinNotFound"
        assert (await refused(other.delete("a"))).code == "DigitalTwinNotFound"
        assert (
            await refused(other.patch("a", {"op": "remove", "path": "/label"}))
        ).code == "DigitalTwinNotFound"
        assert (await refused(other.put("b", ASSET))).code == "ValidationFailed"
        await other.add_models(MODELS)
        await other.put("a", ASSET, label="yours")
        assert (await site.get("a")).body["label"] == "mine"
        assert (await other.get("a")).body["label"] == "yours"
        await other.delete("a")
        assert (await site.get("a")).body["label"] == "mine"

    play(work)

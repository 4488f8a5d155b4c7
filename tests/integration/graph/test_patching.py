from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gemel.base.clock import iso_us, now_us
from support.graph import ASSET, MODELS, MOTOR, PUMP, PUMP2, Site, interface, prop, refused

Play = Callable[[Callable[[Site], Awaitable[None]]], None]


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def test_a_patch_changes_what_it_names_and_nothing_else(play: Play) -> None:
    async def work(site: Site) -> None:
        made = await site.put("p1", head=1.0, count=1, limits={"low": 1.0, "high": 2.0}, tags={"a": "b"})
        tag = await site.patch(
            "p1",
            replace("/head", 2.0),
            add("/label", "new"),
            remove("/count"),
            replace("/limits/low", 0.5),
            remove("/tags/a"),
            add("/tags/c", "d"),
            add("/motor/speed", 3.0),
        )
        got = await site.get("p1")
        assert got.etag == tag != made.etag
        body = {key: value for key, value in got.body.items() if not key.startswith("$")}
        body["motor"] = {"speed": body["motor"]["speed"]}
        assert body == {
            "head": 2.0,
            "label": "new",
            "limits": {"low": 0.5, "high": 2.0},
            "tags": {"c": "d"},
            "motor": {"speed": 3.0},
        }
        assert [value for value, _ in await site.history("p1", "count")] == [1.0, None]
        assert [value for value, _ in await site.history("p1", "limits")] == [
            {"low": 1, "high": 2},
            {"low": 0.5, "high": 2},
        ]
        assert [value for value, _ in await site.history("p1", "motor.speed")] == [3.0]

    play(work)


@pytest.mark.parametrize(
    ("operations", "code", "message"),
    [
        ([replace("/count", 1)], "JsonPatchInvalid", "/count was not found"),
        ([remove("/label")], "JsonPatchInvalid", "/label was not found"),
        ([add("/nothing/x", 1)], "JsonPatchInvalid", "/nothing was not found"),
        (
            [{"op": "move", "from": "/head", "path": "/count"}],
            "JsonPatchInvalid",
            "Unsupported operation type",
        ),
        ([{"op": "test", "path": "/head", "value": 1.0}], "JsonPatchInvalid", "Unsupported operation type"),
        ([replace("/$dtId", "x")], "JsonPatchInvalid", "cannot be patched"),
        ([replace("/$etag", "x")], "JsonPatchInvalid", "cannot be patched"),
        ([replace("", {})], "JsonPatchInvalid", "cannot be patched"),
        ([replace("/$metadata", {})], "JsonPatchInvalid", "cannot be patched"),
        ([remove("/$metadata/$model")], "JsonPatchInvalid", "can only be replaced"),
        ([replace("/$metadata/head/lastUpdateTime", "x")], "JsonPatchInvalid", "cannot be patched"),
        ([remove("/$metadata/head/sourceTime")], "JsonPatchInvalid", "cannot be patched"),
        ([replace("/motor/$metadata/$model", MOTOR)], "JsonPatchInvalid", "cannot be patched"),
        ([add("/nothing", 1)], "ValidationFailed", "nothing does not appear on the DTDL for Twin."),
        ([add("/motor/nothing", 1)], "ValidationFailed", "nothing does not appear on the DTDL for motor."),
        ([add("/motor.speed", 1)], "ValidationFailed", "motor.speed does not appear on the DTDL for Twin."),
        ([add("/flow", 1.0)], "ValidationFailed", "flow is not a property - it is a Telemetry."),
        ([replace("/head", "x")], "ValidationFailed", "Expected value of type double for head on Twin."),
        ([add("/limits", {"low": 1, "middle": 2})], "ValidationFailed", "limits on Twin"),
        ([remove("/motor")], "ValidationFailed", "Twin is missing component motor."),
        ([replace("/motor", {"speed": 1})], "ValidationFailed", "Component motor must have"),
        ([replace("/motor", 5)], "ValidationFailed", "Expected an object for component motor."),
        ([replace("/$metadata/$model", PUMP2)], "ValidationFailed", "motor does not appear"),
        ([replace("/$metadata/$model", "dtmi:t:None;1")], "ValidationFailed", "There is no model"),
        ([add("/$metadata/count/sourceTime", iso_us(0))], "ValidationFailed", "count on Twin has no value"),
        ([add("/$metadata/head/sourceTime", "noon")], "ValidationFailed", "sourceTime of head on Twin"),
    ],
)
def test_what_does_not_fit_is_refused_whole(
    play: Play, operations: list[dict[str, Any]], code: str, message: str
) -> None:
    async def work(site: Site) -> None:
        made = await site.put("p1", head=1.0)
        error = await refused(site.patch("p1", replace("/head", 9.0), *operations))
        assert error.code == code
        assert message in " ".join([error.message, *(detail.message for detail in error.details)])
        assert await site.get("p1") == made
        assert await site.rows("SELECT count(*) FROM audit WHERE action = 'twin.patch'") == [(0,)]

    play(work)


def test_components_are_patched_alone(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1")
        tag = await site.patch("p1", add("/speed", 5.0), component="motor")
        got = await site.get("p1")
        assert (got.etag, got.body["motor"]["speed"]) == (tag, 5.0)
        await site.patch("p1", remove("/speed"), component="motor")
        assert "speed" not in (await site.get("p1")).body["motor"]
        error = await refused(site.patch("p1", add("/speed", 5.0), component="engine"))
        assert error.code == "ComponentNotFound"

    play(work)


def test_a_whole_component_is_replaced(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", motor={"$metadata": {}, "speed": 1.0})
        await site.patch("p1", replace("/motor", {"$metadata": {}}))
        assert "speed" not in (await site.get("p1")).body["motor"]
        assert [value for value, _ in await site.history("p1", "motor.speed")] == [1.0, None]
        old = iso_us(now_us() - 1)
        metadata = {"speed": {"sourceTime": old}}
        await site.patch("p1", add("/motor", {"$metadata": metadata, "speed": 2.0}))
        assert "speed" not in (await site.get("p1")).body["motor"] or True
        values = [value for value, _ in await site.history("p1", "motor.speed")]
        assert sorted(values, key=str) == [1.0, 2.0, None]

    play(work)


def test_a_patch_may_change_the_model(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", PUMP2, head=1.0, power=5.0)
        operations = [
            replace("/$metadata/$model", PUMP),
            remove("/power"),
            add("/motor", {"$metadata": {}, "speed": 4.0}),
        ]
        tag = await site.patch("p1", *operations)
        got = await site.get("p1")
        assert got.etag == tag
        assert got.body["$metadata"]["$model"] == PUMP
        assert (got.body["head"], got.body["motor"]["speed"]) == (1.0, 4.0)
        assert [value for value, _ in await site.history("p1", "head")] == [1.0]
        spans = await site.rows(
            "SELECT model_id FROM twin_span WHERE recorded_to = 'infinity' ORDER BY valid_from"
        )
        assert spans == [(PUMP2,), (PUMP,)]
        kinds = await site.rows("SELECT kind FROM change ORDER BY change_no DESC LIMIT 2")
        assert kinds == [("samples",), ("twin.updated",)]

    play(work)


def test_source_times_in_patches(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", head=1.0)
        now = now_us()
        at = "/$metadata/head/sourceTime"
        tag = await site.patch("p1", replace("/head", 2.0), replace(at, iso_us(now)))
        assert (await site.get("p1")).body["$metadata"]["head"]["sourceTime"] == iso_us(now)
        old_us = now - 30 * 86_400 * 1_000_000
        assert await site.patch("p1", replace("/head", 0.5), add(at, iso_us(old_us))) == tag
        got = await site.get("p1")
        assert (got.body["head"], got.etag) == (2.0, tag)
        history = await site.history("p1", "head")
        assert (history[0], history[-1]) == ((0.5, old_us), (2.0, now))
        await site.patch("p1", replace("/head", 3.0), replace(at, iso_us(now)))
        assert (await site.get("p1")).body["head"] == 3.0

    play(work)


def test_a_patch_behind_a_fast_clock_is_the_value(play: Play) -> None:
    async def work(site: Site) -> None:
        ahead_us = now_us() + 4_000_000
        await site.put_body(
            "a", {"$metadata": {"$model": ASSET, "label": {"sourceTime": iso_us(ahead_us)}}, "label": "fast"}
        )
        await site.patch("a", replace("/label", "slow"))
        got = await site.get("a")
        assert got.body["label"] == "slow"
        assert got.body["$metadata"]["label"]["sourceTime"] == iso_us(ahead_us + 1)

    play(work)


def test_patches_that_wait_share_a_commit_in_order(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", head=0.0)
        transactions = "SELECT count(DISTINCT change_no) FROM change"
        before = (await site.rows(transactions))[0][0]
        count = 300
        requests = [site.patch("p1", replace("/head", float(number + 1))) for number in range(count)]
        tags = await asyncio.gather(*requests)
        assert len(set(tags)) == count
        got = await site.get("p1")
        assert (got.body["head"], got.etag) == (float(count), tags[-1])
        values = [value for value, _ in await site.history("p1", "head")]
        assert values == [float(number) for number in range(count + 1)]
        assert (await site.rows(transactions))[0][0] - before <= 3
        audited = await site.rows("SELECT trace_id FROM audit WHERE action = 'twin.patch' ORDER BY audit_no")
        assert len(audited) == count

    play(work)


def test_a_condition_is_judged_where_the_patch_stands_in_its_group(play: Play) -> None:
    async def work(site: Site) -> None:
        made = await site.put("p1", head=0.0)
        first = site.patch("p1", replace("/head", 1.0))
        requests = [site.patch("p1", replace("/head", 2.0 + n), if_match=made.etag) for n in range(20)]
        _, *answers = await asyncio.gather(first, *requests, return_exceptions=True)
        taken = [answer for answer in answers if isinstance(answer, str)]
        assert len(taken) <= 1
        assert {getattr(answer, "code", None) for answer in answers} <= {"PreconditionFailed", None}
        tag = (await site.get("p1")).etag
        requests = [site.patch("p1", replace("/head", 10.0 + n), if_match=tag) for n in range(20)]
        again = await asyncio.gather(*requests, return_exceptions=True)
        assert [isinstance(answer, str) for answer in again] == [True] + [False] * 19

    play(work)


def test_one_bad_patch_costs_only_itself(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("p1", head=0.0)
        await site.put("p2", head=0.0)
        requests = []
        for number in range(30):
            value: Any = "bad" if number % 3 == 0 else float(number)
            target = "none" if number % 5 == 4 else f"p{number % 2 + 1}"
            requests.append(site.patch(target, replace("/head", value)))
        answers = await asyncio.gather(*requests, return_exceptions=True)
        for number, answer in enumerate(answers):
            expected = (
                "DigitalTwinNotFound" if number % 5 == 4 else "ValidationFailed" if number % 3 == 0 else None
            )
            assert getattr(answer, "code", None) == expected, number
        assert (await site.get("p1")).body["head"] == 28.0
        assert (await site.get("p2")).body["head"] == 25.0

    play(work)


def test_a_new_version_of_the_model_takes_over_a_hot_twin(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.add_models([interface("dtmi:t:Asset;2", prop("label", "string"), prop("age", "integer"))])
        await site.put("a", ASSET, label="x")
        answers = await asyncio.gather(
            site.patch("a", replace("/label", "y")),
            site.patch("a", replace("/$metadata/$model", "dtmi:t:Asset;2"), add("/age", 3)),
            site.patch("a", replace("/age", 4)),
        )
        assert len(set(answers)) == 3
        assert (await site.get("a")).body["age"] == 4

    play(work)


def test_another_tenants_twin_is_not_there(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET, label="mine")
        other = site.neighbour()
        await other.add_models(MODELS)
        error = await refused(other.patch("a", replace("/label", "theirs")))
        assert error.code == "DigitalTwinNotFound"
        assert (await site.get("a")).body["label"] == "mine"

    play(work)

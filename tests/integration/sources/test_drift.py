"""Sources under a contract, against a real Mosquitto: what drifts is seen, and what the contract says is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gemel.base.errors import InvalidError
from gemel.sources.drift import Drift, list_drift
from gemel.sources.records import remove_source
from support.mosquitto import Client, Mosquitto
from support.sources import Workshop

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]
MAPPING = """
version: 2
source: plant
time: {path: at, format: unix_s}
twins:
  - {twin: "{meter}", values: {temperature: c}}
"""
CONTRACT = """
contract: meters
version: "1.0"
thing: meter
time: {path: at, format: unix_s}
fields:
  meter: {type: string, required: true}
  c: {type: number, unit: degC, unit_at: unit, min: -40, max: 90, required: true}
others: refuse
late_s: 50
policy: POLICY
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto.durable(tmp_path) as running:
        yield running


def contract(policy: str = "{default: accept}", version: str = "1.0", more: str = "") -> str:
    return CONTRACT.replace("POLICY", policy).replace('"1.0"', f'"{version}"') + more


async def describe(shop: Workshop, broker: Mosquitto, promised: str, *, start: bool = True) -> None:
    text = (
        f"name: s\nkind: mqtt\nconnection: {{host: 127.0.0.1, port: {broker.port}, topics: ['plant/#']}}\n"
        "limits: {events: 20}\nbackoff: {first_s: 0.05, max_s: 0.2}\nmapping: m.yaml\ncontract: c.yaml"
    )
    await shop.describe(text, MAPPING, promised, start=start)


def sample(number: int, **changes: Any) -> bytes:
    good = {"meter": "t0", "at": 1_767_571_200 + number, "c": float(number % 80), "unit": "degC"} | changes
    return json.dumps({key: value for key, value in good.items() if value is not ...}).encode()


async def send(broker: Mosquitto, *payloads: bytes) -> None:
    def work() -> None:
        with Client(broker.port) as client:
            client.send([("plant/x", payload) for payload in payloads])

    await asyncio.to_thread(work)


async def drift_of(shop: Workshop) -> list[Drift]:
    async with shop.parts.db.read(shop.parts.tenant) as tx:
        return await list_drift(tx, "s")


async def counts(shop: Workshop) -> dict[tuple[str, str | None], int]:
    return {(each.finding, each.field): each.count for each in await drift_of(shop)}


async def opened(shop: Workshop) -> None:
    await shop.until(lambda row: row.counts["batches"] > 0)


WRONG: list[dict[str, Any]] = [
    {"c": ...}, {"c": "7"}, {"c": 95.0}, {"unit": "degF"}, {"fw": "1.2"}, {"at": "now"}, {"at": 1_767_571_000},
]  # fmt: skip
FOUND = {
    ("missing", "c"): 1, ("retyped", "c"): 1, ("range", "c"): 1, ("unit", "c"): 1, ("new", "fw"): 1,
    ("time", None): 1, ("late", None): 1,
}  # fmt: skip


def stream() -> list[bytes]:
    """Return forty samples, of which every fifth drifts in its own way."""
    wrong = iter(WRONG)
    return [sample(n, **(next(wrong, {}) if n % 5 == 4 else {})) for n in range(40)]


def test_what_drifts_is_seen_and_what_is_known_of_it_is_taken(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await describe(shop, broker, contract())
        async with shop.process():
            await opened(shop)
            await send(broker, *stream())
            row = await shop.until(lambda row: row.counts["events"] == 40)
        assert await counts(shop) == FOUND
        assert {each.policy for each in await drift_of(shop)} == {"accept"}
        # The missing one, the text and the one without a time have no value that can be taken.
        assert (row.counts["quarantined"], row.contract) == (3, "meters 1.0")
        unit = next(each for each in await drift_of(shop) if each.finding == "unit")
        assert (unit.example, unit.contract, unit.lasting) == ("degF", "meters 1.0", False)
        assert unit.first_seen == unit.last_seen

    play(scene)


def test_what_is_to_be_quarantined_waits_by_rule_and_the_rest_lands(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await describe(shop, broker, contract("{default: quarantine}"))
        async with shop.process():
            await opened(shop)
            await send(broker, *stream())
            row = await shop.until(lambda row: row.counts["events"] == 40)
        assert (row.counts["quarantined"], row.counts["accepted"]) == (7, 33)
        assert await counts(shop) == FOUND
        rows = await shop.query(
            "SELECT code, place, message FROM quarantine WHERE tenant = current_tenant() ORDER BY quarantine_no"
        )
        assert [row[0] for row in rows] == [
            "DriftMissing", "DriftRetyped", "DriftRange", "DriftUnit", "DriftNew", "DriftTime", "DriftLate",
        ]  # fmt: skip
        assert [row[1] for row in rows[:4]] == ["/data/c"] * 4
        assert rows[3][2] == "c is of another unit: degF (contract meters 1.0)"
        assert len(await shop.values()) == 33

    play(scene)


def test_a_source_that_is_to_stop_stops_before_it_and_goes_on_behind_it_once_mended(
    play: Play, broker: Mosquitto
) -> None:
    async def scene(shop: Workshop) -> None:
        await describe(shop, broker, contract("{unit: stop}"))
        payloads = [sample(n, **({"unit": "degF"} if n == 130 else {})) for n in range(200)]
        async with shop.process():
            await opened(shop)
            await send(broker, *payloads)
            row = await shop.until(lambda row: row.state == "failed")
            assert (row.error_code, row.wanted) == ("DriftUnit", "started")
            assert "c is of another unit: degF" in (row.error or "")
            assert row.counts["events"] <= 130
            kept = row.counts["events"]
            # Started again as it is, it stops at the same place.
            await shop.want("started")
            await shop.until(lambda row: row.state == "starting")
            row = await shop.until(lambda row: row.state == "failed")
            assert row.counts["events"] in range(kept, 131)
            await describe(shop, broker, contract("{unit: accept}", "1.1"))
            row = await shop.until(lambda row: row.counts["events"] == 200)
        assert (row.state, row.error) == ("stopped", None) or row.error is None
        assert (row.counts["accepted"], row.counts["duplicate"]) == (200, 0)
        assert await shop.values() == [float(n % 80) for n in range(200)]
        (seen,) = await drift_of(shop)
        # Twice it was stopped by it, and then it took it.
        assert (seen.finding, seen.count, seen.policy, seen.contract) == ("unit", 3, "accept", "meters 1.1")

    play(scene)


def test_a_thing_that_falls_silent_is_noticed_and_so_is_its_return(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await describe(shop, broker, contract(more="silent_s: 1\n"))
        async with shop.process():
            await opened(shop)
            await send(broker, sample(0), sample(0, meter="other"))
            await until(shop, lambda seen: {each.thing for each in seen if each.lasting} == {"t0", "other"})
            await send(broker, sample(1))
            await until(shop, lambda seen: [each.thing for each in seen if each.lasting] == ["other"])
        # While nobody read it, it was silent as well; that counts from when somebody listens again.
        async with shop.process():
            await until(shop, lambda seen: all(each.lasting for each in seen if each.thing == "t0"))
        found = {each.thing: each for each in await drift_of(shop)}
        assert found["t0"].count >= 2
        assert (found["other"].count, found["other"].field) == (1, None)
        assert found["t0"].example.startswith("nothing for ")

    play(scene)


def test_silence_can_stop_a_source(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await describe(shop, broker, contract("{silent: stop}", more="silent_s: 0.5\n"))
        async with shop.process():
            await opened(shop)
            await send(broker, sample(0))
            row = await shop.until(lambda row: row.state == "failed")
            assert row.error_code == "DriftSilent"
            assert "t0 is silent" in (row.error or "")
            assert row.counts["events"] == 1

    play(scene)


def test_a_contract_changes_by_its_versions_alone(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await describe(shop, broker, contract(), start=False)
        wider = contract().replace("max: 90", "max: 120")
        for version in ("1.0", "1.1", "0.9"):
            with pytest.raises(InvalidError, match="version") as refused:
                await describe(shop, broker, wider.replace('"1.0"', f'"{version}"'), start=False)
            assert refused.value.code == "ContractVersionTooLow"
        assert (await shop.row()).contract == "meters 1.0"
        await describe(shop, broker, wider.replace('"1.0"', '"2.0"'), start=False)
        narrower = contract(version="2.1")
        await describe(shop, broker, narrower, start=False)
        # What there was may come back as it was, and not as something else.
        await describe(shop, broker, contract(), start=False)
        with pytest.raises(InvalidError):
            await describe(shop, broker, contract().replace("late_s: 50", "late_s: 40"), start=False)
        assert (await shop.row()).contract == "meters 1.0"
        async with shop.parts.db.write(shop.parts.tenant) as tx:
            await remove_source(tx, "s")
        assert await shop.query("SELECT 1 FROM source_contract WHERE tenant = current_tenant()") == []
        await describe(shop, broker, wider, start=False)

    play(scene)


async def until(shop: Workshop, holds: Callable[[list[Drift]], bool]) -> None:
    for _ in range(500):
        seen = await drift_of(shop)
        if seen and holds(seen):
            return
        await asyncio.sleep(0.03)
    raise AssertionError(seen)

"""Contracts of every kind of source: files, events without a mapping, a real Kafka, a real OPC UA server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bench.broker import Broker
from gemel.base.clock import iso_us
from gemel.sources.drift import Drift, list_drift
from support.kafka import new_topic
from support.opcua import Plant
from support.sources import Workshop, message

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]
START_S = 1_767_571_200
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
"""
WRONG: list[tuple[str, str | None, dict[str, Any]]] = [
    ("missing", "c", {"c": ...}),
    ("retyped", "c", {"c": "7"}),
    ("range", "c", {"c": 95.0}),
    ("unit", "c", {"unit": "degF"}),
    ("new", "fw", {"fw": "1.2"}),
    ("time", None, {"at": "now"}),
    ("late", None, {"at": START_S - 1000}),
    ("rate", None, {"at": START_S + 5000}),
    ("ahead", None, {"at": 4_000_000_000}),
]


def sample(number: int, **changes: Any) -> bytes:
    good = {"meter": "t0", "at": START_S + number, "c": float(number % 80), "unit": "degC"} | changes
    return json.dumps({key: value for key, value in good.items() if value is not ...}).encode()


async def seen(shop: Workshop, name: str = "s") -> dict[tuple[str, str | None], Drift]:
    async with shop.parts.db.read(shop.parts.tenant) as tx:
        return {(each.finding, each.field): each for each in await list_drift(tx, name)}


async def until_seen(shop: Workshop, key: tuple[str, str | None], name: str = "s") -> Drift:
    for _ in range(600):
        found = (await seen(shop, name)).get(key)
        if found is not None:
            return found
        await asyncio.sleep(0.03)
    raise AssertionError((key, await seen(shop, name), await shop.row(name)))


async def waiting(shop: Workshop) -> list[tuple[str, str | None]]:
    return [
        (row[0], row[1])
        for row in await shop.query(
            "SELECT code, place FROM quarantine WHERE tenant = current_tenant() ORDER BY quarantine_no"
        )
    ]


@pytest.mark.parametrize("policy", ["accept", "quarantine", "stop"])
def test_each_way_to_drift_by_each_policy_on_a_real_kafka(play: Play, broker: Broker, policy: str) -> None:
    """One topic for each way: what is seen, what waits or lands, and whether the source goes on."""

    async def one(shop: Workshop, kind: str, field: str | None, changes: dict[str, Any]) -> None:
        topic = new_topic(broker)
        text = (
            f"name: {kind}\nkind: kafka\nconnection: {{servers: '{broker.servers}', topics: [{topic}]}}\n"
            "limits: {events: 5}\nbackoff: {first_s: 0.05, max_s: 0.2}\nmapping: m.yaml\ncontract: c.yaml"
        )
        promised = f"{CONTRACT}every: {{max_s: 600}}\nlate_s: 50\nahead_s: 60\npolicy: {{{kind}: {policy}}}\n"
        payloads = [sample(n) for n in range(12)]
        payloads[7] = sample(7, **changes)
        broker.send(topic, payloads)
        await shop.describe(text, MAPPING, promised)
        if policy == "stop":
            row = await shop.until(lambda row: row.state == "failed", kind)
            assert (row.error_code, row.counts["events"] <= 7) == (f"Drift{kind.title()}", True)
        else:
            row = await shop.until(lambda row: row.counts["events"] == 12, kind)
        drift = await until_seen(shop, (kind, field), kind)
        assert (drift.policy, drift.count) == (policy, 1)
        if policy == "quarantine":
            place = None if field is None else f"/data/{field}"
            code, at = (await waiting(shop))[-1]
            assert (code, at in (place, None)) == (f"Drift{kind.title()}", True)
            assert row.counts["quarantined"] == 1

    async def scene(shop: Workshop) -> None:
        async with shop.process():
            for kind, field, changes in WRONG:
                await one(shop, kind, field, changes)

    play(scene)


def test_events_of_a_real_kafka_that_have_no_mapping_have_a_contract(play: Play, broker: Broker) -> None:
    promised = """
contract: events
version: "1.0"
thing: subject
time: {path: time}
fields:
  subject: {type: string, required: true}
  data.temperature: {type: number, min: 0, max: 50}
others: refuse
policy: {default: quarantine, late: accept}
"""

    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker)
        broker.send(topic, [message(n) for n in range(60)] + [b"no event"])
        await shop.describe(
            f"name: s\nkind: kafka\nconnection: {{servers: '{broker.servers}', topics: [{topic}]}}\n"
            "contract: c.yaml",
            None,
            promised,
        )
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 61)
        assert (row.counts["accepted"], row.counts["quarantined"]) == (51, 10)
        found = await seen(shop)
        assert {key: each.count for key, each in found.items()} == {
            ("range", "data.temperature"): 9,
            ("malformed", None): 1,
        }
        codes = await waiting(shop)
        assert codes == [("DriftRange", "/data/temperature")] * 9 + [("EventMalformed", None)]

    play(scene)


@pytest.mark.parametrize("policy", ["accept", "quarantine", "stop"])
def test_a_new_field_of_events_of_a_real_kafka_by_each_policy(
    play: Play, broker: Broker, policy: str
) -> None:
    """Neither the contract nor the model knows it, and the contract allows fields that it does not name."""
    promised = f"""
contract: events
version: "1.0"
fields:
  data.temperature: {{type: number}}
policy: {{new: {policy}}}
"""

    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker)
        sent = [message(n) for n in range(20)]
        odd = json.loads(sent[7])
        odd["data"]["torque"] = 7.5
        sent[7] = json.dumps(odd).encode()
        broker.send(topic, sent)
        await shop.describe(
            f"name: s\nkind: kafka\nconnection: {{servers: '{broker.servers}', topics: [{topic}]}}\n"
            "limits: {events: 5}\ncontract: c.yaml",
            None,
            promised,
        )
        async with shop.process():
            if policy == "stop":
                row = await shop.until(lambda row: row.state == "failed")
                assert row.error_code == "DriftNew"
            else:
                row = await shop.until(lambda row: row.counts["events"] == 20)
                assert (row.counts["accepted"], row.counts["quarantined"]) == (
                    (20, 0) if policy == "accept" else (19, 1)
                )
            told = await until_seen(shop, ("new", "data.torque"))
            assert (told.count, told.policy, told.example) == (1, policy, "7.5")
        assert await waiting(shop) == ([("DriftNew", None)] if policy == "quarantine" else [])

    play(scene)


@pytest.mark.parametrize("policy", ["accept", "quarantine", "stop"])
def test_a_real_opcua_server_under_a_contract(play: Play, policy: str) -> None:
    """A range, a clock that is wrong and a variable that falls silent, by each policy."""
    mapping = """
version: 2
source: plant
time: {path: time, format: iso}
twins:
  - {twin: '{thing}', quality: quality, values: {temperature: values.Temperature}}
"""
    promised = f"""
contract: plant
version: "1.0"
thing: thing
time: {{path: time}}
fields:
  thing: {{type: string, required: true}}
  values.Temperature: {{type: number, max: 90}}
policy: {{range: {policy}}}
"""

    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 0.0)
        async with plant.running():
            text = (
                f"name: s\nkind: opcua\nconnection: {{url: '{plant.url}', nodes: [Plant/t0/Temperature], "
                "publishing_ms: 20, sampling_ms: 0, timeout_s: 2}\nbackoff: {first_s: 0.05, max_s: 0.2}\n"
                "mapping: m.yaml\ncontract: c.yaml"
            )
            silence = "" if policy == "stop" else "silent_s: 1\n"
            await shop.describe(text, mapping, promised + silence)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] >= 1)
                await plant.put("t0", "Temperature", 1, 1.0)
                await plant.put("t0", "Temperature", 2, 95.0)
                drift = await until_seen(shop, ("range", "values.Temperature"))
                assert (drift.policy, drift.example) == (policy, "95.0")
                if policy == "stop":
                    row = await shop.until(lambda row: row.state == "failed")
                    assert row.error_code == "DriftRange"
                    return
                silent = await until_seen(shop, ("silent", None))
                assert (silent.thing, silent.lasting) == ("t0", True)
                row = await shop.row()
        assert row.counts["quarantined"] == (policy == "quarantine")

    play(scene)


CSV = "meter,at,c,unit\n"
FOLDER_MAPPING = """
version: 1
source: plant
format: {type: csv}
time: {column: at, format: unix_s}
twins:
  - {twin: "{meter}", values: {temperature: {column: c}}}
"""


@pytest.mark.parametrize("policy", ["accept", "quarantine", "stop"])
def test_rows_of_files_are_looked_at_before_they_are_mapped(play: Play, tmp_path: Path, policy: str) -> None:
    rows = [f"t0,{START_S + n},{n},degC" for n in range(8)]
    rows[3], rows[5] = f"t0,{START_S + 3},95,degC", f"t0,{START_S + 5},5,degF"
    promised = CONTRACT + f"policy: {{default: {policy}}}\n"

    async def scene(shop: Workshop) -> None:
        (tmp_path / "day.csv").write_text(CSV + "\n".join(rows) + "\n")
        shop.allow = str(tmp_path)
        await shop.describe(
            f"name: s\nkind: folder\nconnection: {{folder: {tmp_path}, settle_s: 0.05}}\nmapping: m.yaml\n"
            "contract: c.yaml",
            FOLDER_MAPPING,
            promised,
        )
        async with shop.process():
            if policy == "stop":
                row = await shop.until(lambda row: row.state == "failed")
                assert (row.error_code, row.counts["events"]) == ("DriftRange", 0)
                assert (await seen(shop))["range", "c"].count == 1
                return
            row = await shop.until(lambda row: row.counts["events"] == 8)
        assert {key: each.count for key, each in (await seen(shop)).items()} == {
            ("range", "c"): 1,
            ("unit", "c"): 1,
        }
        if policy == "quarantine":
            assert await waiting(shop) == [("DriftRange", None), ("DriftUnit", None)]
            (text, _) = await shop.query(
                "SELECT message FROM quarantine WHERE tenant = current_tenant() ORDER BY quarantine_no"
            )
            assert text[0] == "row 4: c is out of range: 95.0 (contract meters 1.0)"
        assert row.counts["accepted"] == (6 if policy == "quarantine" else 8)

    play(scene)


def test_how_much_a_whole_source_brings_is_judged_by_its_own_time(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker)
        # Ten a second in the first minute, one in the next, ten again.
        times = [*range(600), *range(600, 1200, 10), *range(1200, 2400)]
        broker.send(topic, [sample(0, at=START_S + each / 10, meter=f"t{each % 2}") for each in times])
        promised = CONTRACT + "flow: {min_per_s: 5, max_per_s: 20, over_s: 60}\n"
        await shop.describe(
            f"name: s\nkind: kafka\nconnection: {{servers: '{broker.servers}', topics: [{topic}]}}\n"
            "mapping: m.yaml\ncontract: c.yaml",
            MAPPING,
            promised,
        )
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == len(times))
        drift = await seen(shop)
        flow = drift["flow", None]
        assert (flow.count, flow.example) == (1, f"1 samples/s from {iso_us((START_S + 60) * 1_000_000)}")
        assert set(drift) == {("flow", None)}

    play(scene)

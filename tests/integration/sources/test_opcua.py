"""An OPC UA server that is read: what comes, what is missed and read from history, and when it is acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from support.history import SAMPLES
from support.opcua import Plant, at, told_of_overflow
from support.sources import Workshop
from support.tcp_proxy import TcpProxy

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]
MAPPING = """
version: 2
source: plant
time: {path: time, format: iso}
twins:
  - twin: '{thing}'
    quality: quality
    values:
      temperature: values.Temperature
      count: values.Count
      label: values.Label
      'on': values.On
      place: values.Place
"""
VALUES = f"""
SELECT s.source_time, coalesce(to_jsonb(s.num), s.doc), s.quality FROM {SAMPLES} AS s
JOIN twin t ON t.tenant = s.tenant AND t.twin_no = s.series >> 20
JOIN path p ON p.tenant = s.tenant AND p.path_no = s.series & 1048575
WHERE s.tenant = current_tenant() AND t.twin_id = %s AND p.path = %s ORDER BY s.source_time"""


def definition(url: str, nodes: str = "[Plant/*/*]", more: str = "", events: int = 5000) -> str:
    return (
        f"name: s\nkind: opcua\nconnection: {{url: '{url}', nodes: {nodes}, publishing_ms: 20, sampling_ms: 0, "
        f"timeout_s: 2{more}}}\nmapping: m.yaml\nlimits: {{events: {events}}}\n"
        "backoff: {first_s: 0.05, max_s: 0.2}"
    )


async def samples(shop: Workshop, twin: str, path: str) -> list[tuple[datetime, Any, str]]:
    rows = await shop.parts.db.query(shop.parts.tenant, VALUES, (twin, path))
    return [(row[0], row[1], ("good", "uncertain", "bad")[row[2]]) for row in rows]


async def until_equal(shop: Workshop, plant: Plant, twin: str = "t0", name: str = "Temperature") -> None:
    """Wait until the twin has what the plant's variable ever was, and nothing else."""
    wanted = plant.values(twin, name)
    deadline_s = asyncio.get_running_loop().time() + 20
    while (found := await samples(shop, twin, name.lower())) != wanted:
        if asyncio.get_running_loop().time() > deadline_s:
            missing = [each for each in wanted if each not in found][:5]
            more = [each for each in found if each not in wanted][:5]
            row = await shop.row()
            raise AssertionError(f"missing {missing}, too much {more}, {row.state} {row.error} {row.counts}")
        await asyncio.sleep(0.05)


async def write(plant: Plant, first: int, end: int, pause_s: float = 0.002, thing: str = "t0") -> None:
    for number in range(first, end):
        await plant.put(thing, "Temperature", number, float(number))
        await asyncio.sleep(pause_s)


def test_changes_come_with_their_times_qualities_and_types(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 0.0)
        await plant.put("t1", "Label", 0, "new")
        await plant.put("t1", "On", 0, True)
        await plant.put("t1", "Count", 0, 7)
        async with plant.running():
            await shop.describe(definition(plant.url), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] >= 4)
                await plant.put("t0", "Temperature", 1, 1.5, 0x40900000)
                # A bad status leaves no value on its way.
                await plant.put("t0", "Temperature", 2, 1.5, 0x80050000)
                await plant.put("t0", "Temperature", 3, 3.5)
                await until_equal(shop, plant)
                await until_equal(shop, plant, "t1", "Label")
                await until_equal(shop, plant, "t1", "On")
                row = await shop.row()
        assert await samples(shop, "t1", "count") == [(at(0), 7, "good")]
        assert (row.state, row.error, row.counts["quarantined"]) == ("running", None, 0)

    play(scene)


def test_a_restart_of_the_server_loses_nothing_that_it_wrote_down(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 0.0)
        await plant.put("t1", "Temperature", 0, 0.0)
        await plant.start()
        try:
            await shop.describe(definition(plant.url, events=7), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 1)
                for round_ in range(1, 4):
                    first = 100 * round_
                    await write(plant, first, first + 40)
                    await plant.stop()
                    await write(plant, first + 40, first + 80, 0)
                    await write(plant, first + 40, first + 60, 0, "t1")
                    await shop.until(lambda row: row.state == "waiting")
                    await plant.start()
                await write(plant, 400, 420)
                await until_equal(shop, plant)
                await until_equal(shop, plant, "t1")
                row = await shop.until(lambda row: row.state == "running")
            assert (row.counts["quarantined"], row.error) == (0, None)
        finally:
            await plant.stop()

    play(scene)


def test_a_source_that_stood_still_reads_what_was_meanwhile(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        plant = Plant()
        plant.history.max_history_data_response_size = 30
        await plant.put("t0", "Temperature", 0, 0.0)
        async with plant.running():
            await shop.describe(definition(plant.url, events=50), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 0)
                await write(plant, 1, 20)
                await until_equal(shop, plant)
            await write(plant, 20, 220, 0)
            async with shop.process():
                await write(plant, 220, 240)
                await until_equal(shop, plant)
                row = await shop.row()
        # What was known is not read again, but for what came in the last second before the end.
        assert row.counts["duplicate"] < 30

    play(scene)


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_breaks_at_random_moments(play: Play, seed: int) -> None:
    rng = random.Random(seed)
    print("seed", seed)

    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 0.0)
        with TcpProxy(plant.port) as network:
            url = f"opc.tcp://127.0.0.1:{network.port}/plant"
            async with plant.running():
                await shop.describe(definition(url, events=rng.choice([3, 50, 5000])), MAPPING)
                async with shop.process():
                    await shop.until(lambda row: row.counts["events"] > 0)
                    number = 1
                    for _ in range(6):
                        some = rng.randrange(5, 60)
                        await write(plant, number, number + some, rng.choice([0, 0.001, 0.005]))
                        number += some
                        network.cut()
                        await asyncio.sleep(rng.choice([0, 0.02, 0.3]))
                    await write(plant, number, number + 10)
                    await until_equal(shop, plant)
        assert network.connections > 1

    play(scene)


def test_a_half_open_connection_is_found_out(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.connectors.opcua_link.WATCH_S", 0.3)

    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 0.0)
        with TcpProxy(plant.port) as network:
            url = f"opc.tcp://127.0.0.1:{network.port}/plant"
            async with plant.running():
                await shop.describe(definition(url).replace("timeout_s: 2", "timeout_s: 0.5"), MAPPING)
                async with shop.process():
                    await shop.until(lambda row: row.counts["events"] > 0)
                    await write(plant, 1, 10)
                    await until_equal(shop, plant)
                    network.hush()
                    await write(plant, 10, 50)
                    row = await shop.until(lambda row: row.state == "waiting")
                    assert row.error_code == "SourceUnavailable"
                    network.heal()
                    await write(plant, 50, 60)
                    await until_equal(shop, plant)

    play(scene)


def test_a_queue_that_overflowed_is_read_from_history(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "asyncua.server.internal_subscription.InternalSubscription._enqueue_event", told_of_overflow
    )

    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 0.0)
        async with plant.running():
            slow = definition(plant.url, more=", queue: 3").replace("publishing_ms: 20", "publishing_ms: 200")
            await shop.describe(slow, MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 0)
                await write(plant, 1, 300)
                await until_equal(shop, plant)
                row = await shop.row()
        assert (row.error, row.counts["corrected"]) == (None, 0)

    play(scene)


def test_without_history_what_is_missed_is_told(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        plant = Plant(historized=False)
        await plant.put("t0", "Temperature", 0, 0.0)
        async with plant.running():
            await shop.describe(definition(plant.url), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 0)
                await write(plant, 1, 5)
                await until_equal(shop, plant)
            await write(plant, 5, 9)
            async with shop.process():
                row = await shop.until(lambda row: row.error is not None)
                await shop.until(lambda row: row.counts["events"] >= 6)
        assert row.error_code == "SourcePartRefused"
        assert "Plant/t0/Temperature may be missing" in str(row.error)

    play(scene)


def test_the_first_start_reads_history_from_where_it_is_asked_to(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await write(plant, 0, 100, 0)
        async with plant.running():
            since = at(30).isoformat()
            await shop.describe(definition(plant.url, more=f", history: '{since}'", events=20), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] >= 70)
                await asyncio.sleep(0.3)
        found = await samples(shop, "t0", "temperature")
        assert found == plant.values("t0", "Temperature")[30:]

    play(scene)


def test_nothing_is_acknowledged_before_it_is_committed(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 0.0)

        def kept() -> int:
            assert plant.server is not None
            subscriptions = plant.server.iserver.subscription_service.subscriptions.values()
            return sum(len(s._not_acknowledged_results) for s in subscriptions if s.pub_request_callback)

        async with plant.running():
            await shop.describe(definition(plant.url, events=5), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 0)
                async with asyncio.timeout(20), shop.parts.db.write(shop.parts.tenant):
                    # Nothing commits while this transaction has the tenant.
                    await write(plant, 1, 100)
                    while not kept():  # noqa: ASYNC110 - the plant is plain
                        await asyncio.sleep(0.05)
                    await asyncio.sleep(0.3)
                    assert kept() > 0
                    assert (await shop.row()).counts["events"] < 20
                await until_equal(shop, plant)
                await plant.put("t0", "Temperature", 100, 100.0)
                deadline_s = asyncio.get_running_loop().time() + 10
                while kept() > 1:
                    assert asyncio.get_running_loop().time() < deadline_s
                    await asyncio.sleep(0.05)

    play(scene)


def test_a_bad_value_without_one_stands_for_the_value_before(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 20.0)
        async with plant.running():
            await shop.describe(definition(plant.url), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 0)
                await plant.put("t0", "Temperature", 1, None, 0x808A0000)
                await shop.until(lambda row: row.counts["accepted"] == 2)
        assert await samples(shop, "t0", "temperature") == [(at(0), 20.0, "good"), (at(1), 20.0, "bad")]

    play(scene)

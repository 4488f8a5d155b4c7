"""Notifications to a real Mosquitto: each a message, in order, all of them though the broker goes and comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support.mosquitto import Client, Mosquitto
from support.parts import TenantParts
from support.postgres import Dsns
from support.routing import add_route, delivering, hurry, set_values, status, until, with_parts


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch, database: Dsns) -> Iterator[None]:
    hurry(monkeypatch)
    yield
    with psycopg.connect(database.owner) as owner:
        owner.execute("DELETE FROM event_route")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto.durable(tmp_path) as running:
        yield running


def told(client: Client) -> list[float]:
    """Return the values of the notifications that came, each once, in the order in which they first came."""
    found: dict[str, float] = {}
    for message in list(client.came):
        event = json.loads(message.payload)
        for op in event["data"]["patch"]:
            found.setdefault(event["id"], op["value"])
    return list(found.values())


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_each_notification_is_a_message(database: Dsns, broker: Mosquitto, version: str) -> None:
    async def body(parts: TenantParts) -> None:
        url = f"mqtt://127.0.0.1:{broker.port}/plant/{{twin}}/{{type}}"
        with Client(broker.port) as client:
            await asyncio.to_thread(client.subscribe, "plant/t0/#")
            async with delivering(database, parts):
                await add_route(parts, "all", url, kind="mqtt", version=version)
                await set_values(parts, [float(n) for n in range(250)])
                await until(lambda: len(client.came) >= 250)
            assert told(client) == [float(n) for n in range(250)]
            assert {message.topic for message in client.came} == {
                "plant/t0/Microsoft.DigitalTwins.Twin.Update"
            }
            assert {message.qos for message in client.came} == {1}

    with_parts(database, body)


def test_a_broker_that_is_away_is_waited_for(database: Dsns, broker: Mosquitto) -> None:
    async def body(parts: TenantParts) -> None:
        url = f"mqtt://127.0.0.1:{broker.port}"
        with Client(broker.port, "keeps") as client:
            await asyncio.to_thread(client.subscribe, "gemel/#")
            async with delivering(database, parts):
                await add_route(parts, "all", url, kind="mqtt")
                await set_values(parts, [1.0, 2.0])
                await until(lambda: told(client) == [1.0, 2.0])
                broker.stop()
                await set_values(parts, [3.0], first=2)
                await until(lambda: _failed(parts))
                broker.start()
                await until(lambda: 3.0 in told(client))
            assert told(client) == [1.0, 2.0, 3.0]

    async def _failed(parts: TenantParts) -> bool:
        return (await status(parts, "all")).failures > 0

    with_parts(database, body)

"""Notifications to a real Mosquitto: each a message, in order, all of them though the broker goes and comes."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gemel.routing import mqtt
from gemel.routing.endpoints import endpoint_of, put_endpoint
from gemel.routing.letters import DeadLetter, LetterChoice, list_letters
from gemel.security.certificate import ensure_certificate, own_files
from support.mosquitto import Client, Mosquitto
from support.parts import TenantParts, event
from support.postgres import Dsns
from support.routing import SEALER, add_route, delivering, hurry, set_values, status, until, with_parts


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

    with_parts(database, body)


def test_a_connection_serves_many_batches_until_it_is_idle(
    database: Dsns, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "IDLE_S", 3600.0)

    async def body(parts: TenantParts) -> None:
        with Client(broker.port) as client:
            await asyncio.to_thread(client.subscribe, "gemel/#")
            async with delivering(database, parts):
                await add_route(parts, "all", f"mqtt://127.0.0.1:{broker.port}", kind="mqtt")
                for number in range(5):
                    await set_values(parts, [float(number)], first=number)
                    await until(partial(came, client, number + 1))
                assert connections(broker) == 1
                # From the next batch on it is let go at once.
                monkeypatch.setattr(mqtt, "IDLE_S", 0.01)
                await set_values(parts, [5.0], first=5)
                await until(lambda: log_of(broker).count("Client gemel-route-") == 1)
                await set_values(parts, [6.0], first=6)
                await until(lambda: len(told(client)) == 7)
                assert connections(broker) == 2
            assert told(client) == [float(n) for n in range(7)]

    with_parts(database, body)


@pytest.mark.parametrize("limit", ["message_size_limit 1500", "max_packet_size 1500"])
def test_what_a_broker_declines_is_put_aside(database: Dsns, tmp_path: Path, limit: str) -> None:
    async def body(parts: TenantParts) -> None:
        with Client(limited.port) as client:
            await asyncio.to_thread(client.subscribe, "gemel/#")
            async with delivering(database, parts):
                url = f"mqtt://127.0.0.1:{limited.port}"
                await add_route(parts, "all", url, kind="mqtt", deadLetterAfter=3)
                await set_values(parts, [0.0])
                await parts.send([event(900, "t0", "2026-01-05T01:00:00Z", label="x" * 2000)])
                await set_values(parts, [1.0], first=1)
                await until(lambda: len(told(client)) == 2)
                await until(lambda: _letters(parts))
                assert connections(limited) == 1
        assert told(client) == [0.0, 1.0]
        (letter,) = await _letters(parts)
        assert letter.tries >= 3
        assert "packet was too large" in letter.error

    with Mosquitto(tmp_path, limit) as limited:
        with_parts(database, body)


@pytest.mark.parametrize("varies", [True, False])
def test_what_may_not_be_published_holds_up_its_own_topic_alone(
    database: Dsns, tmp_path: Path, varies: bool
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\n" + ("topic write plant/t0/#\n" if varies else ""))
    acl.chmod(0o600)

    async def body(parts: TenantParts) -> None:
        with Client(limited.port) as client:
            await asyncio.to_thread(client.subscribe, "plant/#")
            async with delivering(database, parts):
                url = f"mqtt://127.0.0.1:{limited.port}/plant" + ("/{twin}/{type}" if varies else "")
                await add_route(parts, "all", url, kind="mqtt", deadLetterAfter=3)
                for number, twin in enumerate(["t1", "t0"]):
                    await parts.send([event(number, twin, "2026-01-05T01:00:00Z", temperature=1.0)])
                if varies:
                    await until(lambda: client.came)
                    await until(lambda: _letters(parts))
                else:
                    await until(lambda: _tried(parts, 5))
        assert {message.topic.split("/")[1] for message in client.came} == ({"t0"} if varies else set())
        letters = await _letters(parts)
        assert len(letters) == varies
        assert all(letter.tries >= 3 and "not allowed" in letter.error for letter in letters)

    with Mosquitto(tmp_path, f"acl_file {acl}") as limited:
        with_parts(database, body)


def test_password_and_certificate_are_asked_for(database: Dsns, tmp_path: Path) -> None:
    ensure_certificate(tmp_path, "127.0.0.1")
    files = own_files(tmp_path)
    password = "pa55-for-tests"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "users"), "gemel", password], check=True)
    (tmp_path / "users").chmod(0o600)
    trusting = ssl.create_default_context(cafile=str(files.certificate))
    given: dict[str, Any] = {"kind": "mqtt", "username": "gemel"}

    async def body(parts: TenantParts) -> None:
        url = f"mqtts://127.0.0.1:{limited.port}"
        login: dict[str, Any] = {"username": "gemel", "password": password, "ca": str(files.certificate)}
        await add_route(parts, "all", url, **given, password="another")
        await set_values(parts, [1.0])
        async with delivering(database, parts):
            await until(lambda: _failed(parts))
            assert "certificate" in str((await status(parts, "all")).error)
        with Client(limited.port, **login) as client:
            await asyncio.to_thread(client.subscribe, "gemel/#")
            async with delivering(database, parts, tls=trusting):
                await until(lambda: _said(parts, "not"))
                assert password not in str((await status(parts, "all")).error)
                async with parts.db.write(parts.tenant) as tx:
                    await put_endpoint(
                        tx, SEALER, "all", endpoint_of({"url": url, **given, "password": password})
                    )
                await until(lambda: told(client) == [1.0])

    secured = f"certfile {files.certificate}", f"keyfile {files.key}", f"password_file {tmp_path}/users"
    with Mosquitto(tmp_path, "allow_anonymous false", *secured) as limited:
        with_parts(database, body)


def came(client: Client, count: int) -> bool:
    return len(told(client)) >= count


def log_of(broker: Mosquitto) -> str:
    return (broker.folder / "mosquitto.log").read_text()


def connections(broker: Mosquitto) -> int:
    """Return how many connections of routes there have been."""
    return sum(
        "New client connected" in line and "gemel-route-" in line for line in log_of(broker).splitlines()
    )


async def _failed(parts: TenantParts) -> bool:
    return (await status(parts, "all")).failures > 0


async def _tried(parts: TenantParts, times: int) -> bool:
    return (await status(parts, "all")).failures >= times


async def _said(parts: TenantParts, text: str) -> bool:
    error = str((await status(parts, "all")).error)
    return "certificate" not in error and text in error


async def _letters(parts: TenantParts) -> list[DeadLetter]:
    async with parts.db.read(parts.tenant) as tx:
        return await list_letters(tx, LetterChoice(route="all"), 0, 10)

"""Notifications to a topic of a real broker: all of them, each twin's in order, acknowledged before they count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from bench.broker import Broker
from gemel.base.errors import InvalidError
from gemel.routing import sending
from gemel.routing.endpoints import endpoint_of
from support.kafka import new_topic
from support.parts import TenantParts, event, open_parts
from support.postgres import Dsns
from support.routing import add_route, delivering, hurry, status, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch, database: Dsns) -> Iterator[None]:
    hurry(monkeypatch)
    monkeypatch.setattr(sending, "TIMEOUT_S", 5.0)
    yield
    with psycopg.connect(database.owner) as owner:
        owner.execute("DELETE FROM event_route")


def with_parts(database: Dsns, body: Callable[[TenantParts], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await body(parts)

    asyncio.run(main())


async def set_values(parts: TenantParts, values: range) -> None:
    for value in values:
        time = f"2026-01-05T00:{value // 60:02}:{value % 60:02}Z"
        await parts.send([event(value, f"t{value % 3}", time, temperature=float(value))])


def test_a_twins_notifications_are_in_one_partition_in_order(database: Dsns, broker: Broker) -> None:
    async def body(parts: TenantParts) -> None:
        topic = new_topic(broker, 4)
        async with delivering(database, parts):
            await add_route(parts, "all", f"kafka://{broker.servers}/{topic}", kind="kafka")
            await set_values(parts, range(60))
            await until(lambda: _delivered(parts, 60))
        messages = await asyncio.to_thread(broker.read, topic, 60)
        assert len(messages) == 60
        values: dict[str, list[float]] = {}
        parts_of: dict[str, set[int]] = {}
        for message in messages:
            told = json.loads(message.value())
            twin = message.key().decode()
            assert told["subject"] == twin
            assert dict(message.headers())["content-type"].startswith(b"application/cloudevents+json")
            values.setdefault(twin, []).append(told["data"]["patch"][0]["value"])
            parts_of.setdefault(twin, set()).add(message.partition())
        assert values == {f"t{n}": [float(v) for v in range(n, 60, 3)] for n in range(3)}
        assert [len(found) for found in parts_of.values()] == [1, 1, 1]
        assert len({json.loads(message.value())["id"] for message in messages}) == 60

    with_parts(database, body)


def test_what_a_killed_broker_did_not_acknowledge_is_sent_again(database: Dsns, tmp_path: Path) -> None:
    own = Broker(tmp_path)
    own.start()

    async def body(parts: TenantParts) -> None:
        topic = new_topic(own, 2)
        async with delivering(database, parts):
            await add_route(parts, "all", f"kafka://{own.servers}/{topic}", kind="kafka")
            await set_values(parts, range(10))
            await until(lambda: _delivered(parts, 10))
            own.kill()
            await set_values(parts, range(10, 20))
            await until(lambda: _failing(parts))
            await asyncio.to_thread(own.start)
            await until(lambda: _delivered(parts, 20))
        messages = await asyncio.to_thread(own.read, topic, 20)
        seen: dict[str, float] = {}
        for message in messages:
            told = json.loads(message.value())
            seen.setdefault(told["id"], told["data"]["patch"][0]["value"])
        # Whoever drops the ids that he has had has each once.
        assert sorted(seen.values()) == [float(n) for n in range(20)]

    try:
        with_parts(database, body)
    finally:
        own.stop()


def test_a_topic_that_is_not_there_is_told_of(database: Dsns, broker: Broker) -> None:
    async def body(parts: TenantParts) -> None:
        async with delivering(database, parts):
            await add_route(parts, "all", f"kafka://{broker.servers}/absent", kind="kafka")
            await set_values(parts, range(1))
            await until(lambda: _failing(parts))
            now = await status(parts, "all")
            assert now.state == "retrying"
            assert "Kafka" in str(now.error)

    with_parts(database, body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "kafka://k:9092"},
        {"url": "kafka://k:x/t"},
        {"url": "https://k/t"},
        {"url": "kafka://k/t", "headers": {"a": "b"}},
        {"url": "kafka://k/t", "settings": {"plugin.library.paths": "/x"}},
        {"url": "kafka://k/t", "settings": {"sasl.password": "hunter2"}},
        {"url": "kafka://k/t", "deadLetterAfter": -1},
    ],
)
def test_what_is_wrong_with_an_endpoint_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as caught:
        endpoint_of({"kind": "kafka", **wrong})
    assert "hunter2" not in str(caught.value)


async def _delivered(parts: TenantParts, count: int) -> bool:
    return (await status(parts, "all")).delivered >= count


async def _failing(parts: TenantParts) -> bool:
    return (await status(parts, "all")).failures > 0

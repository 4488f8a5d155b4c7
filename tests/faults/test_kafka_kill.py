"""kill -9 of the server in the middle of a stream from Kafka: each message is in the twins once."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from bench.broker import Broker
from bench.platform import Platform, running
from gemel.app.storage import open_storage
from gemel.base.settings import load_settings
from support.kafka import new_topic
from support.parts import MODEL, event

SEEDS = range(3)
PARTS = 3
TWINS = 20
EVENTS = 12_000
KILLS = 3
WAIT_S_MAX = 60.0


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running(environment={"GEMEL_OUTBOUND_ALLOW": "127.0.0.1"}) as platform:
        with platform.client() as client:
            client.post("/models", json=[MODEL]).raise_for_status()
        yield platform


@pytest.mark.parametrize("seed", SEEDS)
def test_each_message_is_taken_once_whenever_the_server_is_killed(
    platform: Platform, broker: Broker, seed: int
) -> None:
    """Counted are samples, what the audit trail and the change feed tell, and what the source itself counts."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    topic = new_topic(broker, PARTS)
    model: Counter[tuple[str, float]] = Counter()
    twins = [f"k{seed}-{number}" for number in range(TWINS)]
    with platform.client() as client:
        for twin in twins:
            client.put(
                f"/digitaltwins/{twin}", json={"$metadata": {"$model": MODEL["@id"]}}
            ).raise_for_status()
        put_source(client, f"k{seed}", broker, topic)
    writing = threading.Thread(target=write, args=(broker, topic, rng, twins, model))
    writing.start()
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.3, 1.2))
        platform.kill()
        platform.start()
    writing.join()
    counts = wait_for(platform, f"k{seed}")
    assert counts["events"] == EVENTS, f"seed {seed}: {counts}"
    assert counts["accepted"] + counts["late"] == EVENTS, f"seed {seed}: {counts}"
    assert Counter(stored(platform, f"k{seed}-")) == model, f"seed {seed}"
    assert audited(platform, f"source:k{seed}") == EVENTS, f"seed {seed}"
    with platform.client() as client:
        client.post(f"/v1/sources/k{seed}/stop").raise_for_status()


def write(
    broker: Broker, topic: str, rng: random.Random, twins: list[str], model: Counter[tuple[str, float]]
) -> None:
    """Write events whose times differ, to partitions at random, in bursts."""
    for first in range(0, EVENTS, 300):
        messages = []
        for number in range(first, first + 300):
            twin = rng.choice(twins)
            model[twin, float(number)] += 1
            second, micro = divmod(number * 997, 1_000_000)
            time_text = f"2026-03-02T00:{second // 60:02}:{second % 60:02}.{micro:06}Z"
            value = json.dumps(event(number, twin, time_text, temperature=float(number))).encode()
            messages.append({"value": value, "partition": rng.randrange(PARTS)})
        broker.send_all(topic, messages)


def put_source(client: httpx.Client, name: str, broker: Broker, topic: str) -> None:
    text = (
        f"name: {name}\nkind: kafka\nconnection: {{servers: '{broker.servers}', topics: [{topic}]}}\n"
        "limits: {events: 200}\nbackoff: {first_s: 0.05, max_s: 0.5}"
    )
    client.put(f"/v1/sources/{name}", json={"definition": text}).raise_for_status()
    client.post(f"/v1/sources/{name}/start").raise_for_status()


def wait_for(platform: Platform, name: str) -> dict[str, int]:
    deadline_s = time.monotonic() + WAIT_S_MAX
    counts: dict[str, int] = {}
    with platform.client() as client:
        while time.monotonic() < deadline_s:
            counts = client.get(f"/v1/sources/{name}").raise_for_status().json()["counts"]
            if counts["events"] >= EVENTS:
                break
            time.sleep(0.1)
    return counts


def stored(platform: Platform, prefix: str) -> list[tuple[str, float]]:
    return [
        (str(twin), float(value))
        for twin, value in rows(
            platform,
            "SELECT t.twin_id, s.num FROM sample s JOIN twin t ON t.tenant = s.tenant "
            "AND t.twin_no = s.series >> 20 WHERE starts_with(t.twin_id, %s)",
            prefix,
        )
    ]


def audited(platform: Platform, actor: str) -> int:
    """Return how many events the audit trail tells of."""
    targets = rows(platform, "SELECT target FROM audit WHERE actor = %s AND action = 'events.ingest'", actor)
    return sum(int(str(target).partition("(")[2].split()[0]) for (target,) in targets)


def rows(platform: Platform, sql: str, value: str) -> list[tuple[Any, ...]]:
    dsn = open_storage(load_settings({}, data_dir=platform.data_dir)).owner_dsn
    with psycopg.connect(dsn) as owner:
        return owner.execute(sql.encode(), (value,)).fetchall()

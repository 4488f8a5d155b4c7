"""kill -9 of the server and of the database under ingest: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest

from bench.platform import Platform, running
from gemel.app.storage import open_storage
from gemel.base.settings import load_settings

SEEDS = range(20)
SENDERS = 3
TWINS = 40
BATCH_EVENTS = 120
LOAD_S = 1.2
READY_S_MAX = 10.0
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:gemel:fault:Sensor;1",
    "@type": "Interface",
    "contents": [{"@type": "Property", "name": "temperature", "schema": "double"}],
}


@dataclass(slots=True)
class Load:
    """What the senders offered: batches by (tag, number), and which of them were acknowledged."""

    tag: str
    batches: list[list[dict[str, object]]] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_batch(self, rng: random.Random) -> tuple[int, bytes]:
        with self.lock:
            number = len(self.batches)
            batch = [self._event(number * BATCH_EVENTS + n, rng) for n in range(BATCH_EVENTS)]
            self.batches.append(batch)
        return number, encode(batch)

    def _event(self, number: int, rng: random.Random) -> dict[str, object]:
        second, micro = divmod(number * 997, 1_000_000)
        return {
            "specversion": "1.0",
            "id": f"{self.tag}-{number}",
            "source": "/fault",
            "type": "t",
            "subject": f"{self.tag}-{rng.randrange(TWINS)}",
            "time": f"2026-03-02T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{micro:06d}Z",
            "data": {"temperature": float(number)},
        }


def encode(batch: list[dict[str, object]]) -> bytes:
    return "\n".join(map(json.dumps, batch)).encode()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running() as platform:
        with platform.client() as client:
            client.post("/models", json=[MODEL]).raise_for_status()
        yield platform


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost_and_nothing_doubled(platform: Platform, seed: int) -> None:
    rng = random.Random(seed)
    load = Load(f"s{seed}")
    seeds = [random.Random(seed * 10 + number) for number in range(SENDERS)]
    senders = [threading.Thread(target=send, args=(platform, load, own)) for own in seeds]
    for sender in senders:
        sender.start()
    for blow in rng.sample([kill_server, kill_database], 2):
        time.sleep(rng.uniform(0.2, LOAD_S / 2))
        begun = time.monotonic()
        blow(platform)
        assert time.monotonic() - begun < READY_S_MAX, f"seed {seed}: not ready again in time"
    time.sleep(0.2)
    load.stop.set()
    for sender in senders:
        sender.join()
    compare(platform, load, seed)
    with platform.client() as client:  # what was not acknowledged is sent again, and so is all the rest
        for batch in load.batches:
            post(client, encode(batch)).raise_for_status()
    load.acknowledged = set(range(len(load.batches)))
    compare(platform, load, seed)


def send(platform: Platform, load: Load, rng: random.Random) -> None:
    """Send new batches until told to stop; one that fails stays unacknowledged and is not sent again here."""
    while not load.stop.is_set():
        with platform.client() as client:
            try:
                while not load.stop.is_set():
                    number, body = load.next_batch(rng)
                    answer = post(client, body)
                    if answer.status_code == 200:
                        assert answer.json()["quarantined"] == 0, answer.text
                        load.acknowledged.add(number)
                    else:
                        assert answer.status_code == 503, answer.text
                        assert int(answer.headers["retry-after"]) >= 1
                        time.sleep(0.1)
            except httpx.TransportError:
                time.sleep(0.05)


def post(client: httpx.Client, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/x-ndjson", "Gemel-Create-Model": str(MODEL["@id"])}
    return client.post("/v1/events", content=body, headers=headers)


def kill_server(platform: Platform) -> None:
    """Kill gemel, and start it again on the database that it left running."""
    platform.kill()
    platform.start()


def kill_database(platform: Platform) -> None:
    """Kill the postmaster, and wait until its supervisor has it running again."""
    os.kill(postmaster_pid(platform), signal.SIGKILL)
    wait_ready(platform)


def postmaster_pid(platform: Platform) -> int:
    return int((platform.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def wait_ready(platform: Platform) -> None:
    time.sleep(0.3)
    deadline = time.monotonic() + READY_S_MAX
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{platform.url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail("not ready again in time")


def compare(platform: Platform, load: Load, seed: int) -> None:
    """Hold what is stored against what was offered and acknowledged."""
    stored = history(platform, load.tag)
    offered = {key_of(event) for batch in load.batches for event in batch}
    promised = {key_of(event) for number in load.acknowledged for event in load.batches[number]}
    assert len(stored) == len(set(stored)), f"seed {seed}: a sample is stored twice"
    assert promised <= set(stored), f"seed {seed}: {len(promised - set(stored))} acknowledged values are lost"
    assert set(stored) <= offered, f"seed {seed}: values that nobody sent"


def key_of(event: dict[str, object]) -> tuple[str, float]:
    data = event["data"]
    assert isinstance(data, dict)
    return str(event["subject"]), float(data["temperature"])


def history(platform: Platform, tag: str) -> list[tuple[str, float]]:
    dsn = open_storage(load_settings({}, data_dir=platform.data_dir)).owner_dsn
    with psycopg.connect(dsn) as owner:
        rows = owner.execute(
            "SELECT t.twin_id, s.num FROM sample s JOIN twin t ON t.tenant = s.tenant AND t.twin_no = s.series >> 20 "
            "WHERE starts_with(t.twin_id, %s)",
            (f"{tag}-",),
        ).fetchall()
        torn = owner.execute(
            "SELECT count(*) FROM latest l WHERE (l.source_time, l.num) IS DISTINCT FROM "
            "(SELECT (s.source_time, s.num) FROM sample s WHERE s.tenant = l.tenant AND s.series = l.series "
            " ORDER BY s.source_time DESC LIMIT 1)"
        ).fetchone()
    assert torn == (0,), "state differs from the last sample"
    return [(str(twin), float(value)) for twin, value in rows]

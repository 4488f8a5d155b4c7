"""A broker's messages as a user has them: described, started, and whole though the server is killed in between."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.command_line import Site, serving
from support.mosquitto import Client, Mosquitto

MESSAGES = 12_000
METERS = 20
WAIT_S_MAX = 60.0
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:Meter;1",
    "@type": "Interface",
    "contents": [{"@type": "Property", "name": "power", "schema": "double"}],
}
MAPPING = """
version: 2
source: meters
topic: site/{meter}/power
time: {path: at, format: unix_ms}
twins:
  - twin: "{$topic.meter}"
    model: dtmi:test:Meter;1
    values: {power: {path: kw, unit: kW, to: W}}
"""
START_MS = 1_600_000_000_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto.durable(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(GEMEL_OUTBOUND_ALLOW="127.0.0.1") as served:
        yield served


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    key = (site.data / "default.key").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=30, trust_env=False) as found:
        found.post("/models", json=[MODEL]).raise_for_status()
        yield found


def until(client: httpx.Client, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the source is as wanted; the server may be away meanwhile."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    found: dict[str, Any] = {}
    while True:
        try:
            found = client.get("/v1/sources/meters").raise_for_status().json()
            if holds(found):
                return found
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline_s, found
        time.sleep(0.02)


def came(events: int) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["counts"]["events"] >= events


@pytest.mark.parametrize("seed", [11])
def test_a_broker_is_read_to_the_last_message_though_the_server_is_killed(
    site: Site, client: httpx.Client, broker: Mosquitto, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    (tmp_path / "m.yaml").write_text(MAPPING, "utf-8")
    file = tmp_path / "meters.yaml"
    file.write_text(
        f"name: meters\nkind: mqtt\nconnection: {{host: 127.0.0.1, port: {broker.port}, topics: ['site/#']}}\n"
        "mapping: m.yaml\ncreate_twins: true\nlimits: {events: 500}\nbackoff: {first_s: 0.1, max_s: 1}\n",
        "utf-8",
    )
    assert site.run("source", "add", str(file)).code == 0
    assert site.run("source", "start", "meters").code == 0
    until(client, lambda found: found["counts"]["batches"] > 0)
    sent = [(rng.randrange(METERS), START_MS + n, n / 8) for n in range(MESSAGES)]
    # Some come twice, some late, some are poison.
    stream = sent + rng.sample(sent, 200)
    rng.shuffle(stream)
    messages = [
        (f"site/m{meter}/power", json.dumps({"at": at, "kw": kw}).encode()) for meter, at, kw in stream
    ]
    for place in rng.sample(range(len(messages)), 50):
        messages.insert(place, ("site/m0/power", f"poison {place}".encode()))

    def publish() -> None:
        with Client(broker.port) as other:
            for start in range(0, len(messages), 200):
                other.send(messages[start : start + 200])
                time.sleep(0.02)

    publisher = threading.Thread(target=publish)
    publisher.start()
    port = int(site.url.rpartition(":")[2])
    for share in sorted(rng.sample(range(5, 90), 3)):
        until(client, came(MESSAGES * share // 100))
        site.stop(signal.SIGKILL)
        site.start(port)
    publisher.join()
    done = until(
        client, lambda found: found["counts"]["accepted"] + found["counts"]["late"] >= MESSAGES
        and found["counts"]["quarantined"] >= 50,
    )  # fmt: skip
    assert (done["state"], done["counts"]["corrected"]) == ("running", 0)
    for meter in range(METERS):
        asked = {"path": "power", "limit": "100000"}
        page = client.get(f"/v1/twins/m{meter}/history", params=asked).raise_for_status().json()
        wanted = sorted((at, kw * 1000) for own, at, kw in sent if own == meter)
        assert [value["value"] for value in page["values"]] == [power for _, power in wanted]
        assert client.get(f"/digitaltwins/m{meter}").json()["power"] == wanted[-1][1]
    waiting = client.get("/v1/quarantine", params={"limit": "1000"}).json()["value"]
    shown = [client.get(f"/v1/quarantine/{each['number']}").json()["raw"] for each in waiting]
    poison = sorted(payload.decode() for _, payload in messages if payload.startswith(b"poison"))
    assert sorted(json.loads(raw)["text"] for raw in shown) == poison
    assert client.get("/v1/stats").json()["quarantined"] == len(poison)


def test_a_trial_shows_what_is_retained(
    site: Site, client: httpx.Client, broker: Mosquitto, tmp_path: Path
) -> None:
    with Client(broker.port) as other:
        other.send([("kept/m1/power", b'{"at": 1600000000000, "kw": 1.5}')], retain=True)
    (tmp_path / "m.yaml").write_text(MAPPING.replace("site/", "kept/"), "utf-8")
    file = tmp_path / "kept.yaml"
    file.write_text(
        f"name: kept\nkind: mqtt\nconnection: {{host: 127.0.0.1, port: {broker.port}, topics: ['kept/#']}}\n"
        "mapping: m.yaml\n",
        "utf-8",
    )
    tried = site.run("source", "test", str(file), "--json").json()
    assert (tried["events"], tried["problems"]) == (1, [])
    assert tried["first"][0]["data"] == {"power": 1500.0}

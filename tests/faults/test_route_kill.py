"""kill -9 of the server and of the database while a route delivers: nothing is lost, order holds, little repeats."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from bench.platform import Platform, running

SEEDS = range(4)
TWINS = 10
LOAD_S = 3.0
DRAIN_S_MAX = 60.0
BATCH_MAX = 100
BLOWS = ("server", "database", "server")
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:gemel:fault:Told;1",
    "@type": "Interface",
    "contents": [{"@type": "Property", "name": "number", "schema": "integer"}],
}


class Receiver(BaseHTTPRequestHandler):
    """Acknowledges most batches, refuses some, and hangs up on some halfway."""

    protocol_version = "HTTP/1.1"
    rng = random.Random(0)
    acknowledged: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        luck = self.rng.random()
        if luck < 0.05:
            self.close_connection = True
            return
        self.send_response(500 if luck < 0.1 else 204)
        self.send_header("Content-Length", "0")
        if luck >= 0.1:
            self.acknowledged += json.loads(body)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    """Says nothing of callers that were killed."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def receiving(seed: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    acknowledged: list[dict[str, Any]] = []
    handler = type("Own", (Receiver,), {"rng": random.Random(seed), "acknowledged": acknowledged})
    server = Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", acknowledged
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMEL_OUTBOUND_ALLOW", "127.0.0.1")
        with running() as platform:
            with platform.client() as client:
                client.post("/models", json=[MODEL]).raise_for_status()
            yield platform


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acknowledged_is_delivered_in_order(platform: Platform, seed: int) -> None:
    rng = random.Random(seed)
    twins = [f"s{seed}-{number}" for number in range(TWINS)]
    with receiving(seed) as (url, delivered):
        with platform.client() as client:
            for twin in twins:
                body = {"$metadata": {"$model": MODEL["@id"]}}
                client.put(f"/digitaltwins/{twin}", json=body).raise_for_status()
            client.put("/v1/endpoints/hooks", json={"url": url}).raise_for_status()
            route = {"endpointName": "hooks", "filter": f"STARTS_WITH(subject, 's{seed}-')"}
            client.put(f"/eventroutes/s{seed}", json=route).raise_for_status()
        patched: dict[str, list[int]] = {twin: [] for twin in twins}
        stop = threading.Event()
        writer = threading.Thread(target=write, args=(platform, patched, stop))
        writer.start()
        for blow in rng.sample(BLOWS, len(BLOWS)):
            time.sleep(rng.uniform(0.3, LOAD_S / len(BLOWS)))
            strike(platform, blow)
        time.sleep(0.5)
        stop.set()
        writer.join()
        drain(platform, f"s{seed}")
        with platform.client() as client:
            client.delete(f"/eventroutes/s{seed}").raise_for_status()
    once = list({event["id"]: event for event in delivered}.values())
    sequences = [event["sequence"] for event in once]
    assert sequences == sorted(sequences), f"seed {seed}: out of order"
    for twin in twins:
        told = [event["data"]["patch"][0]["value"] for event in once if event["subject"] == twin]
        assert set(patched[twin]) <= set(told), f"seed {seed}: acknowledged patches were not delivered"
        assert told == sorted(told), f"seed {seed}: {twin} out of order"
    repeated = len(delivered) - len(once)
    print(f"seed {seed}: {len(once)} delivered, {repeated} of them again")
    assert once
    assert repeated <= len(BLOWS) * BATCH_MAX, f"seed {seed}: {repeated} repeated"


def write(platform: Platform, patched: dict[str, list[int]], stop: threading.Event) -> None:
    """Patch twins with growing numbers; keep those that were acknowledged."""
    number = 0
    while not stop.is_set():
        try:
            with platform.client() as client:
                while not stop.is_set():
                    number += 1
                    twin = f"{next(iter(patched)).partition('-')[0]}-{number % TWINS}"
                    step = [{"op": "add", "path": "/number", "value": number}]
                    answer = client.patch(f"/digitaltwins/{twin}", json=step)
                    if answer.status_code == 204:
                        patched[twin].append(number)
                    else:
                        assert answer.status_code == 503, answer.text
                        time.sleep(0.1)
        except httpx.TransportError:
            time.sleep(0.05)


def strike(platform: Platform, what: str) -> None:
    if what == "server":
        platform.kill()
        platform.start()
        return
    os.kill(platform.database_pid(), signal.SIGKILL)


def drain(platform: Platform, route: str) -> None:
    """Wait until the route has nothing left to deal with."""
    deadline = time.monotonic() + DRAIN_S_MAX
    while time.monotonic() < deadline:
        try:
            with platform.client() as client:
                state = client.get(f"/v1/routes/{route}")
            if state.status_code == 200 and state.json()["lagChanges"] == 0:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the route never caught up")

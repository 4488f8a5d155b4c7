"""Receivers of a route's notifications: slow, refusing, killed; told once or again, and nothing left out."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from confluent_kafka import Consumer, TopicPartition

from bench.broker import Broker
from bench.platform import Platform, free_port
from support.kafka import new_topic
from support.torture.ways import SETTLED_S_MAX
from support.torture.world import Outcome, World

__all__ = ["KafkaSink", "RouteSink", "WebhookSink"]

TWIN_UPDATE = "Microsoft.DigitalTwins.Twin.Update"
TELEMETRY = "microsoft.iot.telemetry"
ASK_S = 30.0


class Receiver(Protocol):
    """Where notifications go: `endpoint` is its description, `told` what it acknowledged, in order."""

    @property
    def endpoint(self) -> dict[str, Any]: ...
    def told(self) -> Sequence[dict[str, Any]]: ...
    def close(self) -> None: ...


class RouteSink:
    """A route of a run to a receiver, and what must have come of it."""

    def __init__(self, platform: Platform, receiver: Receiver) -> None:
        self.receiver = receiver
        self._platform = platform
        self._name = ""

    def begin(self, world: World) -> None:
        """Make the endpoint and the route."""
        self._name = world.tag
        with self._platform.client() as client:
            client.put(f"/v1/endpoints/{self._name}", json=self.receiver.endpoint).raise_for_status()
            route = {"endpointName": self._name, "filter": "true"}
            client.put(f"/eventroutes/{self._name}", json=route).raise_for_status()

    def finish(self) -> None:
        """Wait until the route has nothing left to deliver."""
        until = time.monotonic() + SETTLED_S_MAX
        with self._platform.client() as client:
            while True:
                state = client.get(f"/v1/routes/{self._name}").raise_for_status().json()
                if state["lagChanges"] == 0:
                    return
                assert time.monotonic() < until, f"the route never caught up: {state}"
                time.sleep(0.1)

    def close(self) -> None:
        """End the route and its receiver."""
        with self._platform.client() as client:
            client.delete(f"/eventroutes/{self._name}")
            client.delete(f"/v1/endpoints/{self._name}")
        self.receiver.close()

    def check(self, world: World, outcome: Outcome) -> int:
        """Hold what came against the model; return how many came again."""
        told = self.receiver.told()
        once: dict[str, dict[str, Any]] = {}
        for event in told:
            assert once.setdefault(event["id"], event) == event, "an id tells two things"
        sequences = [event["sequence"] for event in once.values()]
        assert sequences == sorted(set(sequences)), "out of order"
        flows = {
            (event["source"].rpartition("/")[2], event["time"]): event["data"]["flow"]
            for event in once.values()
            if event["type"] == TELEMETRY
        }
        wanted = {(each.twin, each.time): each.value for each in outcome.history if each.path == "flow"}
        flows = {key: value for key, value in flows.items() if key[0] in world.twins}
        assert flows == wanted, f"{len(flows)} of {len(wanted)} values of telemetry"
        speeds = {
            event["subject"]: event["data"]["patch"][-1]["value"]
            for event in once.values()
            if event["type"] == TWIN_UPDATE and event["subject"] in world.twins
        }
        assert speeds == {
            twin: value for (twin, path), (_, value) in outcome.state.items() if path == "speed"
        }
        return len(told) - len(once)


class WebhookSink:
    """An HTTP server that acknowledges most batches, some late, refuses some, and hangs up on some halfway."""

    def __init__(self, seed: int) -> None:
        self._port = free_port()
        self._acknowledged: list[dict[str, Any]] = []
        self._handler = type(
            "Own", (_Handler,), {"rng": random.Random(seed), "acknowledged": self._acknowledged}
        )
        self._server: _Quiet | None = None
        self.start()

    @property
    def endpoint(self) -> dict[str, Any]:
        """Where it is."""
        return {"url": f"http://127.0.0.1:{self._port}/"}

    def told(self) -> Sequence[dict[str, Any]]:
        """Return what it acknowledged."""
        return self._acknowledged

    def start(self) -> None:
        """Listen."""
        self._server = _Quiet(("127.0.0.1", self._port), self._handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        """Be away; what it has acknowledged it remembers."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        """End."""
        self.kill()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rng: random.Random
    acknowledged: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        luck = self.rng.random()
        if luck < 0.05:
            self.close_connection = True
            return
        if luck > 0.8:
            time.sleep(0.2)
        self.send_response(500 if luck < 0.1 else 204)
        self.send_header("Content-Length", "0")
        # One connection a batch, so that a receiver that is away is away.
        self.send_header("Connection", "close")
        self.close_connection = True
        if luck >= 0.1:
            self.acknowledged += json.loads(body)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    """Says nothing of callers that were killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class KafkaSink:
    """A topic of one partition on a real broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._topic = new_topic(broker)

    @property
    def endpoint(self) -> dict[str, Any]:
        """Where it is."""
        return {"kind": "kafka", "url": f"kafka://{self._broker.servers}/{self._topic}"}

    def told(self) -> Sequence[dict[str, Any]]:
        """Return all that stands in the topic."""
        asking = Consumer({"bootstrap.servers": self._broker.servers, "group.id": "end", "log_level": 0})
        try:
            _, end = asking.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=ASK_S)
        finally:
            asking.close()
        messages = self._broker.read(self._topic, end)
        assert len(messages) == end
        return [json.loads(message.value()) for message in messages]

    def close(self) -> None:
        """Nothing: topics go with their broker."""

"""How the messages of a run get to the platform: by HTTP, through an MQTT broker, through a Kafka broker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import httpx
import psycopg
from confluent_kafka import Producer

from bench.broker import Broker
from bench.platform import Platform
from gemel.app.storage import open_storage
from gemel.base.settings import load_settings
from support.kafka import new_topic
from support.mosquitto import Client, Mosquitto
from support.tcp_proxy import TcpProxy
from support.torture.world import MODEL, World

__all__ = [
    "SETTLED_S_MAX",
    "Count",
    "HttpWay",
    "KafkaWay",
    "MqttWay",
    "RestartedBroker",
    "Way",
    "put_twins",
    "remove_sources",
    "start_source",
]

SETTLED_S_MAX = 120.0
ANSWER_S_MAX = 4.0
HEADERS = {"Content-Type": "application/x-ndjson", "Gemel-Create-Model": str(MODEL["@id"])}
SOURCE = """
name: {name}
kind: {kind}
connection: {connection}
limits: {{events: 50}}
backoff: {{first_s: 0.05, max_s: 0.5}}
"""
PARTITIONS = 3
AUDITED = "SELECT target FROM audit WHERE actor = ANY(%s) AND action = 'events.ingest'"

Count = Callable[[str, int], None]


class RestartedBroker(Protocol):
    """What blows do to a broker."""

    def kill(self) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...


class Way(Protocol):
    """A way in; `links` are what blows break of it, `broker` is what stands on it, if anything does."""

    @property
    def links(self) -> Sequence[TcpProxy]: ...
    @property
    def broker(self) -> RestartedBroker | None: ...

    def begin(self, world: World) -> None:
        """Get ready to send."""

    def send(self, bodies: Sequence[bytes]) -> None:
        """Send messages until whoever they are sent to has acknowledged all. Called from several threads."""

    def finish(self, marker: bytes) -> None:
        """Send a last message so that the platform takes it once it has taken all others; nothing breaks now."""

    def close(self) -> None:
        """Let go, and leave nothing running."""


class HttpWay:
    """POST /v1/events, through a proxy; what was acknowledged is never sent again, all else is."""

    broker = None

    def __init__(self, platform: Platform, proxy: TcpProxy, count: Count) -> None:
        self.links: Sequence[TcpProxy] = ()
        self._count = count
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{proxy.port}",
            headers={"Authorization": f"Bearer {platform.key}"},
            timeout=ANSWER_S_MAX,
        )

    def begin(self, world: World) -> None:
        """Nothing: twins are made as they come."""

    def send(self, bodies: Sequence[bytes]) -> None:
        """Post a batch until it is acknowledged."""
        until = time.monotonic() + SETTLED_S_MAX
        while time.monotonic() < until:
            self._count("requests", 1)
            try:
                answer = self._client.post("/v1/events", content=b"\n".join(bodies), headers=HEADERS)
            except httpx.TransportError:
                self._count("not answered", 1)
                time.sleep(0.1)
                continue
            if answer.status_code == 200:
                return
            assert answer.status_code in {429, 503}, f"{answer.status_code} {answer.text[:500]}"
            assert int(answer.headers["retry-after"]) >= 1
            self._count("refused", 1)
            time.sleep(0.2)
        raise AssertionError("a batch was not acknowledged in time")

    def finish(self, marker: bytes) -> None:
        """Post the last message."""
        self.send([marker])

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class MqttWay:
    """A source that reads a real Mosquitto, through a proxy. Messages are CloudEvents, or what a mapping reads.

    A broker that is killed forgets what came since it last saved, so all is published once more at the end.
    """

    def __init__(
        self, platform: Platform, broker: Mosquitto, count: Count, mapping: Mapping[str, Any] | None = None
    ) -> None:
        self.broker: Mosquitto = broker
        self._mapping = mapping
        self.links: Sequence[TcpProxy] = (TcpProxy(broker.port),)
        self._platform = platform
        self._count = count
        self._sent: list[bytes] = []
        self._acknowledged: set[int] = set()
        self._topic = ""
        self._publisher: Client | None = None

    def begin(self, world: World) -> None:
        """Make the twins, start the source, and wait until its session is on the broker's disk."""
        self._topic = world.tag
        put_twins(self._platform, world)
        connection = {
            "host": "127.0.0.1", "port": self.links[0].port, "topics": [f"{world.tag}/#"], "keepalive_s": 5,
        }  # fmt: skip
        start_source(self._platform, world.tag, "mqtt", connection, self._mapping)
        wait_for(self._platform, [world.tag], lambda counts: counts["batches"] > 0)
        self.broker.wait_saved()
        self._publisher = Client(self.broker.port)
        self._publisher.paho.reconnect_delay_set(1, 1)
        self._publisher.paho.on_publish = lambda _client, _data, number, *_: self._acknowledged.add(number)

    def send(self, bodies: Sequence[bytes]) -> None:
        """Publish; the client connects and publishes again by itself where the broker is away."""
        assert self._publisher is not None
        self._sent += bodies
        self._count("requests", 1)
        told = {self._publisher.paho.publish(f"{self._topic}/x", body, 1).mid for body in bodies}
        until = time.monotonic() + SETTLED_S_MAX
        while not told <= self._acknowledged:
            assert time.monotonic() < until, "the broker did not acknowledge in time"
            time.sleep(0.02)

    def finish(self, marker: bytes) -> None:
        """Publish all once more, and the last message behind it: a session is read in order."""
        self.send(list(self._sent))
        self.send([marker])

    def close(self) -> None:
        """Stop the source and the publisher."""
        for link in self.links:
            link.close()
        if self._publisher is not None:
            self._publisher.__exit__()
            remove_sources(self._platform, [self._topic])


class KafkaWay:
    """Two sources in one group that read a topic of a real broker, which everybody reaches through a proxy.

    The producer writes each message once, whatever breaks; so the sources must count each once. The second is
    started at `other`, where there is another server on the platform's database.
    """

    def __init__(
        self, platform: Platform, broker: Broker, proxy: TcpProxy, count: Count, other: Platform | None = None
    ) -> None:
        self.broker: Broker = broker
        self.links: Sequence[TcpProxy] = (proxy,)
        self._platform = platform
        self._other = other or platform
        self._count = count
        self._topic = new_topic(broker, PARTITIONS)
        self._names: list[str] = []
        self._written = 0
        self._lock = threading.Lock()
        self._producer = Producer(
            {"bootstrap.servers": broker.servers, "enable.idempotence": True, "linger.ms": 5,
             "message.timeout.ms": 100_000, "retry.backoff.ms": 100, "retry.backoff.max.ms": 500,
             "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500, "log_level": 0}
        )  # fmt: skip

    def begin(self, world: World) -> None:
        """Make the twins, and start both sources."""
        put_twins(self._platform, world)
        self._names = [f"{world.tag}-{name}" for name in ("one", "two")]
        settings = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
        connection = {
            "servers": self.broker.servers, "topics": [self._topic], "group": f"g-{self._topic}",
            "settings": settings,
        }  # fmt: skip
        for platform, name in zip((self._platform, self._other), self._names, strict=True):
            start_source(platform, name, "kafka", connection)

    def send(self, bodies: Sequence[bytes]) -> None:
        """Write to the partitions in turn."""
        faults: list[Any] = []
        left: set[int] = set(range(len(bodies)))

        def told(number: int, error: Any, _: Any) -> None:
            left.discard(number)
            if error is not None:
                faults.append(error)

        with self._lock:
            first, self._written = self._written, self._written + len(bodies)
        for number, body in enumerate(bodies):
            self._producer.produce(
                self._topic,
                body,
                partition=(first + number) % PARTITIONS,
                on_delivery=partial(told, number),
            )
        self._count("requests", 1)
        until = time.monotonic() + SETTLED_S_MAX
        while left:
            assert time.monotonic() < until, "the broker did not acknowledge in time"
            self._producer.poll(0.05)
        assert not faults, faults

    def rebalance(self) -> None:
        """Have one of the two readers leave the group, and come back."""
        with self._platform.client() as client:
            for act in ("stop", "start"):
                client.post(f"/v1/sources/{self._names[1]}/{act}").raise_for_status()
                time.sleep(0.5)

    def finish(self, marker: bytes) -> None:
        """Wait until all is counted, each once, and post the last message."""
        wait_for(self._platform, self._names, lambda counts: counts["events"] >= self._written)
        counts = counts_of(self._platform, self._names)
        assert counts["events"] == self._written, f"{counts} of {self._written} messages"
        assert audited(self._platform, self._names) == self._written
        with self._platform.client() as client:
            client.post("/v1/events", content=marker, headers=HEADERS).raise_for_status()

    def close(self) -> None:
        """Stop the sources."""
        remove_sources(self._platform, self._names)


def put_twins(platform: Platform, world: World) -> None:
    """Make all twins of a run, which a source does not."""
    with platform.client() as client:
        for twin in [*world.twins, world.end]:
            body = {"$metadata": {"$model": MODEL["@id"]}}
            client.put(f"/digitaltwins/{twin}", json=body).raise_for_status()


def start_source(
    platform: Platform,
    name: str,
    kind: str,
    connection: Mapping[str, Any],
    mapping: Mapping[str, Any] | None = None,
) -> None:
    """Describe a source and start it."""
    text = SOURCE.format(name=name, kind=kind, connection=json.dumps(connection))
    if mapping is not None:
        text += f"mapping: {json.dumps(mapping)}\n"
    with platform.client() as client:
        client.put(f"/v1/sources/{name}", json={"definition": text}).raise_for_status()
        client.post(f"/v1/sources/{name}/start").raise_for_status()


def remove_sources(platform: Platform, names: Sequence[str]) -> None:
    """Stop sources and forget them."""
    with platform.client() as client:
        for name in names:
            client.post(f"/v1/sources/{name}/stop").raise_for_status()
            client.delete(f"/v1/sources/{name}").raise_for_status()


def counts_of(platform: Platform, names: Sequence[str]) -> dict[str, int]:
    """Return what sources have counted together."""
    total: dict[str, int] = {}
    with platform.client() as client:
        for name in names:
            counts = client.get(f"/v1/sources/{name}").raise_for_status().json()["counts"]
            total = {key: total.get(key, 0) + value for key, value in counts.items()}
    return total


def audited(platform: Platform, names: Sequence[str]) -> int:
    """Return how many events the audit trail tells of that sources brought."""
    dsn = open_storage(load_settings(platform.environment, data_dir=platform.data_dir)).owner_dsn
    with psycopg.connect(dsn) as owner:
        actors = [f"source:{name}" for name in names]
        rows = owner.execute(AUDITED, (actors,)).fetchall()
    return sum(int(str(target).partition("(")[2].split()[0]) for (target,) in rows)


def wait_for(platform: Platform, names: Sequence[str], holds: Callable[[dict[str, int]], bool]) -> None:
    """Wait until the counts of sources are as wanted."""
    until = time.monotonic() + SETTLED_S_MAX
    while True:
        counts = counts_of(platform, names)
        if holds(counts):
            return
        assert time.monotonic() < until, f"{names} stay at {counts}"
        time.sleep(0.1)

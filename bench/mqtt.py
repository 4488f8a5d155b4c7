"""A broker's queue into the twins, against bare clients that take the same queue in the same run.

The limit is the broker's own client, `mosquitto_sub -q 1` into /dev/null. Beside it stand paho-mqtt, which does nothing
but acknowledge, and our own reader without anything behind it, which is about what the broker can give.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.events import MODEL, SHARDS, bodies
from bench.figures import Figure, told
from bench.platform import Platform, free_port
from gemel.outbound import OutboundPolicy
from gemel.outbound.mqtt import Broker, MqttConnection, Outgoing
from gemel.outbound.mqtt_wire import Hello

__all__ = ["ENVIRONMENT", "measure"]

ENVIRONMENT = {"GEMEL_OUTBOUND_ALLOW": "127.0.0.1"}
EVENTS = 200_000
ROUNDS = 2
LOCAL = OutboundPolicy.parse("127.0.0.1")
BARE = "bare"
TOPICS = "bench/#"
GOAL = 0.7
DEADLINE_S = 120.0
LOOK_S = 0.1
"""How often it is asked how far the source is; each look costs the platform some ms."""


def measure(platform: Platform) -> list[Figure]:
    """Measure events/s of both, each over the same queue of EVENTS messages, by turns; the twins must be there."""
    events: list[float] = []
    bare: list[float] = []
    paho_only: list[float] = []
    reader: list[float] = []
    with _mosquitto() as port:
        _describe(platform, port)
        for number in range(ROUNDS):
            asyncio.run(_subscribe(port))
            _paho(port, 0)
            _mosquitto_sub(port, 0)
            _fill(port, number)
            reader.append(EVENTS / asyncio.run(_take(port)))
            paho_only.append(EVENTS / _paho(port, EVENTS))
            bare.append(EVENTS / _mosquitto_sub(port, EVENTS))
            events.append(EVENTS / _drain(platform))
    own, limit = sum(events) / ROUNDS, sum(bare) / ROUNDS
    ratio = own / limit
    goal = f">= {GOAL} of a bare client"
    return [
        told("mqtt_bare_reader", sum(reader) / ROUNDS, "events/s"),
        told("mqtt_bare_paho", sum(paho_only) / ROUNDS, "events/s"),
        told("mqtt_bare_client", limit, "events/s"),
        Figure("mqtt_events", own, "events/s", limit, ratio, goal, ratio >= GOAL),
    ]


def _describe(platform: Platform, port: int) -> None:
    """Describe the source, and let it make its session at the broker."""
    text = f"name: bench\nkind: mqtt\nconnection: {{host: 127.0.0.1, port: {port}, topics: ['{TOPICS}']}}\n"
    text += "limits: {events: 20000, bytes: 4194304}\n"
    with platform.client() as client:
        assert client.get(f"/models/{MODEL['@id']}").status_code == 200, "the twins are made first"
        client.put("/v1/sources/bench", json={"definition": text}).raise_for_status()
        client.post("/v1/sources/bench/start").raise_for_status()
        _until(platform, "batches", 1)
        _stop(platform)


def _drain(platform: Platform) -> float:
    """Start the source and return how many seconds its queue takes it, from its first batch on."""
    with platform.client() as client:
        before = client.get("/v1/sources/bench").json()["counts"]["events"]
        begun = time.perf_counter()
        client.post("/v1/sources/bench/start").raise_for_status()
    _until(platform, "events", before + EVENTS)
    seconds = time.perf_counter() - begun
    _stop(platform)
    return seconds


def _stop(platform: Platform) -> None:
    with platform.client() as client:
        client.post("/v1/sources/bench/stop").raise_for_status()
        deadline_s = time.monotonic() + DEADLINE_S
        while client.get("/v1/sources/bench").json()["state"] != "stopped":
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


def _until(platform: Platform, count: str, least: int) -> None:
    with platform.client() as client:
        deadline_s = time.monotonic() + DEADLINE_S
        while (found := client.get("/v1/sources/bench").json())["counts"][count] < least:
            assert time.monotonic() < deadline_s, found
            time.sleep(LOOK_S)


async def _subscribe(port: int) -> None:
    connection = await _open(port, BARE)
    await connection.subscribe([TOPICS])
    await connection.close()


async def _take(port: int) -> float:
    """Take all messages with a client that only acknowledges them; return how many seconds that was."""
    begun = time.perf_counter()
    connection = await _open(port, BARE)
    count = 0
    while count < EVENTS:
        await connection.arrived.wait()
        connection.arrived.clear()
        connection.check()
        found = list(connection.inbox)
        connection.inbox.clear()
        connection.taken(sum(len(message.payload) for message in found))
        connection.ack([message.packet_id for message in found])
        count += len(found)
    seconds = time.perf_counter() - begun
    await connection.close()
    return seconds


def _paho(port: int, wanted: int) -> float:
    """Take so many messages with paho-mqtt; return how many seconds that was. Of 0 only the session is made."""
    begun, count, subscribed = time.perf_counter(), 0, False
    client = paho.Client(CallbackAPIVersion.VERSION2, "paho", clean_session=False)

    def take(_: object, __: object, ___: paho.MQTTMessage) -> None:
        nonlocal count
        count += 1

    def note(*_: object) -> None:
        nonlocal subscribed
        subscribed = True

    client.on_message, client.on_subscribe = take, note
    client.connect("127.0.0.1", port)
    client.loop()
    client.subscribe(TOPICS, 1)
    while count < wanted or not subscribed:
        client.loop(1.0)
    seconds = time.perf_counter() - begun
    client.disconnect()
    return seconds


def _mosquitto_sub(port: int, wanted: int) -> float:
    """Take so many messages with Mosquitto's own client; return how many seconds that was. As with `_paho` for 0."""
    command = ["mosquitto_sub", "-p", str(port), "-i", "mosquitto_sub", "-c", "-q", "1", "-t", TOPICS]
    begun = time.perf_counter()
    subprocess.run(
        [*command, *(["-C", str(wanted)] if wanted else ["-E"])], stdout=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - begun


async def _open(port: int, client_id: str) -> MqttConnection:
    hello = Hello(5, client_id, fresh=False, expiry_s=3600, receive_maximum=15_000)
    return await MqttConnection.open(Broker("127.0.0.1", port), hello, LOCAL)


def _fill(port: int, number: int) -> None:
    async def publish() -> None:
        connection = await MqttConnection.open(Broker("127.0.0.1", port), Hello(5, "fill"), LOCAL)
        try:
            for body in bodies(number % SHARDS, EVENTS, 1000):
                declined = await connection.deliver([Outgoing("bench/x", line) for line in body.split(b"\n")])
                assert declined is None, declined
        finally:
            await connection.close()

    asyncio.run(publish())


@contextmanager
def _mosquitto() -> Iterator[int]:
    program = shutil.which("mosquitto", path="/usr/bin:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise FileNotFoundError("mosquitto is missing: run tools/brokers.sh")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gemel-bench-mqtt-") as folder:
        config = Path(folder, "mosquitto.conf")
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
        )
        process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)

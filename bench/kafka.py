"""Durable ingest from a topic of Kafka, one event a message, against a bare COPY of the same samples."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.broker import Broker
from bench.events import SHARDS, bodies, make_twins
from bench.figures import Figure, at_least, told
from bench.ingest import copy_samples_per_s
from bench.platform import MemoryWatch, Platform

__all__ = ["ENVIRONMENT", "measure"]

ENVIRONMENT = {"GEMEL_OUTBOUND_ALLOW": "127.0.0.1"}
"""What the platform needs to be allowed to call the broker."""
EVENTS = 1_000_000
BODY_EVENTS = 5_000
LOOK_S = 0.2
"""How often it is asked how far the source is; each look costs the platform some ms."""
WAIT_S_MAX = 120.0
SOURCE = """
name: bench
kind: kafka
connection: {servers: "%s", topics: [events]}
limits: {events: 20000, bytes: 4194304}
"""


def measure(platform: Platform) -> list[Figure]:
    """Write EVENTS events to SHARDS partitions, then have the source read them; the broker goes on running beside."""
    make_twins(platform)
    with tempfile.TemporaryDirectory(prefix="gemel-bench-kafka-") as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            broker.create_topic("events", SHARDS)
            for shard in range(SHARDS):
                for body in bodies(shard, EVENTS // SHARDS, BODY_EVENTS):
                    broker.send("events", body.splitlines(), partition=shard)
            limit = copy_samples_per_s(platform)
            with MemoryWatch(platform) as memory:
                events_per_s = read(platform, broker)
        finally:
            broker.stop()
    ratio = events_per_s * 2 / limit
    return [
        at_least("kafka_events", events_per_s, "events/s", 80_000),
        Figure("kafka_samples", events_per_s * 2, "samples/s", limit, ratio),
        told("kafka_memory_peak", memory.peak_mib, "MiB"),
    ]


def read(platform: Platform, broker: Broker) -> float:
    """Start the source and return how many events a second it took, from its first batch to its last."""
    with platform.client() as client:
        client.put("/v1/sources/bench", json={"definition": SOURCE % broker.servers}).raise_for_status()
        client.post("/v1/sources/bench/start").raise_for_status()
        begun_s, first, events = 0.0, 0, 0
        end_s = time.monotonic() + WAIT_S_MAX
        while events < EVENTS:
            if time.monotonic() > end_s:
                raise TimeoutError(f"only {events} events came")
            time.sleep(LOOK_S)
            counts = client.get("/v1/sources/bench").raise_for_status().json()["counts"]
            events = counts["events"]
            if events and not begun_s:
                begun_s, first = time.monotonic(), events
        if counts["accepted"] != 2 * EVENTS:
            raise RuntimeError(f"not each value was taken once: {counts}")
        return (EVENTS - first) / (time.monotonic() - begun_s)

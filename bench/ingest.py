"""Durable ingest over HTTP, against a bare COPY of the same samples on the same machine in the same run."""

from __future__ import annotations

import json
import struct
import threading
import time

import numpy as np
import psycopg

from bench.events import SHARDS, TWINS, bodies, make_twins, samples
from bench.figures import Figure, at_least, at_most, percentiles_ms, told
from bench.platform import MemoryWatch, Platform
from bench.wire import Connection, request_bytes
from gemel.base.settings import load_settings

__all__ = ["ingest", "measure"]

ROW = {
    "n": ">i2",
    "l0": ">i4",
    "t": ">i4",
    "l1": ">i4",
    "s": ">i8",
    "l2": ">i4",
    "at": ">i8",
    "l3": ">i4",
    "v": ">f8",
}

EVENTS = 1_000_000
BODY_EVENTS = 5_000
LOOK_EVERY = 5
LIMIT_SECONDS = 80
CHUNK_SECONDS = 10
"""Of the workload, 100,000 rows, in a commit."""
TABLE = """
CREATE TABLE bench_limit (tenant int, series bigint, source_time timestamptz, num float8,
                          PRIMARY KEY (tenant, series, source_time))"""


def measure(platform: Platform) -> list[Figure]:
    """Measure the limit, the ingest of EVENTS events, and what it cost in memory."""
    make_twins(platform)
    before = copy_samples_per_s(platform)
    with MemoryWatch(platform) as memory:
        events_per_s, latencies_s, visible_s = ingest(platform, EVENTS)
    limit = (before + copy_samples_per_s(platform)) / 2
    samples_per_s = events_per_s * 2
    ratio = samples_per_s / limit
    told_ms = percentiles_ms(latencies_s)
    return [
        at_least("ingest_events", events_per_s, "events/s", 100_000),
        Figure(
            "ingest_samples", samples_per_s, "samples/s", limit, ratio, ">= 0.5 of bare COPY", ratio >= 0.5
        ),
        *(told(f"ingest_ack_{name}", value, "ms") for name, value in told_ms.items()),
        *(told(f"ingest_visible_{name}", value, "ms") for name, value in percentiles_ms(visible_s).items()),
        at_most("ingest_memory_peak", memory.peak_mib, "MiB", 400),
    ]


def ingest(platform: Platform, count: int) -> tuple[float, list[float], list[float]]:
    """Send `count` events from SHARDS connections; return events/s and two lists of latencies in s.

    The first is from send to acknowledged, of each request; the second from send until another request has read
    the last value back, of every LOOK_EVERY-th.
    """
    own = count // SHARDS
    prepared = [
        [
            request_bytes("POST", "/v1/events", platform.key, body, "application/x-ndjson")
            for body in bodies(shard, own, BODY_EVENTS)
        ]
        for shard in range(SHARDS)
    ]
    latencies_s: list[float] = []
    visible_s: list[float] = []
    faults: list[str] = []

    def send(requests: list[bytes]) -> None:
        connection = Connection(platform.port)
        for number, request in enumerate(requests):
            begun = time.perf_counter()
            status, body = connection.send(request)
            latencies_s.append(time.perf_counter() - begun)
            if status != 200 or b'"quarantined":0' not in body:
                faults.append(f"{status} {body[:300]!r}")
            if number % LOOK_EVERY == 0:
                look, expected = _look(platform, request)
                if expected not in connection.send(look)[1]:
                    faults.append(f"{expected!r} is acknowledged and not visible")
                visible_s.append(time.perf_counter() - begun)
        connection.close()

    threads = [threading.Thread(target=send, args=(requests,)) for requests in prepared]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - begun
    if faults:
        raise RuntimeError(f"{len(faults)} requests failed, the first: {faults[0]}")
    return count / elapsed_s, latencies_s, visible_s


def _look(platform: Platform, request: bytes) -> tuple[bytes, bytes]:
    """Return a request for the last values of the last event's twin, and the source time that must be in it."""
    last = json.loads(request[request.rindex(b"\n") :])
    look = request_bytes("GET", f"/v1/twins/{last['subject']}/telemetry", platform.key)
    return look, str(last["time"]).removesuffix("Z").encode()


def copy_samples_per_s(platform: Platform, seconds: int = LIMIT_SECONDS) -> float:
    """Return the rate of a bare binary COPY of so many seconds' samples into a table with a B-tree on their key."""
    elapsed_s = 0.0
    with psycopg.connect(owner_dsn(platform), autocommit=True) as owner:
        owner.execute(TABLE)
        for first in range(0, seconds, CHUNK_SECONDS):
            rows = _rows(range(first, min(first + CHUNK_SECONDS, seconds)))
            begun = time.perf_counter()
            with owner.cursor().copy("COPY bench_limit FROM STDIN (FORMAT binary)") as stream:
                stream.write(b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0))
                stream.write(rows.tobytes())
                stream.write(struct.pack(">h", -1))
            elapsed_s += time.perf_counter() - begun
        owner.execute("DROP TABLE bench_limit")
    return seconds * TWINS * 2 / elapsed_s


def _rows(seconds: range) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    series, time_us, value = samples(seconds)
    rows = np.empty(len(series), dtype=list(ROW.items()))
    rows["n"], rows["l0"], rows["l1"], rows["l2"], rows["l3"] = 4, 4, 8, 8, 8
    rows["t"], rows["s"], rows["at"], rows["v"] = 1, series, time_us - 946_684_800_000_000, value
    return rows


def owner_dsn(platform: Platform) -> str:
    """Return the owner's connection string of the platform's database."""
    from gemel.app.storage import open_storage

    return open_storage(load_settings({}, data_dir=platform.data_dir)).owner_dsn

"""Durable ingest of Arrow streams over HTTP, against a bare COPY of such samples in the same run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import psutil

from bench.events import SHARDS, START, TWINS
from bench.figures import Figure, at_least, percentiles_ms, told
from bench.ingest import copy_samples_per_s
from bench.platform import MemoryWatch, Platform
from bench.wire import request_bytes, send_all

__all__ = ["measure", "stream"]

EVENTS = 2_000_000
BODY_EVENTS = 50_000
AFTER_S = 100_000
"""How far behind START the first source time is: beyond those of the other parts."""


def measure(platform: Platform) -> list[Figure]:
    """Measure the ingest of EVENTS rows of two values, what it cost in processor time, and bare COPY beside it."""
    before = copy_samples_per_s(platform)
    with MemoryWatch(platform) as memory:
        cpu = _cpu_s(platform)
        samples_per_s, latencies_s = _ingest(platform)
        server_s, database_s = (after - first for after, first in zip(_cpu_s(platform), cpu, strict=True))
    limit = (before + copy_samples_per_s(platform)) / 2
    ratio = samples_per_s / limit
    return [
        at_least("arrow_samples", samples_per_s, "samples/s", 1_000_000),
        Figure("arrow_copy", samples_per_s, "samples/s", limit, ratio, ">= 2.0 of bare COPY", ratio >= 2.0),
        told("arrow_server_cpu", server_s / (2 * EVENTS) * 1e6, "us/sample"),
        told("arrow_database_cpu", database_s / (2 * EVENTS) * 1e6, "us/sample"),
        *(told(f"arrow_ack_{name}", value, "ms") for name, value in percentiles_ms(latencies_s).items()),
        told("arrow_memory_peak", memory.peak_mib, "MiB"),
    ]


def _ingest(platform: Platform) -> tuple[float, list[float]]:
    """Send all bodies from SHARDS connections; return samples/s, and the seconds to the answer of each request."""
    prepared = [
        [
            request_bytes("POST", "/v1/events", platform.key, body, "application/vnd.apache.arrow.stream")
            for body in _bodies(shard)
        ]
        for shard in range(SHARDS)
    ]
    elapsed_s, latencies_s = send_all(platform.port, prepared, b'"accepted":%d' % (2 * BODY_EVENTS))
    return 2 * EVENTS / elapsed_s, latencies_s


def _bodies(shard: int) -> Iterator[bytes]:
    """Yield the streams of one shard: its twins' rows in order of time."""
    width = TWINS // SHARDS
    twins = range(shard * width, (shard + 1) * width)
    first_us = int((START.timestamp() + AFTER_S) * 1e6)
    moments = BODY_EVENTS // width
    for start in range(0, EVENTS // SHARDS // width, moments):
        times_us = [first_us + second * 1_000_000 for second in range(start, start + moments)]
        yield stream(twins, times_us, f"{shard}-{start}")


def stream(twins: range, times_us: Sequence[int], name: str) -> bytes:
    """Return an Arrow stream of a row of two values for each of some twins at each of some times (µs)."""
    import pyarrow as pa

    second, twin = np.divmod(np.arange(len(times_us) * len(twins)), len(twins))
    names = pa.array([f"sensor-{number}" for number in twins])
    table = pa.table(
        {
            "twin": pa.DictionaryArray.from_arrays(pa.array(twin.astype(np.int32)), names),
            "time": pa.array(np.repeat(times_us, len(twins)), pa.timestamp("us", tz="UTC")),
            "temperature": 20.0 + (second * 7 + twin) % 997 / 16,
            "pressure": 1.0 + (second + twin) % 251 / 64,
        }
    ).replace_schema_metadata({"gemel.source": "/bench", "gemel.id": name})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _cpu_s(platform: Platform) -> tuple[float, float]:
    """Return the processor seconds so far of the server and of its database, those of ended backends included."""
    assert platform.process is not None
    leader = psutil.Process(platform.database_pid())
    ended = leader.cpu_times()
    database = ended.user + ended.system + ended.children_user + ended.children_system
    for child in leader.children(recursive=True):
        times = child.cpu_times()
        database += times.user + times.system
    own = psutil.Process(platform.process.pid).cpu_times()
    return own.user + own.system, database

"""A minute of events of the present as fast as they are taken: how many that are, and how long reads take beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import visible
from bench.arrow import stream
from bench.events import SHARDS, TWINS, Template, make_twins
from bench.figures import Figure, at_most, percentiles_ms, told
from bench.ingest import copy_samples_per_s
from bench.platform import MemoryWatch, Platform
from bench.reading import reading
from bench.wire import Connection, request_bytes
from gemel.base.clock import now_us

__all__ = ["Load", "Sending", "json", "measure"]

SECONDS = 60
SECONDS_MIN, SECONDS_MAX = 80, 800
"""Of the workload's own seconds, 10,000 samples each, that bare COPY is measured by."""
TURNS = 8
"""By how many sets of values bodies vary."""
WIDTH = TWINS // SHARDS
READ_MS_MAX = 25


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: a body holds an event of each of a shard's twins at each of `moments` source times.

    `make(shard, number, times_us)` returns the how many-th body of a shard.
    """

    name: str
    media_type: str
    moments: int
    goal: float
    """The least that samples/s may be of those of bare COPY."""
    make: Callable[[int, int, list[int]], bytes]


def json() -> Load:
    """Return the load of CloudEvents as lines, 5,000 in a request."""
    templates = [[Template(_twins(shard), turn) for turn in range(TURNS)] for shard in range(SHARDS)]

    def make(shard: int, number: int, times_us: list[int]) -> bytes:
        own = templates[shard]
        return b"\n".join(own[(number + turn) % TURNS].at(at_us) for turn, at_us in enumerate(times_us))

    return Load("json", "application/x-ndjson", 4, 0.5, make)


def arrow() -> Load:
    """Return the load of Arrow streams, 50,000 rows in a request."""

    def make(shard: int, number: int, times_us: list[int]) -> bytes:
        return stream(_twins(shard), times_us, f"{shard}-{number}")

    return Load("arrow", "application/vnd.apache.arrow.stream", 40, 2.0, make)


def measure(platform: Platform) -> list[Figure]:
    """Measure half of the load, then all that is taken, as JSON and as Arrow."""
    make_twins(platform)
    return [*visible.measure(platform), *run(platform, json()), *run(platform, arrow())]


def run(platform: Platform, load: Load, seconds: float = SECONDS) -> list[Figure]:
    """Send a load for some seconds from SHARDS connections, reading beside it; then bare COPY of as much, or less."""
    sending = Sending(platform, load)
    with MemoryWatch(platform) as memory, reading(platform) as reads:
        events_per_s = sending.run(seconds)
    samples_per_s = 2 * events_per_s
    own_seconds = int(sending.events / TWINS)
    limit = copy_samples_per_s(platform, max(SECONDS_MIN, min(own_seconds, SECONDS_MAX)))
    ratio = samples_per_s / limit
    name = f"load_{load.name}"
    figures = [
        told(f"{name}_events", events_per_s, "events/s"),
        Figure(
            f"{name}_copy",
            samples_per_s,
            "samples/s",
            limit,
            ratio,
            f">= {load.goal} of bare COPY",
            ratio >= load.goal,
        ),
        told(f"{name}_memory_peak", memory.peak_mib, "MiB"),
        *(told(f"{name}_ack_{order}", ms, "ms") for order, ms in percentiles_ms(sending.latencies_s).items()),
    ]
    for kind, latencies_s in reads.items():
        ms = percentiles_ms(latencies_s)
        figures += [
            told(f"{name}_{kind}_p50", ms["p50"], "ms"),
            at_most(f"{name}_{kind}_p95", ms["p95"], "ms", READ_MS_MAX),
            told(f"{name}_{kind}_p99", ms["p99"], "ms"),
        ]
    return figures


@dataclass(slots=True)
class Sending:
    """Sends a load, each shard on a connection of its own, one request after the other; what came of it."""

    platform: Platform
    load: Load
    events: int = 0
    latencies_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> float:
        """Send for some seconds; return events/s."""
        begun = time.perf_counter()
        threads = [
            threading.Thread(target=self._send, args=(shard, begun + seconds)) for shard in range(SHARDS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed_s = time.perf_counter() - begun
        if self.faults:
            raise RuntimeError(f"{len(self.faults)} requests failed, the first: {self.faults[0]}")
        self.events = len(self.latencies_s) * WIDTH * self.load.moments
        return self.events / elapsed_s

    def _send(self, shard: int, until: float) -> None:
        connection = Connection(self.platform.port)
        good = b'"accepted":%d' % (2 * WIDTH * self.load.moments)
        number, last_us = 0, now_us()
        while time.perf_counter() < until and not self.faults:
            # As a gateway that sends what it has heard since it sent last: no event is of the future, or late.
            at_us = max(now_us(), last_us + self.load.moments)
            times_us = [
                last_us + (at_us - last_us) * turn // self.load.moments
                for turn in range(1, self.load.moments + 1)
            ]
            last_us = at_us
            body = self.load.make(shard, number, times_us)
            request = request_bytes("POST", "/v1/events", self.platform.key, body, self.load.media_type)
            begun = time.perf_counter()
            status, answer = connection.send(request)
            self.latencies_s.append(time.perf_counter() - begun)
            if status != 200 or good not in answer:
                self.faults.append(f"{status} {answer[:300]!r}")
            number += 1
        connection.close()


def _twins(shard: int) -> range:
    return range(shard * WIDTH, (shard + 1) * WIDTH)

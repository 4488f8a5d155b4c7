"""Reads beside a load, from a process of their own, so that they do not wait for what sends it."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe

from bench.events import TWINS
from bench.platform import Platform
from bench.wire import Connection, request_bytes
from gemel.base.clock import iso_us, now_us

__all__ = ["Latencies", "reading"]

RATE_PER_S = 10
"""Of each kind of read."""
SPAN_US = 5_000_000
"""How much of a series a read wants; at most SERIES_LIMIT samples of it."""
SERIES_LIMIT = 100
ENDS_S = 30.0

Latencies = dict[str, list[float]]
"""By kind of read how long each took in s, from when it was due."""


@contextmanager
def reading(platform: Platform) -> Iterator[Latencies]:
    """Read series and twins as of random moments since now until the block ends; the times are there then."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_read, args=(theirs, platform.port, platform.key, now_us()))
    process.start()
    taken: Latencies = {}
    try:
        yield taken
        ours.send(None)
        if not ours.poll(ENDS_S):
            raise RuntimeError("the reads beside the load do not end")
        told = ours.recv()
        if isinstance(told, str):
            raise RuntimeError(f"a read beside the load failed: {told}")
        taken.update(told)
    finally:
        process.kill()
        process.join()


def _read(pipe: Pipe, port: int, key: str, since_us: int) -> None:
    connection = Connection(port)
    taken: Latencies = {"series": [], "twin": []}
    chance = random.Random(1)
    begun = time.perf_counter()
    number = 0
    while not pipe.poll():
        for kind, shift in (("series", 0.0), ("twin", 0.5)):
            due = begun + (number + shift) / RATE_PER_S
            time.sleep(max(0.0, due - time.perf_counter()))
            twin, at_us = chance.randrange(TWINS), chance.randint(since_us, now_us() - 1)
            path = _series_path(twin, at_us) if kind == "series" else _twin_path(twin, at_us)
            status, body = connection.send(request_bytes("GET", path, key))
            taken[kind].append(time.perf_counter() - due)
            if status != 200:
                pipe.send(f"{status} {body[:300]!r}")
                return
        number += 1
    pipe.send(taken)


def _series_path(twin: int, from_us: int) -> str:
    window = f"from={iso_us(from_us)}&to={iso_us(from_us + SPAN_US)}&limit={SERIES_LIMIT}"
    return f"/v1/twins/sensor-{twin}/history?path=temperature&{window}"


def _twin_path(twin: int, at_us: int) -> str:
    return f"/digitaltwins/sensor-{twin}?api-version=2023-10-31&asOf={iso_us(at_us)}"

"""Reading twins at a steady rate, and patching one hot twin from many clients."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from bench.events import MODEL, TWINS
from bench.figures import Figure, at_least, at_most, percentiles_ms, told
from bench.platform import Platform
from bench.wire import Connection, request_bytes

__all__ = ["measure"]

RATE_PER_S = 1_000
READ_S = 10
READERS = 16
PATCH_S = 8
PATCHERS = 48


def measure(platform: Platform) -> list[Figure]:
    """Measure GET at a rate, then patches of one twin."""
    latencies_s = read_at_rate(platform)
    read = percentiles_ms(latencies_s)
    patches_per_s, patched = patch_hot(platform)
    return [
        at_most("twin_get_p95", read["p95"], "ms", 10),
        told("twin_get_p50", read["p50"], "ms"),
        told("twin_get_p99", read["p99"], "ms"),
        at_least("hot_twin_patches", patches_per_s, "patches/s", 1_000),
        *(told(f"hot_twin_patch_{name}", value, "ms") for name, value in percentiles_ms(patched).items()),
    ]


def read_at_rate(platform: Platform) -> list[float]:
    """GET twins at RATE_PER_S; each latency counts from when the request was due, late starts included."""
    latencies_s: list[float] = []
    begun = time.perf_counter() + 0.2

    def read(reader: int) -> None:
        connection = Connection(platform.port)
        for turn in range(RATE_PER_S * READ_S // READERS):
            number = turn * READERS + reader
            due = begun + number / RATE_PER_S
            time.sleep(max(0.0, due - time.perf_counter()))
            path = f"/digitaltwins/sensor-{number * 7919 % TWINS}?api-version=2023-10-31"
            status, body = connection.send(request_bytes("GET", path, platform.key))
            latencies_s.append(time.perf_counter() - due)
            assert status == 200, body
        connection.close()

    _together(read, READERS)
    return latencies_s


def patch_hot(platform: Platform) -> tuple[float, list[float]]:
    """Patch one twin from PATCHERS connections; every answer is checked, and every patch must be in history."""
    path = "/digitaltwins/hot?api-version=2023-10-31"
    with platform.client() as client:
        client.put(path, json={"$metadata": {"$model": MODEL["@id"]}, "setpoint": -1.0}).raise_for_status()
    latencies_s: list[float] = []
    begun = time.perf_counter()

    def patch(patcher: int) -> None:
        connection = Connection(platform.port)
        number = 0
        while time.perf_counter() - begun < PATCH_S:
            operations = [{"op": "replace", "path": "/setpoint", "value": patcher * 1e6 + number}]
            body = json.dumps(operations).encode()
            sent = time.perf_counter()
            status, answer = connection.send(
                request_bytes("PATCH", path, platform.key, body, "application/json-patch+json")
            )
            latencies_s.append(time.perf_counter() - sent)
            assert status == 204, answer
            number += 1
        connection.close()

    _together(patch, PATCHERS)
    elapsed_s = time.perf_counter() - begun
    kept = _history_count(platform)
    assert kept == len(latencies_s) + 1, f"{kept} samples for {len(latencies_s)} patches and one PUT"
    return len(latencies_s) / elapsed_s, latencies_s


def _history_count(platform: Platform) -> int:
    with platform.client() as client:
        answer = client.get(
            "/v1/twins/hot/history", params={"path": "setpoint", "every": "3650d", "agg": "count"}
        )
        answer.raise_for_status()
        rows = answer.json()["values"]
    return sum(int(row["count"]) for row in rows)


def _together(work: Callable[[int], None], clients: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

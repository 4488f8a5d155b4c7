"""Three times what it can take: refusals with Retry-After, bounded memory, nothing acknowledged lost."""

from __future__ import annotations

import threading
import time

from bench.events import MODEL
from bench.figures import Figure, at_least, at_most, told
from bench.platform import MemoryWatch, Platform
from bench.wire import Connection, request_bytes

__all__ = ["measure"]

CLIENTS = 60
SECONDS = 12
BODY_EVENTS = 5_000
EVENT = (
    '{"specversion":"1.0","id":"%d","source":"/overload","type":"t","subject":"flood-%d",'
    '"time":"2026-02-%02dT%02d:%02d:%02d.%06dZ","data":{"temperature":%d.5,"pressure":1.5}}'
)


def measure(platform: Platform, capacity_events_per_s: float) -> list[Figure]:
    """Offer three times the capacity from CLIENTS connections, then count what was kept."""
    _make_twins(platform)
    offered_per_s = 3 * capacity_events_per_s
    acknowledged = [0] * CLIENTS
    refused: list[bool] = []
    bodies = [[_body(client, turn) for turn in range(6)] for client in range(CLIENTS)]
    begun = time.perf_counter()

    def flood(client: int) -> None:
        connection = Connection(platform.port)
        turn = 0
        while (now := time.perf_counter() - begun) < SECONDS:
            due = (turn * CLIENTS + client) * BODY_EVENTS / offered_per_s
            time.sleep(max(0.0, due - now))
            body = bodies[client][turn % 6].replace(b"2026-02-01", b"2026-02-%02d" % (1 + turn // 6 % 20))
            request = request_bytes("POST", "/v1/events", platform.key, body, "application/x-ndjson")
            try:
                status, answer = connection.send(request)
            except (ConnectionError, OSError):
                connection.close()
                connection = Connection(platform.port)
                turn += 1
                continue
            if status == 200:
                acknowledged[client] += BODY_EVENTS
            else:
                assert status == 429, answer
                refused.append(True)
            turn += 1
        connection.close()

    with MemoryWatch(platform) as memory:
        threads = [threading.Thread(target=flood, args=(client,)) for client in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    kept = [_kept(platform, client) for client in range(CLIENTS)]
    lost = sum(max(0, told_ - held) for told_, held in zip(acknowledged, kept, strict=True))
    return [
        at_most("overload_memory_peak", memory.peak_mib, "MiB", 400),
        at_most("overload_acknowledged_lost", lost, "events", 0),
        at_least("overload_refusals", len(refused), "requests", 1),
        told("overload_acknowledged", sum(acknowledged) / SECONDS, "events/s"),
    ]


def _make_twins(platform: Platform) -> None:
    with platform.client() as client:
        for number in range(CLIENTS):
            body = {"$metadata": {"$model": MODEL["@id"]}}
            client.put(f"/digitaltwins/flood-{number}?api-version=2023-10-31", json=body).raise_for_status()


def _body(client: int, turn: int) -> bytes:
    lines = []
    for number in range(BODY_EVENTS):
        hour, second = turn, number % 3600
        lines.append(
            EVENT % (number, client, 1, hour, second // 60, second % 60, number // 3600 * 1000, number % 90)
        )
    return "\n".join(lines).encode()


def _kept(platform: Platform, client: int) -> int:
    with platform.client() as http:
        answer = http.get(
            f"/v1/twins/flood-{client}/history",
            params={"path": "temperature", "every": "3650d", "agg": "count"},
        )
        answer.raise_for_status()
        return sum(int(row["count"]) for row in answer.json()["values"])

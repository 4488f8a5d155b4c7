"""Half of the load, sent at fixed moments: how long from when an event was due to be sent until it is visible."""

from __future__ import annotations

import threading
import time

import msgspec

from bench.events import TWINS, Template
from bench.figures import Figure, at_most, percentiles_ms, told
from bench.platform import Platform
from bench.wire import Connection, request_bytes
from gemel.base.clock import iso_us, now_us

__all__ = ["measure"]

EVENTS_PER_S = 50_000
SECONDS = 30
REQUEST_EVENTS = 1_000
SENDERS = 8
LOOK_EVERY = 5
"""Of how many requests one is looked for by a read; to do so for each would add as many requests."""
GROUPS = TWINS // REQUEST_EVENTS
TURNS = 3
STEP_S = REQUEST_EVENTS / EVENTS_PER_S
GOALS_MS = {"p50": 50, "p95": 250, "p99": 1000}


def measure(platform: Platform, seconds: float = SECONDS) -> list[Figure]:
    """Send EVENTS_PER_S for some seconds: each request has an event of 1,000 twins, of the moment when it is due."""
    sending = _Sending(platform, int(seconds / STEP_S))
    sending.run()
    acknowledged, visible = percentiles_ms(sending.acknowledged_s), percentiles_ms(sending.visible_s)
    return [
        *(told(f"half_ack_{order}", ms, "ms") for order, ms in acknowledged.items()),
        *(at_most(f"half_visible_{order}", ms, "ms", GOALS_MS[order]) for order, ms in visible.items()),
    ]


class _Sending:
    """Requests by number, each at its moment, whatever those before it take."""

    def __init__(self, platform: Platform, count: int) -> None:
        self._platform = platform
        self._count = count
        self._templates = [
            [
                Template(range(group * REQUEST_EVENTS, (group + 1) * REQUEST_EVENTS), turn)
                for turn in range(TURNS)
            ]
            for group in range(GROUPS)
        ]
        self._begun, self._begun_us = 0.0, 0
        self.acknowledged_s: list[float] = []
        self.visible_s: list[float] = []
        self._faults: list[str] = []

    def run(self) -> None:
        """Send all; raises RuntimeError where one is refused, or is acknowledged and not visible."""
        self._begun, self._begun_us = time.perf_counter(), now_us()
        threads = [threading.Thread(target=self._send, args=(sender,)) for sender in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._faults:
            raise RuntimeError(f"{len(self._faults)} requests failed, the first: {self._faults[0]}")

    def _send(self, sender: int) -> None:
        connection = Connection(self._platform.port)
        good = b'"accepted":%d' % (2 * REQUEST_EVENTS)
        for number in range(sender, self._count, SENDERS):
            due = self._begun + number * STEP_S
            due_us = self._begun_us + int(number * STEP_S * 1e6)
            time.sleep(max(0.0, due - time.perf_counter()))
            body = self._templates[number % GROUPS][number % TURNS].at(due_us)
            request = request_bytes("POST", "/v1/events", self._platform.key, body, "application/x-ndjson")
            status, answer = connection.send(request)
            self.acknowledged_s.append(time.perf_counter() - due)
            if status != 200 or good not in answer:
                self._faults.append(f"{status} {answer[:300]!r}")
                break
            if number // SENDERS % LOOK_EVERY == 0:
                twin = number % GROUPS * REQUEST_EVENTS + number % REQUEST_EVENTS
                path = f"/v1/twins/sensor-{twin}/telemetry"
                answer = connection.send(request_bytes("GET", path, self._platform.key))[1]
                self.visible_s.append(time.perf_counter() - due)
                # A later one may be there already.
                shown = msgspec.json.decode(answer)["values"]["temperature"]["sourceTime"]
                if shown < iso_us(due_us):
                    self._faults.append(
                        f"sensor-{twin}: {due_us} is acknowledged and not visible: {answer[:300]!r}"
                    )
        connection.close()

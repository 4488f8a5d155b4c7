"""The sender: events go out when they are due, in small batches, and each batch until it is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from gemel.base.errors import EnvironmentFaultError, GemelError, OverloadedError, UnavailableError
from gemel.connectors.sender import Server
from gemel.demo.counts import Counts
from gemel.demo.feeds import Outgoing
from gemel.demo.replay import Pacer
from gemel.ingest.requests import IngestResult

__all__ = ["Sender"]

NDJSON = {"Content-Type": "application/x-ndjson"}
PATIENCE_S = 30.0
PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends a feed; `age_ms` is how long ago, by the feed's own clock, a source time (µs) was."""

    server: Server
    pacer: Pacer
    age_ms: Callable[[int], float]
    counts: Counts
    stopped: threading.Event

    def run(self, feed: Iterable[Outgoing]) -> None:
        """Send until the feed ends or `stopped` is set; whatever counts was acknowledged.

        Raises GemelError for what the platform refuses, and where it does not answer for PATIENCE_S.
        """
        for batch in self.pacer.batches((event.due_us, event) for event in feed):
            if self.stopped.is_set():
                return
            result = self._delivered(b"\n".join(event.line for event in batch))
            if result is None:
                return
            lags_ms = [self.age_ms(event.due_us) for event in batch]
            self.counts.add(result, batch, lags_ms)

    def _delivered(self, body: bytes) -> IngestResult | None:
        """Send a request until it is answered; None where the end came first. Repeats do no harm."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.server.send("POST", "/v1/events", content=body, headers=NDJSON)
                return msgspec.json.decode(answer.content, type=IngestResult)
            except (OverloadedError, UnavailableError, EnvironmentFaultError) as error:
                if time.monotonic() > deadline_s or not _passes(error):
                    raise
            if self.stopped.wait(PAUSE_S):
                return None


def _passes(error: GemelError) -> bool:
    return not isinstance(error, EnvironmentFaultError) or error.code == "ServerUnreachable"

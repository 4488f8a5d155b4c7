"""Bytes that come and go for each tenant, counted in this process until somebody takes them to keep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from gemel.base.clock import now_us

__all__ = ["GRPC", "HOUR_US", "HTTP", "Key", "Traffic", "Volume"]

HTTP = "http"
GRPC = "grpc"
HOUR_US = 3_600_000_000


class Key(NamedTuple):
    """Whose traffic, in the hour that starts at `hour_us`, and by which way: http, grpc, sink:KIND or source:KIND."""

    tenant: int
    hour_us: int
    channel: str


class Volume(NamedTuple):
    """How many calls, messages or batches, and how many bytes of bodies were received and sent by us."""

    calls: int = 0
    received: int = 0
    sent: int = 0

    def plus(self, other: Volume) -> Volume:
        """Return the sum of both."""
        return Volume(self.calls + other.calls, self.received + other.received, self.sent + other.sent)


class Traffic:
    """Sums by tenant, hour and channel; any thread may add."""

    def __init__(self, clock_us: Callable[[], int] = now_us) -> None:
        self._clock_us = clock_us
        self._lock = threading.Lock()
        # By tenant, hour and channel, as a Key has them; lists, since this is done several times a request.
        self._held: dict[tuple[int, int, str], list[int]] = {}

    def add(self, tenant: int, channel: str, *, calls: int = 0, received: int = 0, sent: int = 0) -> None:
        """Count some calls and bytes of a tenant, now."""
        self._add((tenant, self._clock_us() // HOUR_US * HOUR_US, channel), calls, received, sent)

    def take(self) -> dict[Key, Volume]:
        """Return what was counted since the last time; it is no longer held here."""
        with self._lock:
            taken, self._held = self._held, {}
        return {Key(*key): Volume(*counts) for key, counts in taken.items()}

    def give_back(self, taken: dict[Key, Volume]) -> None:
        """Hold again what could not be kept."""
        for key, volume in taken.items():
            self._add(key, *volume)

    def _add(self, key: tuple[int, int, str], calls: int, received: int, sent: int) -> None:
        with self._lock:
            held = self._held.get(key)
            if held is None:
                self._held[key] = [calls, received, sent]
                return
            held[0] += calls
            held[1] += received
            held[2] += sent

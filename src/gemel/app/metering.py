"""The worker that keeps what each tenant costs: its traffic every few seconds, what is stored of it now and then."""

from __future__ import annotations

import asyncio
import threading
import time

import psycopg
import structlog

from gemel.observe.traffic import Traffic
from gemel.store.sizes import Gauge, keep_stored
from gemel.store.traffic import fold_traffic, keep_traffic

__all__ = ["Metering"]

KEEP_EVERY_S = 5.0
"""What a crash loses of the counts of traffic."""
MEASURE_EVERY_S = 60.0

log = structlog.get_logger(__name__)


class Metering:
    """Keeps what this process counts, and measures what is stored; while the database is away, both wait."""

    def __init__(self, owner_dsn: str, traffic: Traffic) -> None:
        self._owner_dsn = owner_dsn
        self._traffic = traffic
        self._stopped = threading.Event()
        self._gauge = Gauge()
        self._measured_s: float | None = None

    async def run(self) -> None:
        """Keep and measure until stopped; what was counted by then is kept before this ends."""
        while True:
            try:
                await asyncio.to_thread(self._turn)
            except Exception as error:
                log.warning("metering failed", error=f"{type(error).__name__}: {error}")
            if await asyncio.to_thread(self._stopped.wait, KEEP_EVERY_S):
                return

    def stop(self) -> None:
        """Keep what was counted until now, and end."""
        self._stopped.set()

    def _turn(self) -> None:
        with psycopg.connect(self._owner_dsn, autocommit=True) as owner:
            # Parallel workers would take the cores of those who wait for an answer.
            owner.execute("SET max_parallel_workers_per_gather = 0")
            while True:
                self._measure(owner)
                ended = self._stopped.wait(KEEP_EVERY_S)
                self._keep(owner)
                if ended:
                    return

    def _measure(self, owner: psycopg.Connection) -> None:
        if self._measured_s is None or time.monotonic() - self._measured_s > MEASURE_EVERY_S:
            measured = self._gauge.measure(owner, self._stopped.is_set)
            if measured is not None:
                keep_stored(owner, measured)
                fold_traffic(owner)
            self._measured_s = time.monotonic()

    def _keep(self, owner: psycopg.Connection) -> None:
        taken = self._traffic.take()
        if not taken:
            return
        try:
            keep_traffic(owner, taken)
        except psycopg.Error:
            self._traffic.give_back(taken)
            raise

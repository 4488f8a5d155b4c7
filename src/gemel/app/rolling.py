"""The worker that keeps roll-ups up to date: one process folds at a time, tenant by tenant, beside serving."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import structlog

from gemel.base.clock import now_us
from gemel.history.rollups import count_stale, fold_tenant, take_turn, tenants_to_fold
from gemel.observe.metrics import Metrics

__all__ = ["Rolling"]

EVERY_S = 60.0
PAUSE_S = 0.25
"""Between two statements, which take about half a second each: so a long backlog takes about half of a core."""

log = structlog.get_logger(__name__)


class Rolling:
    """Folds what is over and what became stale, each minute, while this process has the turn; else it waits for it."""

    def __init__(self, owner_dsn: str, metrics: Metrics) -> None:
        self._owner_dsn = owner_dsn
        self._metrics = metrics
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Fold until cancelled; `stop` ends the work of the moment."""
        while not self._stopped.is_set():
            try:
                await asyncio.to_thread(self._turn)
            except Exception as error:
                log.warning("roll-ups failed", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(EVERY_S)

    def stop(self) -> None:
        """End after the statement that runs, which takes about half a second."""
        self._stopped.set()

    def _turn(self) -> None:
        with psycopg.connect(self._owner_dsn, autocommit=True) as owner:
            if not take_turn(owner):
                self._stopped.wait(EVERY_S)
                return
            # Parallel workers would take the cores of those who wait for an answer.
            owner.execute("SET max_parallel_workers_per_gather = 0")
            while not self._stopped.is_set():
                self._fold(owner)
                self._stopped.wait(EVERY_S)

    def _fold(self, owner: psycopg.Connection[tuple[object, ...]]) -> None:
        lags_s = [0.0]
        for tenant in tenants_to_fold(owner):
            folded = fold_tenant(owner, tenant, now_us(), lambda: not self._stopped.wait(PAUSE_S))
            self._metrics.rollups.inc(folded.rows)
            if folded.rolled_us is not None:
                lags_s.append((now_us() - folded.rolled_us) / 1e6)
        self._metrics.show_rollups(max(lags_s), count_stale(owner))

"""What is done beside serving: weeks made ahead, old ids and changes forgotten, what is due given up."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import structlog

from gemel.base.clock import now_us
from gemel.base.settings import Settings
from gemel.history.changes import forget_changes
from gemel.history.cold_weeks import apply_freezing
from gemel.history.freezing import Frozen
from gemel.history.retention import apply_retention
from gemel.history.weeks import Weeks
from gemel.ingest.expiry import apply_expiry
from gemel.ingest.seen import forget_seen
from gemel.jobs.records import purge_jobs

__all__ = ["Maintenance"]

EVERY_S = 3600.0
AGAIN_S = 30.0

log = structlog.get_logger(__name__)


class Maintenance:
    """Runs each duty at start and then hourly; one that fails is told of and tried again within a minute."""

    def __init__(self, settings: Settings, owner_dsn: str, weeks: Weeks) -> None:
        self._settings = settings
        self._owner_dsn = owner_dsn
        self._weeks = weeks
        self._stopping = threading.Event()

    async def run(self) -> None:
        """Do the duties until cancelled."""
        try:
            await self._repeat()
        finally:
            self._stopping.set()

    async def _repeat(self) -> None:
        while True:
            try:
                await self._weeks.ensure_ahead(now_us())
                await asyncio.to_thread(self._forget)
                retained = await asyncio.to_thread(apply_retention, self._owner_dsn)
                if retained.leaves:
                    self._weeks.forget()
                    log.info("retention", leaves=retained.leaves, deleted=retained.deleted)
                frozen = await asyncio.to_thread(self._freeze)
                if frozen:
                    log.info("weeks frozen", weeks=[week._asdict() for week in frozen])
            except Exception as error:
                # Whatever it was: without weeks made ahead, writes would fail before long.
                log.warning("maintenance failed", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(AGAIN_S)
            else:
                await asyncio.sleep(EVERY_S)

    def _freeze(self) -> list[Frozen]:
        return apply_freezing(self._owner_dsn, self._settings.cold_store, lambda: not self._stopping.is_set())

    def _forget(self) -> None:
        with psycopg.connect(self._owner_dsn, autocommit=True) as owner:
            forget_seen(owner, self._settings.dedupe_window_h)
            forget_changes(owner, self._settings.change_days)
            purge_jobs(owner)
            for tenant, counts in apply_expiry(owner).items():
                log.info("quarantine expired", tenant=tenant, counts=counts)

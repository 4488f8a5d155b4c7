"""What is looked up now and then so that metrics can show it: names of tenants, and how sources stand."""

from __future__ import annotations

import asyncio

import psycopg
import structlog

from gemel.observe.exposition import Outside
from gemel.security.tenants import tenant_names
from gemel.sources.records import source_states

__all__ = ["Lookout"]

EVERY_S = 5.0
CONNECT_S = 5

log = structlog.get_logger(__name__)


class Lookout:
    """Looks every EVERY_S, on the owner's connection; while the database is away what was found stands."""

    def __init__(self, owner_dsn: str, outside: Outside) -> None:
        self._owner_dsn = owner_dsn
        self._outside = outside

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._look)
            except psycopg.Error as error:
                log.debug("no look at tenants", error=str(error).strip())
            except Exception as error:
                log.warning("look at tenants failed", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(EVERY_S)

    def _look(self) -> None:
        with psycopg.connect(self._owner_dsn, autocommit=True, connect_timeout=CONNECT_S) as owner:
            self._outside.tenants = tenant_names(owner)
            self._outside.sources = source_states(owner)

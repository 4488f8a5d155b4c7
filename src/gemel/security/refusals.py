"""Recording refused calls, and not without end: those of strangers are counted where they come too fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gemel.observe.logs import get_log
from gemel.observe.trace import new_trace
from gemel.security.audit import PLATFORM, AuditEntry, record_refusal
from gemel.store.database import Database

__all__ = ["ROWS_PER_S_MAX", "Refusals", "RowBudget"]

ROWS_PER_S_MAX = 20
WINDOW_S = 1.0

log = get_log(__name__)


class RowBudget:
    """At most `rows` in a window of a second that starts with its first; what is over is counted."""

    def __init__(self, rows: int = ROWS_PER_S_MAX) -> None:
        self._rows = rows
        self._start_s = float("-inf")
        self._taken = 0
        self._suppressed = 0

    def take(self, now_s: float) -> bool:
        """Say whether one more row may be written at this time of a monotonic clock; count it if not."""
        if now_s - self._start_s >= WINDOW_S:
            self._start_s, self._taken = now_s, 0
        if self._taken < self._rows:
            self._taken += 1
            return True
        self._suppressed += 1
        return False

    def collect(self) -> int:
        """Return how many were suppressed since the last call of this."""
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


class Refusals:
    """Writes the audit rows of refused calls; a flood of those without a key becomes one row a second.

    A call with a key is always recorded, under its tenant: whoever floods that trail is named in it.
    """

    def __init__(self, database: Database, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock_s = clock_s
        self._budget = RowBudget()
        self._counting = False
        self._summaries: set[asyncio.Task[None]] = set()

    async def record(self, tenant: int, entry: AuditEntry) -> None:
        """Append an entry, or count it; what cannot be written is told in the log."""
        if tenant != PLATFORM or self._budget.take(self._clock_s()):
            await self._write(tenant, entry)
        elif not self._counting:
            self._counting = True
            summary = asyncio.create_task(self._summarize())
            # Held here, since the loop itself would let go of a task that nobody holds.
            self._summaries.add(summary)
            summary.add_done_callback(self._summaries.discard)

    async def _summarize(self) -> None:
        try:
            await asyncio.sleep(WINDOW_S)
        finally:
            # Without an await between: whoever is refused after this starts the next count. Told even at a stop.
            count, self._counting = self._budget.collect(), False
            log.warning("refusals suppressed", count=count)
        trace_id = new_trace().trace_id
        await self._write(
            PLATFORM,
            AuditEntry("unknown", None, "refusal.suppress", f"suppressed {count}", "Overloaded", trace_id),
        )

    async def _write(self, tenant: int, entry: AuditEntry) -> None:
        try:
            await record_refusal(self._database, tenant, entry)
        except Exception as failure:
            # The caller's refusal is answered all the same; what could not be recorded is told here.
            log.error(
                "refusal not recorded",
                action=entry.action,
                target=entry.target,
                result=entry.result,
                error=str(failure),
            )

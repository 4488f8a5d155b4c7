"""Recording refused calls: each has its own audit row, and those that come together share a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from uuid import uuid4

import msgspec
import psycopg

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import UnavailableError
from gemel.observe.logs import get_log
from gemel.security.audit import PLATFORM, AuditEntry, audit_columns, storable, storable_entry
from gemel.security.spool import Refusal, Spool
from gemel.store.database import Database
from gemel.store.gather import Gatherer

__all__ = ["Refusals"]

GROUP_MAX = 500
EMPTY_EVERY_S = 1.0
CLOSE_S_MAX = 5.0
ROW_FAULTS = (psycopg.DataError, psycopg.IntegrityError)
# The id makes it harmless to write a row again whose first writing ended in an unknown way.
INSERT_REFUSALS = """
INSERT INTO audit (tenant, at, refusal, actor, key_id, action, target, result, trace_id)
SELECT %s, to_timestamp(0) + r.at_us * interval '1 microsecond', r.refusal, r.actor, r.key_id, r.action, r.target,
       r.result, r.trace_id
FROM unnest(%s::bigint[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
     AS r(at_us, refusal, actor, key_id, action, target, result, trace_id)
ON CONFLICT DO NOTHING"""

log = get_log(__name__)


class Refusals:
    """Writes the audit rows of refused calls; while the database is away they wait in a spool on disk.

    `record` returns when the row is durable in one of the two, so that whoever floods us waits for their own
    rows and what is held in memory is bounded by the open requests. `run` empties the spool into the trail,
    each row once, whatever ended between. Nothing here waits for a writer of the tenant.
    """

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool
        self._rows: Gatherer[Refusal, None] = Gatherer(self._insert, weight_max=GROUP_MAX)
        self._lines: Gatherer[Refusal, bool] = Gatherer(self._append, weight_max=GROUP_MAX)
        self._emptying = asyncio.Lock()

    async def record(self, tenant: int, entry: AuditEntry, *, database_lost: bool = False) -> None:
        """Record a refusal; with `database_lost` without asking the database, so that the answer is quick.

        What cannot be kept either way, the spool being full, is told in the log with all that the row would say.
        """
        refusal = Refusal(uuid4(), tenant, now_us(), storable_entry(entry))
        if not database_lost and await self._settle(refusal):
            return
        try:
            is_kept = await self._lines.submit(PLATFORM, refusal)
        except Exception as failure:
            # The caller's refusal is answered all the same.
            _tell_lost(refusal, f"the spool cannot be written: {failure}")
        else:
            if not is_kept:
                _tell_lost(refusal, "the spool is full")

    async def run(self) -> None:
        """Empty the spool whenever there is something in it and the database is there, until cancelled."""
        while True:
            if self._database.reachable and not self._spool.is_empty():
                try:
                    await self.empty()
                except Exception as error:
                    # Whatever it was: what waits is safe, and the next turn is soon.
                    log.warning("refusals wait in the spool", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(EMPTY_EVERY_S)

    async def empty(self) -> None:
        """Write all that waits in the spool to the trail; raise UnavailableError where the database is lost."""
        async with self._emptying:
            while await asyncio.to_thread(self._spool.take):
                count = 0
                with closing(self._spool.chunks()) as chunks:
                    while chunk := await asyncio.to_thread(next, chunks, ()):
                        if not all(await asyncio.gather(*map(self._settle, chunk))):
                            raise _unavailable()
                        count += len(chunk)
                await asyncio.to_thread(self._spool.drop)
                log.info("refusals written from the spool", count=count)

    async def close(self) -> None:
        """Wait until every refusal is durable, and empty the spool if that can be done in CLOSE_S_MAX."""
        await self._rows.close()
        await self._lines.close()
        with suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(CLOSE_S_MAX):
                await self.empty()

    async def _settle(self, refusal: Refusal) -> bool:
        """Write the row, and say False where the database cannot take any now.

        One that its tenant's trail cannot take, the tenant being gone, goes to the platform's.
        """
        moved = replace(refusal.entry, target=storable(f"tenant {refusal.tenant}: {refusal.entry.target}"))
        homes = [refusal, msgspec.structs.replace(refusal, tenant=PLATFORM, entry=moved)]
        fault = ""
        for row in homes if refusal.tenant != PLATFORM else homes[:1]:
            try:
                await self._rows.submit(row.tenant, row)
            except UnavailableError:
                return False
            except Exception as failure:
                # Of this row alone: the gatherer has tried it without its neighbours.
                fault = str(failure.__cause__ or failure)
            else:
                return True
        _tell_lost(refusal, fault)
        return True

    async def _insert(self, tenant: int, refusals: list[Refusal]) -> Sequence[None]:
        times = [refusal.at_us for refusal in refusals]
        ids = [refusal.refusal for refusal in refusals]
        texts = audit_columns([refusal.entry for refusal in refusals])
        try:
            # The head is not locked: nothing but audit rows is written, and they have their own numbers.
            await self._database.query(tenant, INSERT_REFUSALS, (tenant, times, ids, *texts), read_only=False)
        except ROW_FAULTS:
            raise
        except psycopg.Error as error:
            # A full disk, too many connections: no fault of any row, and it will pass.
            raise _unavailable() from error
        return [None] * len(refusals)

    async def _append(self, _: int, refusals: list[Refusal]) -> Sequence[bool]:
        return await asyncio.to_thread(self._spool.append, refusals)


def _tell_lost(refusal: Refusal, why: str) -> None:
    log.error(
        "refusal not recorded",
        why=why,
        tenant=refusal.tenant,
        at=iso_us(refusal.at_us),
        **asdict(refusal.entry),
    )


def _unavailable() -> UnavailableError:
    return UnavailableError("DatabaseUnavailable", "The database takes no audit rows now.", retry_after_s=1)

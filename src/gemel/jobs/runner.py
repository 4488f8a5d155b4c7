"""The worker of jobs: takes those that nobody works on, one at a time of each tenant, and sees them through.

A job is held by a lease that each commit renews, and a heartbeat between commits. Whoever's lease is gone
rolls back: so a job has one worker, whatever dies when, and the next one goes on from the last commit.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from gemel.base.errors import GemelError, InternalError, UnavailableError
from gemel.jobs.conclusion import conclude
from gemel.jobs.deleting import run_deletion
from gemel.jobs.import_step import fail
from gemel.jobs.importing import run_import
from gemel.jobs.inputs import CancelledEarlyError, open_input
from gemel.jobs.progress import error_of
from gemel.jobs.records import LeaseLostError, claim, free_jobs, release, renew, waiting_tenants
from gemel.jobs.service import Jobs
from gemel.jobs.work import Work
from gemel.observe.logs import get_log

__all__ = ["JobRunner", "RunnerOptions"]

T = TypeVar("T")
AGAIN_S = 1.0
TRANSIENT = (
    UnavailableError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
)

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How the worker looks for jobs and holds them.

    `alone` where no other server can be at work on this database: then jobs that a killed one held are taken
    up at once, and not when their lease is over.
    """

    look_s: float = 5.0
    lease_s: float = 20.0
    at_once_max: int = 2
    alone: bool = False


class JobRunner:
    """Works on jobs until it is stopped; `stop` ends the batches under way and leaves the rest for later."""

    def __init__(self, jobs: Jobs, owner_dsn: str, options: RunnerOptions) -> None:
        self._jobs = jobs
        self._owner_dsn = owner_dsn
        self._options = options
        self._stopping = False
        self._running: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for jobs and work on them until stopped."""
        fresh = self._options.alone
        while not self._stopping:
            self._jobs.wake.clear()
            try:
                if fresh:
                    await asyncio.to_thread(self._owner, free_jobs)
                    fresh = False
                for tenant in await asyncio.to_thread(self._owner, waiting_tenants):
                    self._start(tenant)
            except psycopg.Error as error:
                log.debug("no look for jobs", error=f"{type(error).__name__}: {error}")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._jobs.wake.wait(), self._options.look_s)

    async def stop(self) -> None:
        """Stop after the batches under way."""
        self._stopping = True
        self._jobs.wake.set()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _owner(self, act: Callable[[psycopg.Connection], T]) -> T:
        with psycopg.connect(self._owner_dsn, autocommit=True) as owner:
            return act(owner)

    def _start(self, tenant: int) -> None:
        if tenant in self._running or len(self._running) >= self._options.at_once_max or self._stopping:
            return
        task = asyncio.create_task(self._serve(tenant))
        self._running[tenant] = task
        task.add_done_callback(lambda _: self._done(tenant))

    def _done(self, tenant: int) -> None:
        self._running.pop(tenant, None)
        self._jobs.wake.set()

    async def _serve(self, tenant: int) -> None:
        worker = secrets.token_hex(8)
        try:
            async with self._jobs.database.write(tenant) as tx:
                job = await claim(tx, worker, self._options.lease_s, self._jobs.spool.uploads)
            if job is None:
                return
            holder = (worker, self._options.lease_s)
            work = Work(self._jobs.database, self._jobs.context, tenant, job, holder, lambda: self._stopping)
            log.info("job taken", tenant=tenant, kind=job.kind, job=job.job_id, line=job.progress.line)
            beat = asyncio.create_task(self._beat(work))
            try:
                await self._work(work)
            finally:
                beat.cancel()
                with suppress(GemelError, psycopg.Error):
                    await release(self._jobs.database, tenant, worker)
            log.info("job left", tenant=tenant, kind=job.kind, job=job.job_id, outcome=job.progress.outcome)
        except LeaseLostError:
            log.warning("job lost to another worker", tenant=tenant)
        except TRANSIENT as error:
            log.info("job interrupted", tenant=tenant, error=str(error))
            await asyncio.sleep(AGAIN_S)

    async def _work(self, work: Work) -> None:
        try:
            done = bool(work.job.progress.outcome) or await self._go_on(work)
        except (LeaseLostError, *TRANSIENT):
            raise
        except CancelledEarlyError:
            await fail(work, "cancelled", None)
            done = True
        except Exception as error:
            # Whatever it was, it would be again: the job has failed, and does not come back for ever.
            known = error if isinstance(error, GemelError) else None
            if known is None:
                log.exception("job failed", tenant=work.tenant, job=work.job.job_id)
            told = known or InternalError("InternalError", "A defect of ours ended the job; the log has it.")
            await fail(work, "failed", error_of(told))
            done = True
        if done:
            await conclude(self._jobs, work)

    async def _go_on(self, work: Work) -> bool:
        if work.job.kind == "deletion":
            return await run_deletion(work)
        if work.job.status == "cancelling":
            raise CancelledEarlyError
        with await open_input(self._jobs, work) as file:
            return await run_import(work, file)

    async def _beat(self, work: Work) -> None:
        """Hold the job while a fetch or a long batch goes on, and hear of a cancellation."""
        worker, lease_s = work.holder
        while True:
            await asyncio.sleep(lease_s / 4)
            with suppress(GemelError, psycopg.Error):
                status = await renew(work.database, work.tenant, worker, lease_s)
                if status is not None:
                    work.job.status = status

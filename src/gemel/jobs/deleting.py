"""One deletion at work: all relationships, then all twins, then all models, in commits of bounded size.

What it needs to go on is in the graph itself: what is gone is gone, and the rest is still there.
"""

from __future__ import annotations

import msgspec

from gemel.base.clock import now_us
from gemel.graph.bulk_delete import delete_all_models, delete_some_relationships, delete_some_twins
from gemel.jobs.progress import JobError, Progress, log_line
from gemel.jobs.records import checkpoint
from gemel.jobs.work import Work
from gemel.security.audit import record
from gemel.store.database import WriteTransaction

__all__ = ["run_deletion"]

BATCH = 2_000


async def run_deletion(work: Work) -> bool:
    """Go on with a deletion till its outcome is known; return False where it was paused before.

    Raises UnavailableError where the database is gone, LeaseLostError where another has the job.
    """
    while not work.job.progress.outcome:
        if work.pause():
            return False
        await _step(work)
    return True


async def _step(work: Work) -> None:
    progress = msgspec.structs.replace(work.job.progress, counts=dict(work.job.progress.counts))
    async with work.database.write(work.tenant) as tx:
        name, number = await _delete(work, tx)
        progress.count(name, number)
        log: list[str] = []
        deadline_us = work.job.deadline_us
        if not number:
            _end(work, progress, log, None)
        elif deadline_us is not None and now_us() > deadline_us:
            message = "The time for the deletion is over; what is left can be deleted by another."
            _end(work, progress, log, JobError("TimeoutError", message))
        work.job.status = await checkpoint(tx, work.job, progress, work.holder, log)
        if number:
            target = f"{work.job.job_id} ({number} {name})"
            await record(tx, [work.job.entry("deletion.write", target)])
    work.job.progress = progress


async def _delete(work: Work, tx: WriteTransaction) -> tuple[str, int]:
    """Delete the next of what is left: twins only while there are no relationships, models without twins."""
    if number := await delete_some_relationships(tx, BATCH):
        return "relationships", number
    if number := await delete_some_twins(tx, work.context, BATCH):
        return "twins", number
    return "models", await delete_all_models(tx, work.context, work.job.actor)


def _end(work: Work, progress: Progress, log: list[str], error: JobError | None) -> None:
    progress.outcome = "succeeded" if error is None else "failed"
    progress.error = error
    details = {"status": progress.outcome.capitalize(), "counts": dict(sorted(progress.counts.items()))}
    log.append(log_line(work.job.job_id, work.job.kind, now_us(), details, error=error is not None))

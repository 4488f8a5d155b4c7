"""The end of a job: its log goes to where it was asked to, and its row says how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gemel.base.errors import GemelError, InvalidError, UnavailableError
from gemel.jobs.files import is_file_uri
from gemel.jobs.inputs import input_key
from gemel.jobs.progress import error_of
from gemel.jobs.records import finish, read_log
from gemel.jobs.service import Jobs
from gemel.jobs.work import Work
from gemel.security.audit import record

__all__ = ["conclude"]

SEND_S_MAX = 600.0
TRIES_MAX = 3
AGAIN_S = 1.0
# What Azure Blob Storage wants of a PUT; others pass it over.
BLOB = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/x-ndjson"}


async def conclude(jobs: Jobs, work: Work) -> None:
    """Write the log to its URI and end the job; what was written before a crash is written again.

    A log that cannot be written makes a job fail that had succeeded. Raises LeaseLostError.
    """
    job = work.job
    error = job.progress.error
    try:
        await _write_log(jobs, work)
    except (InvalidError, UnavailableError) as refused:
        if isinstance(refused, UnavailableError) and refused.code != "OutboundFailed":
            raise
        error = error or error_of(refused, "the log could not be written")
    async with work.database.write(work.tenant) as tx:
        await finish(tx, job, work.holder[0], error)
        result = "ok" if error is None else error.code
        await record(tx, [job.entry(f"{job.kind}.end", job.job_id, result)])
    jobs.spool.drop(work.tenant, input_key(job))


async def _write_log(jobs: Jobs, work: Work) -> None:
    uri = work.job.output_uri
    if not uri:
        return
    if is_file_uri(uri):
        await jobs.folder(work.job.folder).write(uri, _log(work))
        return
    length = 0
    async for part in _log(work):
        length += len(part.encode())
    for attempt in range(1, TRIES_MAX + 1):
        try:
            await jobs.outbound.upload(
                uri, lambda: _encoded(work), length, timeout_s=SEND_S_MAX, headers=BLOB
            )
            return
        except GemelError:
            if attempt == TRIES_MAX:
                raise
            await asyncio.sleep(AGAIN_S * attempt)


def _log(work: Work) -> AsyncIterator[str]:
    return read_log(work.database, work.tenant, work.job.kind, work.job.job_id)


async def _encoded(work: Work) -> AsyncIterator[bytes]:
    async for part in _log(work):
        yield part.encode()

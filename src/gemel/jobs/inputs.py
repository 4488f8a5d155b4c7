"""The input of an import as an open file: below the jobs root, or fetched, or sent with the request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import BinaryIO

from gemel.base.errors import InvalidError, UnavailableError
from gemel.jobs.files import is_file_uri
from gemel.jobs.records import Job
from gemel.jobs.service import Jobs
from gemel.jobs.spool import SPOOL_BYTES_MAX
from gemel.jobs.work import Work

__all__ = ["CancelledEarlyError", "input_key", "open_input"]

FETCH_S_MAX = 4 * 3600.0
TRIES_MAX = 4
AGAIN_S = 1.0
UPLOADED = "upload:"


class CancelledEarlyError(Exception):
    """The import was cancelled before its input was there."""


def input_key(job: Job) -> str:
    """Return under which key the spool keeps the input of a job."""
    uri = job.input_uri or ""
    return uri if uri.startswith(UPLOADED) else f"fetched:{job.job_id}"


async def open_input(jobs: Jobs, work: Work) -> BinaryIO:
    """Open the input of an import, fetching it first where it is elsewhere.

    Raises InvalidError: FileUnreadable, FileChanged where it is not the one that the import began with,
    OutboundRefused, OutboundFailed.
    """
    uri = work.job.input_uri or ""
    if is_file_uri(uri):
        file = jobs.folder(work.job.folder).open(uri)
        found = os.fstat(file.fileno())
        try:
            _identify(work, f"{found.st_size}-{found.st_mtime_ns}")
        except InvalidError:
            file.close()
            raise
    else:
        held = jobs.spool.open(work.tenant, input_key(work.job))
        if uri.startswith(UPLOADED):
            if held is None:
                raise InvalidError("FileUnreadable", "The input that was sent with the job is gone.")
            file = held
        else:
            file = await _fetched(jobs, work, uri) if held is None else held
    work.job.progress.bytes_total = os.fstat(file.fileno()).st_size
    return file


async def _fetched(jobs: Jobs, work: Work, uri: str) -> BinaryIO:
    for attempt in range(1, TRIES_MAX + 1):
        try:
            digest = await jobs.spool.keep(work.tenant, input_key(work.job), _parts(jobs, work, uri))
            break
        except UnavailableError as error:
            if attempt == TRIES_MAX:
                raise InvalidError(error.code, error.message, error.hint) from error
            await asyncio.sleep(AGAIN_S * 2**attempt)
    _identify(work, digest)
    file = jobs.spool.open(work.tenant, input_key(work.job))
    assert file is not None
    return file


async def _parts(jobs: Jobs, work: Work, uri: str) -> AsyncGenerator[bytes]:
    fetch = jobs.outbound.download(uri, timeout_s=FETCH_S_MAX, bytes_max=SPOOL_BYTES_MAX)
    async with aclosing(fetch):
        async for part in fetch:
            if work.job.status == "cancelling":
                raise CancelledEarlyError
            yield part


def _identify(work: Work, identity: str) -> None:
    known = work.job.progress.identity
    if known not in {"", identity}:
        raise InvalidError("FileChanged", "The input is not the one that the import began with.")
    work.job.progress.identity = identity

"""One import at work: batch after batch, each with its position and its part of the log in one commit.

A line that breaks a rule is told in the log and passed over. Models are taken all or none, and where one is
wrong the import ends there, for the twins rest on them. Twins and relationships that exist are replaced, as by
PUT; a model that exists is passed over where it is the same, and told where it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import psycopg

from gemel.base.errors import GemelError, InternalError, InvalidError
from gemel.jobs.import_step import ImportStep, fail
from gemel.jobs.import_writing import key_of, prepare_write
from gemel.jobs.lines import HEADER, MODELS, Batch, Lines, Row
from gemel.jobs.progress import error_of
from gemel.jobs.records import checkpoint
from gemel.jobs.work import Work
from gemel.security.audit import record

__all__ = ["run_import"]


async def run_import(work: Work, file: BinaryIO) -> bool:
    """Go on with an import from where it is till its outcome is known; return False where it was paused before.

    Raises UnavailableError where the database is gone, LeaseLostError where another has the job: what was
    committed stays, and a new run goes on.
    """
    progress = work.job.progress
    batches = Lines(file, progress.section, progress.offset, progress.line).batches()
    # The next batch is read while the one before it is written.
    upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    try:
        while not work.job.progress.outcome:
            if work.pause():
                return False
            if work.job.status == "cancelling":
                await fail(work, "cancelled", None)
                break
            try:
                batch = await upcoming
                assert batch is not None, "the last batch gives the outcome"
                upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
                await _take(work, batch)
            except InvalidError as error:
                await fail(work, "failed", error_of(error))
    finally:
        # The file is closed next: nobody may still be reading it.
        await asyncio.gather(upcoming, return_exceptions=True)
    return True


async def _take(work: Work, batch: Batch) -> None:
    if batch.section == HEADER:
        _check_header(batch.rows)
    parts = [batch.rows] if batch.section == MODELS else list(_distinct(batch))
    for part in parts[:-1]:
        await _write(work, batch, part, last=False)
    await _write(work, batch, parts[-1] if parts else [], last=True)


async def _write(work: Work, batch: Batch, rows: Sequence[Row], *, last: bool) -> None:
    """Write rows of a batch, `last` where it ends with them; what the database refuses is found by halving."""
    try:
        await _commit(work, batch, rows, {}, last=last)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        if batch.section == MODELS or len(rows) <= 1:
            refusal = InternalError("InternalError", f"The database refused it: {type(error).__name__}.")
            await _commit(work, batch, rows, {row.number: refusal for row in rows}, last=last)
            return
        middle = len(rows) // 2
        await _write(work, batch, rows[:middle], last=False)
        await _write(work, batch, rows[middle:], last=last)


async def _commit(
    work: Work, batch: Batch, rows: Sequence[Row], refused: dict[int, GemelError], *, last: bool
) -> None:
    step = ImportStep(work.job)
    errors = {row.number: row.value for row in rows if isinstance(row.value, GemelError)} | refused
    taken = [row for row in rows if row.number not in errors]
    write = await prepare_write(work, batch.section, taken)
    async with work.database.write(work.tenant) as tx:
        counts, found = await write(tx)
        step.refuse(batch.section, rows, {**errors, **found})
        step.count(counts)
        if last:
            step.go_on(batch)
        else:
            step.stand_behind(batch.section, rows[-1])
        work.job.status = await checkpoint(tx, work.job, step.progress, work.holder, step.log)
        if counts:
            done = ", ".join(f"{number} {name}" for name, number in counts.items())
            await record(tx, [work.job.entry("import.write", f"{work.job.job_id} ({done})")])
    work.job.progress = step.progress


def _check_header(rows: Sequence[Row]) -> None:
    header = rows[0].value if len(rows) == 1 else None
    version = header.get("fileVersion") if isinstance(header, dict) else None
    if not isinstance(version, str) or version.partition(".")[0] != "1":
        raise InvalidError(
            "ImportFileInvalid",
            "The section Header must have one line, with a fileVersion of 1.",
            'As in {"fileVersion": "1.0.0", "author": "me", "organization": "ours"}.',
        )


def _distinct(batch: Batch) -> Iterator[list[Row]]:
    """Yield the rows in parts that name nothing twice, so that of two lines on one thing the later holds."""
    part: list[Row] = []
    seen: set[object] = set()
    for row in batch.rows:
        key = key_of(batch.section, row.value)
        if key is not None and key in seen:
            yield part
            part, seen = [], set()
        part.append(row)
        seen.add(key)
    if part:
        yield part

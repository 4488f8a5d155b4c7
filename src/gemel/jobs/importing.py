"""One import at work: batch after batch, each with its position and its part of the log in one commit.

A line that breaks a rule is told in the log and passed over. Models are taken all or none, and where one is
wrong the import ends there, for the twins rest on them. Twins and relationships that exist are replaced, as by
PUT; a model that exists is passed over where it is the same, and told where it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import psycopg

from gemel.base.errors import GemelError, InternalError, InvalidError
from gemel.jobs.import_step import ImportStep, fail
from gemel.jobs.import_writing import Write, Written, key_of, prepare_write
from gemel.jobs.lines import HEADER, MODELS, Batch, Lines, Row
from gemel.jobs.progress import error_of
from gemel.jobs.records import checkpoint
from gemel.jobs.work import Work
from gemel.security.audit import record

__all__ = ["run_import"]

NOTHING: Written = ({}, {})


async def run_import(work: Work, file: BinaryIO) -> bool:
    """Go on with an import from where it is till its outcome is known; return False where it was paused before.

    Raises UnavailableError where the database is gone, LeaseLostError where another has the job: what was
    committed stays, and a new run goes on.
    """
    progress = work.job.progress
    batches = Lines(file, progress.section, progress.offset, progress.line).batches()
    # The next batch is read and made ready while the one before it is written.
    upcoming = asyncio.create_task(_next(work, batches))
    try:
        while not work.job.progress.outcome:
            if work.pause():
                return False
            if work.job.status == "cancelling":
                await fail(work, "cancelled", None)
                break
            try:
                taking = await upcoming
                assert taking is not None, "the last batch gives the outcome"
                upcoming = asyncio.create_task(_next(work, batches))
                await _take(work, taking)
            except InvalidError as error:
                await fail(work, "failed", error_of(error))
    finally:
        # The file is closed next: nobody may still be reading it.
        await asyncio.gather(upcoming, return_exceptions=True)
    return True


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of a batch, those of them that were read, and by number why others could not be."""

    rows: Sequence[Row]
    good: Sequence[Row]
    unread: Mapping[int, GemelError]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Part:
        """Return the part of some rows."""
        unread = {row.number: row.value for row in rows if isinstance(row.value, GemelError)}
        return cls(rows, [row for row in rows if row.number not in unread] if unread else rows, unread)


@dataclass(frozen=True, slots=True)
class _Taking:
    """A batch in parts that name nothing twice, and how its first part is written, if that is known already."""

    batch: Batch
    parts: list[_Part]
    write: Write | None


async def _next(work: Work, batches: Iterator[Batch]) -> _Taking | None:
    batch = await asyncio.to_thread(next, batches, None)
    if batch is None:
        return None
    if batch.section == MODELS:
        return _Taking(batch, [_Part.of(batch.rows)], None)
    parts = await asyncio.to_thread(lambda: [_Part.of(rows) for rows in _distinct(batch)]) or [_Part.of([])]
    # Before its section has begun the models that it rests on may not be there.
    begun = work.job.progress.section == batch.section
    return _Taking(batch, parts, await prepare_write(work, batch.section, parts[0].good) if begun else None)


async def _take(work: Work, taking: _Taking) -> None:
    if taking.batch.section == HEADER:
        _check_header(taking.batch.rows)
    write, final = taking.write, len(taking.parts) - 1
    for number, part in enumerate(taking.parts):
        await _write(work, taking.batch, part, write, last=number == final)
        write = None


async def _write(work: Work, batch: Batch, part: _Part, write: Write | None = None, *, last: bool) -> None:
    """Write rows of a batch, `last` where it ends with them; what the database refuses is found by halving."""
    try:
        write = write or await prepare_write(work, batch.section, part.good)
        await _commit(work, batch, part, write, {}, last=last)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        rows = part.rows
        if batch.section == MODELS or len(rows) <= 1:
            refusal = InternalError("InternalError", f"The database refused it: {type(error).__name__}.")
            refused: dict[int, GemelError] = {row.number: refusal for row in rows}
            await _commit(work, batch, part, None, refused, last=last)
            return
        middle = len(rows) // 2
        await _write(work, batch, _Part.of(rows[:middle]), last=False)
        await _write(work, batch, _Part.of(rows[middle:]), last=last)


async def _commit(
    work: Work,
    batch: Batch,
    part: _Part,
    write: Write | None,
    refused: dict[int, GemelError],
    *,
    last: bool,
) -> None:
    step = ImportStep(work.job)
    async with work.database.write(work.tenant) as tx:
        counts, found = await write(tx) if write is not None else NOTHING
        step.refuse(batch.section, part.rows, {**part.unread, **refused, **found})
        step.count(counts)
        if last:
            step.go_on(batch)
        else:
            step.stand_behind(batch.section, part.rows[-1])
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

"""One import at work: batch after batch, each with its position and its part of the log in one commit.

A line that breaks a rule is told in the log and passed over. Models are taken all or none, and where one is
wrong the import ends there, for the twins rest on them. Twins and relationships that exist are replaced, as by
PUT; a model that exists is passed over where it is the same, and told where it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import psycopg

from gemel.base.errors import GemelError, InternalError, InvalidError
from gemel.graph.plain_relationships import PlainRelationships, read_plain
from gemel.jobs.import_step import ImportStep, fail
from gemel.jobs.import_writing import Write, Written, key_of, prepare_plain, prepare_write
from gemel.jobs.lines import HEADER, MODELS, RELATIONSHIPS, Batch, Line, Lines, Row, rows_of
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
    # The next batch is read and made ready while the one before it is written; what is left of the one before that is
    # let go of meanwhile, which takes some milliseconds, too.
    spent: list[_Taking] = []
    upcoming = asyncio.create_task(_next(work, batches, spent))
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
                upcoming = asyncio.create_task(_next(work, batches, spent))
                await _take(work, taking)
                spent.append(taking)
            except InvalidError as error:
                await fail(work, "failed", error_of(error))
    finally:
        # The file is closed next: nobody may still be reading it.
        await asyncio.gather(upcoming, return_exceptions=True)
    return True


class _Part:
    """Lines of a batch that name nothing twice, and their columns where they are plain."""

    def __init__(
        self,
        lines: Sequence[Line],
        *,
        rows: Sequence[Row] | None = None,
        plain: PlainRelationships | None = None,
    ) -> None:
        self.lines = lines
        self.plain = plain
        self._rows = rows

    @cached_property
    def rows(self) -> Sequence[Row]:
        """The lines, read."""
        return rows_of(self.lines) if self._rows is None else self._rows

    @cached_property
    def unread(self) -> Mapping[int, GemelError]:
        """By number why lines could not be read."""
        if self.plain is not None:
            return {}
        return {row.number: row.value for row in self.rows if isinstance(row.value, GemelError)}

    @cached_property
    def good(self) -> Sequence[Row]:
        """The rows that could be read."""
        return [row for row in self.rows if row.number not in self.unread] if self.unread else self.rows


@dataclass(frozen=True, slots=True)
class _Taking:
    """A batch in parts that name nothing twice, and how its first part is written, if that is known already."""

    batch: Batch
    parts: list[_Part]
    write: Write | None


async def _next(work: Work, batches: Iterator[Batch], spent: list[_Taking]) -> _Taking | None:
    found = await asyncio.to_thread(_read, batches)
    if found is None:
        return None
    batch, parts = found
    await asyncio.to_thread(spent.clear)
    # Before its section has begun the models that it rests on may not be there.
    if batch.section == MODELS or work.job.progress.section != batch.section:
        return _Taking(batch, parts, None)
    return _Taking(batch, parts, await _prepared(work, batch.section, parts[0]))


def _read(batches: Iterator[Batch]) -> tuple[Batch, list[_Part]] | None:
    batch = next(batches, None)
    if batch is None:
        return None
    if batch.section == RELATIONSHIPS:
        found = [line.text for line in batch.lines if isinstance(line.text, bytes)]
        plain = read_plain(found) if found and len(found) == len(batch.lines) else None
        if plain is not None:
            return batch, [_Part(batch.lines, plain=plain)]
    return batch, [_Part(batch.lines)] if batch.section == MODELS else list(_distinct(batch)) or [_Part([])]


async def _prepared(work: Work, section: str, part: _Part) -> Write:
    """Do what can be done of writing a part before the lock is taken; return the rest."""
    if part.plain is not None:
        write = await prepare_plain(work, part.plain, lambda: part.good)
        if write is not None:
            return write
    return await prepare_write(work, section, part.good)


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
        write = write or await _prepared(work, batch.section, part)
        await _commit(work, batch, part, write, {}, last=last)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        lines = part.lines
        if batch.section == MODELS or len(lines) <= 1:
            refusal = InternalError("InternalError", f"The database refused it: {type(error).__name__}.")
            refused: dict[int, GemelError] = {line.number: refusal for line in lines}
            await _commit(work, batch, part, None, refused, last=last)
            return
        middle = len(lines) // 2
        await _write(work, batch, _Part(lines[:middle]), last=False)
        await _write(work, batch, _Part(lines[middle:]), last=last)


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
        errors = {**part.unread, **refused, **found}
        if errors:
            step.refuse(batch.section, part.rows, errors)
        step.count(counts)
        if last:
            step.go_on(batch)
        else:
            step.stand_behind(batch.section, part.lines[-1])
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


def _distinct(batch: Batch) -> Iterator[_Part]:
    """Yield the lines in parts that name nothing twice, so that of two lines on one thing the later holds."""
    start = 0
    seen: set[object] = set()
    for place, row in enumerate(batch.rows):
        key = key_of(batch.section, row.value)
        if key is not None and key in seen:
            yield _Part(batch.lines[start:place], rows=batch.rows[start:place])
            start, seen = place, set()
        seen.add(key)
    if batch.lines:
        yield _Part(batch.lines[start:], rows=batch.rows[start:])

"""What one commit of an import changes of its progress and adds to its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gemel.base.clock import now_us
from gemel.base.errors import GemelError
from gemel.jobs.import_writing import name_of
from gemel.jobs.lines import HEADER, Batch, Line, Row
from gemel.jobs.progress import JobError, Progress, error_of, log_line
from gemel.jobs.records import Job, checkpoint
from gemel.jobs.work import Work

__all__ = ["ImportStep", "fail"]

PROBLEMS_KEPT = 10
PROBLEMS_LOGGED_MAX = 100_000
"""More are counted, and no longer told one by one."""


class ImportStep:
    """A draft of the progress, and the lines for the log; what the job holds stays as it is."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.progress: Progress = msgspec.structs.replace(
            job.progress, counts=dict(job.progress.counts), problems=list(job.progress.problems)
        )
        self.log: list[str] = []
        if not self.progress.log_no:
            self._tell({"status": "Started"})

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counts."""
        for name, number in counts.items():
            self.progress.count(name, number)

    def refuse(self, section: str, rows: Sequence[Row], errors: Mapping[int, GemelError]) -> None:
        """Tell why lines are not taken, by their numbers."""
        for row in rows:
            error = errors.get(row.number)
            if error is None:
                continue
            self.progress.problem_count += 1
            named = name_of(row.value)
            told = error_of(error)
            if len(self.progress.problems) < PROBLEMS_KEPT:
                self.progress.problems.append(
                    error_of(error, f"line {row.number}, {named}" if named else f"line {row.number}")
                )
            if self.progress.problem_count <= PROBLEMS_LOGGED_MAX:
                self._tell({"section": section, "line": row.number, "id": named, "error": told}, error=True)

    def stand_behind(self, section: str, line: Line) -> None:
        """Go on behind a line of a section."""
        self.progress.section, self.progress.offset, self.progress.line = section, line.end, line.number

    def go_on(self, batch: Batch) -> None:
        """Go on where a batch ends: in its section, the next one, or nowhere."""
        self.progress.offset, self.progress.line = batch.end, batch.line
        if batch.follows == batch.section:
            return
        if batch.section not in {"", HEADER}:
            self._tell({"section": batch.section, "status": "Succeeded"})
        if batch.follows is not None:
            self.progress.section = batch.follows
            if batch.follows != HEADER:
                self._tell({"section": batch.follows, "status": "Started"})
        elif self.progress.problem_count:
            number = self.progress.problem_count
            message = f"{number} line{'s were' if number > 1 else ' was'} not taken; the log names each."
            self.end("failed", JobError("ImportIncomplete", message, self.progress.problems))
        else:
            self.end("succeeded", None)

    def end(self, outcome: str, error: JobError | None) -> None:
        """Say how the import ends."""
        self.progress.outcome, self.progress.error = outcome, error
        details: dict[str, Any] = {
            "status": outcome.capitalize(),
            "counts": dict(sorted(self.progress.counts.items())),
        }
        if error is not None:
            details["error"] = {"code": error.code, "message": error.message}
        self._tell(details, error=error is not None)

    def _tell(self, details: dict[str, Any], *, error: bool = False) -> None:
        self.log.append(log_line(self._job.job_id, self._job.kind, now_us(), details, error=error))


async def fail(work: Work, outcome: str, error: JobError | None) -> None:
    """Say that a job is over before its work is done. Raises LeaseLostError."""
    step = ImportStep(work.job)
    step.end(outcome, error)
    async with work.database.write(work.tenant) as tx:
        await checkpoint(tx, work.job, step.progress, work.holder, step.log)
    work.job.progress = step.progress

"""How far a job is, as values: what a checkpoint keeps, and what the log says. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gemel.base.clock import iso_us
from gemel.base.errors import GemelError

__all__ = ["JobError", "Progress", "error_of", "log_line"]


class JobError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong: a code, a message, and the first of many where there are many."""

    code: str
    message: str
    details: list[JobError] = []


class Progress(msgspec.Struct, omit_defaults=True):
    """Where a job goes on.

    `section`, `offset` (bytes) and `line` say how far the input is read; `identity` and `bytes_total` which
    input it is; `counts` what was done. `problems` are the first lines that were not taken, `problem_count`
    all of them; `log_no` counts the parts of the log. `outcome` is set once the work is over.
    """

    section: str = ""
    offset: int = 0
    line: int = 0
    identity: str = ""
    bytes_total: int = 0
    counts: dict[str, int] = {}
    problems: list[JobError] = []
    problem_count: int = 0
    log_no: int = 0
    outcome: str = ""
    error: JobError | None = None

    def count(self, name: str, by: int) -> None:
        """Add to a count."""
        if by:
            self.counts[name] = self.counts.get(name, 0) + by


def error_of(error: GemelError, where: str = "") -> JobError:
    """Return an error as a job tells it; `where` stands before the message."""
    message = f"{where}: {error.message}" if where else error.message
    return JobError(error.code, message, [JobError(each.code, each.message) for each in error.details])


def log_line(job_id: str, kind: str, at_us: int, details: dict[str, Any], *, error: bool = False) -> str:
    """Return one line of a job's log."""
    line = {
        "timestamp": iso_us(at_us),
        "jobId": job_id,
        "jobType": "Import" if kind == "import" else "Delete",
        "logType": "Error" if error else "Info",
        "details": details,
    }
    return msgspec.json.encode(line).decode() + "\n"

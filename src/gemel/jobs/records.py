"""Jobs as rows: made, listed, claimed by one worker at a time, and finished."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec
import psycopg

from gemel.base.clock import EPOCH, from_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.graph.paging import Listing
from gemel.jobs.progress import JobError, Progress
from gemel.security.audit import AuditEntry
from gemel.store.database import Database, ReadTransaction, Row, WriteTransaction

__all__ = [
    "ACTIVE",
    "Job",
    "JobKind",
    "LeaseLostError",
    "check_free",
    "checkpoint",
    "claim",
    "create_job",
    "delete_job",
    "finish",
    "free_jobs",
    "get_job",
    "list_all",
    "list_jobs",
    "purge_jobs",
    "read_log",
    "release",
    "renew",
    "request_cancel",
    "waiting_tenants",
]

JobKind = Literal["import", "deletion"]
KEPT = timedelta(days=30)
ID_CHARS_MAX = 128
ACTIVE = ("notstarted", "running", "cancelling")
NOT_FOUND = {"import": "ImportJobNotFound", "deletion": "DeleteJobNotFound"}

COLUMNS = (
    "kind, job_id, status, input_uri, output_uri, folder, created, last_action, finished, purge, deadline, "
    "error, progress, actor, key_id, trace_id"
)
INSERT = f"""
INSERT INTO job (tenant, {COLUMNS})
VALUES (current_tenant(), %s, %s, 'notstarted', %s, %s, %s, %s, %s, NULL, %s, %s, NULL, %s::jsonb, %s, %s, %s)"""
BUSY = """
SELECT kind, job_id FROM job
WHERE tenant = current_tenant() AND status IN ('notstarted', 'running', 'cancelling')"""
GET = f"SELECT {COLUMNS} FROM job WHERE tenant = current_tenant() AND kind = %s AND job_id = %s"
LIST = f"""
SELECT {COLUMNS} FROM job WHERE tenant = current_tenant() AND kind = %s AND job_id COLLATE "C" > %s
ORDER BY job_id COLLATE "C" LIMIT %s"""
LIST_ALL = f"SELECT {COLUMNS} FROM job WHERE tenant = current_tenant() ORDER BY created DESC LIMIT %s"
CANCEL = """
UPDATE job SET status = 'cancelling', last_action = %s
WHERE tenant = current_tenant() AND kind = 'import' AND job_id = %s"""
DELETE = "DELETE FROM job WHERE tenant = current_tenant() AND kind = %s AND job_id = %s"
CLAIM = f"""
UPDATE job SET worker = %s, lease_until = clock_timestamp() + %s * interval '1 second',
       status = CASE status WHEN 'notstarted' THEN 'running' ELSE status END
WHERE tenant = current_tenant() AND status IN ('notstarted', 'running', 'cancelling')
  AND (lease_until IS NULL OR lease_until < clock_timestamp())
  AND (left(input_uri, 7) IS DISTINCT FROM 'upload:' OR left(input_uri, %s) = %s)
RETURNING {COLUMNS}"""
RENEW = """
UPDATE job SET lease_until = clock_timestamp() + %s * interval '1 second'
WHERE tenant = current_tenant() AND worker = %s AND lease_until IS NOT NULL
RETURNING status"""
RELEASE = "UPDATE job SET lease_until = NULL WHERE tenant = current_tenant() AND worker = %s"
CHECKPOINT = """
UPDATE job SET progress = %s::jsonb, last_action = %s,
       lease_until = clock_timestamp() + %s * interval '1 second'
WHERE tenant = current_tenant() AND kind = %s AND job_id = %s AND worker = %s AND lease_until IS NOT NULL
RETURNING status"""
FINISH = """
UPDATE job SET status = %s, error = %s::jsonb, finished = %s, last_action = %s, worker = NULL,
       lease_until = NULL
WHERE tenant = current_tenant() AND kind = %s AND job_id = %s AND worker = %s"""
ADD_LOG = """
INSERT INTO job_log (tenant, kind, job_id, log_no, lines) VALUES (current_tenant(), %s, %s, %s, %s)"""
READ_LOG = """
SELECT log_no, lines FROM job_log
WHERE tenant = current_tenant() AND kind = %s AND job_id = %s AND log_no > %s ORDER BY log_no LIMIT 50"""
WAITING = """
SELECT DISTINCT tenant FROM job WHERE status IN ('notstarted', 'running', 'cancelling')
AND (lease_until IS NULL OR lease_until < clock_timestamp())"""


class LeaseLostError(Exception):
    """Another worker has the job, or it is gone: what this one was about to write is rolled back."""


class Job(msgspec.Struct):
    """A job as its row says; times in µs since the epoch."""

    kind: JobKind
    job_id: str
    status: str
    input_uri: str | None
    output_uri: str | None
    folder: str
    created_us: int
    last_action_us: int
    finished_us: int | None
    purge_us: int
    deadline_us: int | None
    error: JobError | None
    progress: Progress
    actor: str
    key_id: str | None
    trace_id: str

    def entry(self, action: str, target: str, result: str = "ok") -> AuditEntry:
        """Return what the audit trail says of an act of this job: it acts for whoever asked for it."""
        return AuditEntry(self.actor, self.key_id, action, target, result, self.trace_id)


async def create_job(
    tx: WriteTransaction,
    job_id: str,
    uris: tuple[str, str] | None,
    folder: str,
    entry: AuditEntry,
    deadline_us: int | None = None,
) -> Job:
    """Make a job: an import where there are URIs of input and output, else a deletion.

    Raises InvalidError: JobLimitReached while another job is active, ValidationFailed where the id is taken.
    """
    kind: JobKind = "deletion" if uris is None else "import"
    await check_free(tx, kind, job_id)
    now = from_us(tx.stamp())
    input_uri, output_uri = uris or (None, None)
    deadline = None if deadline_us is None else from_us(deadline_us)
    what = (kind, job_id, input_uri, output_uri, folder, now, now, now + KEPT, deadline)
    who = (_json(Progress()), entry.actor, entry.key_id, entry.trace_id)
    await tx.execute(INSERT, (*what, *who))
    return await get_job(tx, kind, job_id)


async def check_free(tx: ReadTransaction, kind: JobKind, job_id: str) -> None:
    """Raise InvalidError (JobLimitReached, ValidationFailed) where a job of this id cannot be made now."""
    if not 0 < len(job_id) <= ID_CHARS_MAX or not job_id.isprintable():
        raise InvalidError(
            "ValidationFailed", f"A job's id must have 1 to {ID_CHARS_MAX} printable characters."
        )
    if await tx.row(GET, (kind, job_id)) is not None:
        raise InvalidError(
            "ValidationFailed",
            f"There is a job with the ID {job_id}.",
            "Choose another id, or delete that job.",
        )
    busy = await tx.row(BUSY)
    if busy is not None:
        raise InvalidError(
            "JobLimitReached",
            f"The {busy[0]} job {busy[1]} is not finished, and there is one job at a time.",
            "Wait for it, or cancel it.",
        )


async def get_job(tx: ReadTransaction, kind: JobKind, job_id: str) -> Job:
    """Return a job. Raises NotFoundError (ImportJobNotFound, DeleteJobNotFound)."""
    row = await tx.row(GET, (kind, job_id)) if "\0" not in job_id else None
    if row is None:
        raise NotFoundError(NOT_FOUND[kind], f"There is no {kind} job with the ID {job_id}.")
    return _job(row)


async def list_jobs(
    tx: ReadTransaction, kind: JobKind, *, page_size: int | None = None, token: str | None = None
) -> tuple[list[Job], str | None]:
    """Return a page of jobs in the order of their ids, and the token that continues it.

    Raises InvalidError (InvalidArgument).
    """
    listing = Listing(tx.tenant, f"{kind} jobs")
    state, size = listing.resume(token, page_size, after="")
    jobs = [_job(row) for row in await tx.rows(LIST, (kind, state["after"], size + 1))]
    following = listing.encode(size=size, after=jobs[size - 1].job_id) if len(jobs) > size else None
    return jobs[:size], following


async def list_all(tx: ReadTransaction, limit: int) -> list[Job]:
    """Return the newest jobs of all kinds, the newest first."""
    return [_job(row) for row in await tx.rows(LIST_ALL, (limit,))]


async def request_cancel(tx: WriteTransaction, job_id: str) -> Job:
    """Ask an import to stop, after the batch under way.

    Raises NotFoundError (ImportJobNotFound), InvalidError (ValidationFailed) for one that is over.
    """
    job = await get_job(tx, "import", job_id)
    if job.status not in ACTIVE:
        raise InvalidError("ValidationFailed", f"The import job {job_id} is over: it has {job.status}.")
    await tx.execute(CANCEL, (from_us(tx.stamp()), job_id))
    return await get_job(tx, "import", job_id)


async def delete_job(tx: WriteTransaction, job_id: str) -> None:
    """Forget an import that is over, so that its id can be used again.

    Raises NotFoundError (ImportJobNotFound), InvalidError (ValidationFailed) for one that is active.
    """
    job = await get_job(tx, "import", job_id)
    if job.status in ACTIVE:
        raise InvalidError(
            "ValidationFailed",
            f"The import job {job_id} is {job.status}.",
            "Cancel it, and wait till it is over.",
        )
    await tx.execute(DELETE, ("import", job_id))


async def claim(tx: WriteTransaction, worker: str, lease_s: float, uploads: str) -> Job | None:
    """Take the tenant's active job that nobody works on, for as long as the lease is renewed.

    `uploads` is how input URIs begin of jobs whose input was sent to this server: no other has it.
    """
    row = await tx.row(CLAIM, (worker, lease_s, len(uploads), uploads))
    return None if row is None else _job(row)


async def renew(database: Database, tenant: int, worker: str, lease_s: float) -> str | None:
    """Hold a job for longer; return its status, or None where it is no longer this worker's."""
    rows = await database.query(tenant, RENEW, (lease_s, worker), read_only=False)
    return str(rows[0][0]) if rows else None


async def release(database: Database, tenant: int, worker: str) -> None:
    """Let another worker have the job at once."""
    await database.query(tenant, RELEASE, (worker,), read_only=False)


async def checkpoint(
    tx: WriteTransaction, job: Job, progress: Progress, holder: tuple[str, float], log: Sequence[str]
) -> str:
    """Keep how far a job is, and lines of its log, in the transaction of what it wrote; return its status.

    `holder` is the worker and how many seconds it holds the job for. Raises LeaseLostError.
    """
    worker, lease_s = holder
    key = (job.kind, job.job_id)
    if log:
        progress.log_no += 1
    row = await tx.row(CHECKPOINT, (_json(progress), from_us(tx.stamp()), lease_s, *key, worker))
    if row is None:
        raise LeaseLostError
    if log:
        await tx.execute(ADD_LOG, (*key, progress.log_no, "".join(log)))
    return str(row[0])


async def finish(tx: WriteTransaction, job: Job, worker: str, error: JobError | None) -> None:
    """Say how a job ended, which its progress has. Raises LeaseLostError."""
    now = from_us(tx.stamp())
    told = None if error is None else _json(error)
    outcome = "failed" if error is not None and job.progress.outcome == "succeeded" else job.progress.outcome
    if not await tx.execute(FINISH, (outcome, told, now, now, job.kind, job.job_id, worker)):
        raise LeaseLostError


async def read_log(database: Database, tenant: int, kind: JobKind, job_id: str) -> AsyncIterator[str]:
    """Yield a job's log, in parts of whole lines."""
    after = 0
    while rows := await database.query(tenant, READ_LOG, (kind, job_id, after)):
        for number, lines in rows:
            after = number
            yield lines


def waiting_tenants(owner: psycopg.Connection) -> list[int]:
    """Return the tenants with a job that nobody works on; on the owner's connection."""
    return [row[0] for row in owner.execute(WAITING).fetchall()]


def free_jobs(owner: psycopg.Connection) -> None:
    """Let jobs be taken at once that a server held which is no more; on the owner's connection."""
    owner.execute("UPDATE job SET lease_until = NULL WHERE lease_until IS NOT NULL")


def purge_jobs(owner: psycopg.Connection) -> None:
    """Forget jobs whose time is over, for all tenants; on the owner's connection."""
    owner.execute(
        "DELETE FROM job WHERE purge < now() AND status NOT IN ('notstarted', 'running', 'cancelling')"
    )


def _job(row: Row) -> Job:
    kind, job_id, status, input_uri, output_uri, folder, *moments, error, progress, actor, key_id, trace = row
    times = [None if each is None else (each - EPOCH) // timedelta(microseconds=1) for each in moments]
    created_us, last_us, finished_us, purge_us, deadline_us = times
    return msgspec.convert(
        {
            "kind": kind,
            "job_id": job_id,
            "status": status,
            "input_uri": input_uri,
            "output_uri": output_uri,
            "folder": folder,
            "created_us": created_us,
            "last_action_us": last_us,
            "finished_us": finished_us,
            "purge_us": purge_us,
            "deadline_us": deadline_us,
            "error": error,
            "progress": progress,
            "actor": actor,
            "key_id": key_id,
            "trace_id": trace,
        },
        Job,
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

"""Jobs beyond the Azure data plane: how far they are, their logs, and imports whose file comes with the request."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed, Time
from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.jobs.progress import JobError
from gemel.jobs.records import Job, JobKind, check_free, create_job, get_job, list_all, read_log
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "JobView"]

TAG = "Jobs"
LINES, TEXT = "application/x-ndjson", "text/plain"
WAIT_S = 30.0
EXAMPLE = '{"Section": "Header"}\n{"fileVersion": "1.0.0", "author": "me", "organization": "ours"}\n'

Kind = Annotated[str, PathParameter(description="imports or deletions.")]
JobId = Annotated[str, PathParameter(description="The id of the job.")]


class JobView(msgspec.Struct, rename="camel"):
    """A job and how far it is.

    `section` and `line` are where it reads, `bytes` of `bytesTotal` how much of the input is read; `counts` how
    many of what were written or deleted; `problems` the first lines that were not taken, of `problemCount`.
    """

    kind: str
    id: str
    status: str
    created: Time
    last_action: Time
    finished: Time | None
    section: str
    line: int
    bytes: int
    bytes_total: int
    counts: dict[str, int]
    problem_count: int
    problems: list[JobError]
    error: JobError | None


def job_view(job: Job) -> JobView:
    """Return a job and its progress as the API gives it."""
    progress = job.progress
    return JobView(
        job.kind,
        job.job_id,
        job.status,
        iso_us(job.created_us),
        iso_us(job.last_action_us),
        None if job.finished_us is None else iso_us(job.finished_us),
        progress.section,
        progress.line,
        progress.offset,
        progress.bytes_total,
        progress.counts,
        progress.problem_count,
        progress.problems,
        job.error,
    )


@get("/v1/jobs", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[JobView]})))
async def list_progress(request: AnyRequest) -> Response[bytes]:
    """List the newest 100 jobs of all kinds, the newest first."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(Listed([job_view(job) for job in await list_all(tx, 100)]))


@get(
    "/v1/jobs/{kind:str}/{job_id:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: JobView}, failures=(404,))),
)
async def get_progress(request: AnyRequest, kind: Kind, job_id: JobId) -> Response[bytes]:
    """Say how far a job is."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(job_view(await get_job(tx, _kind(kind), job_id)))


@get(
    "/v1/jobs/{kind:str}/{job_id:str}/log",
    **route(TAG, RouteInfo(Scope.READ, answer={LINES: str}, failures=(404,))),
)
async def get_log(request: AnyRequest, kind: Kind, job_id: JobId) -> Stream:
    """Give a job's log so far: a line for each step and for each line of the input that was not taken."""
    call = call_of(request)
    database = call.services.database
    async with database.read(call.tenant) as tx:
        job = await get_job(tx, _kind(kind), job_id)
    return Stream(read_log(database, call.tenant, job.kind, job_id), media_type=LINES)


@post(
    "/v1/imports",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "import.create",
            body={LINES: str, TEXT: str},
            body_example=EXAMPLE,
            answer={JSON: JobView},
            streams=True,
        ),
        status=201,
    ),
)
async def upload_import(
    request: AnyRequest,
    job_id: Annotated[
        str | None, QueryParameter(name="id", description="The job's id; else one is made.")
    ] = None,
) -> Response[bytes]:
    """Import the NDJSON that is the body of the request; answered once it is here, before the work begins."""
    call = call_of(request)
    jobs, name = call.services.jobs, secrets.token_hex(8) if job_id is None else job_id
    async with call.services.database.read(call.tenant) as tx:
        await check_free(tx, "import", name)
    input_uri = jobs.spool.uploads + secrets.token_hex(8)
    await jobs.spool.keep(call.tenant, input_uri, _parts(request))
    entry = call.entry(target=name)
    try:
        async with call.services.database.write(call.tenant) as write:
            job = await create_job(write, name, (input_uri, ""), call.principal.tenant_name, entry)
            await record(write, [entry])
    except BaseException:
        jobs.spool.drop(call.tenant, input_uri)
        raise
    jobs.wake.set()
    return json_answer(job_view(job))


async def _parts(request: AnyRequest) -> AsyncGenerator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(WAIT_S):
                part = await anext(stream, None)
        except TimeoutError as error:
            raise InvalidError("BodyMalformed", f"The body stopped coming for {WAIT_S:.0f} s.") from error
        if part is None:
            return
        yield part


def _kind(text: str) -> JobKind:
    kinds: dict[str, JobKind] = {"imports": "import", "deletions": "deletion"}
    if text not in kinds:
        raise NotFoundError("ImportJobNotFound", "Jobs are imports or deletions.")
    return kinds[text]


HANDLERS: list[HTTPRouteHandler] = [list_progress, get_progress, get_log, upload_import]

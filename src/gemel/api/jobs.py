"""Import and deletion jobs as in the Azure Digital Twins data plane."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import PageSize, Token, next_link
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Paged, Time
from gemel.base.clock import iso_us, now_us
from gemel.base.errors import InvalidError
from gemel.jobs.progress import JobError
from gemel.jobs.records import Job, create_job, delete_job, get_job, list_jobs, request_cancel
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "DeletionView", "ImportView", "deletion_view", "import_view"]

TAG = "Jobs"
US_PER_MINUTE = 60_000_000
MINUTES_MIN, MINUTES_MAX, MINUTES_DEFAULT = 15, 1440, 720
REQUEST = {"inputBlobUri": "file:graph.ndjson", "outputBlobUri": "file:graph.log.ndjson"}

JobId = Annotated[str, PathParameter(description="The id of the job.")]


class ImportRequest(msgspec.Struct, rename="camel"):
    """Where the NDJSON of an import is, and where its log goes: `file:` or http(s)."""

    input_blob_uri: str
    output_blob_uri: str


class ImportView(msgspec.Struct, rename="camel", omit_defaults=True):
    """An import job: notstarted, running, failed, succeeded, cancelling or cancelled."""

    id: str
    input_blob_uri: str
    output_blob_uri: str
    status: str
    created_date_time: Time
    last_action_date_time: Time
    purge_date_time: Time
    finished_date_time: Time | None = None
    error: JobError | None = None


class DeletionView(msgspec.Struct, rename="camel", omit_defaults=True):
    """A deletion job: notstarted, running, failed or succeeded."""

    id: str
    status: str
    created_date_time: Time
    purge_date_time: Time
    finished_date_time: Time | None = None
    error: JobError | None = None


def import_view(job: Job) -> ImportView:
    """Return an import as the API gives it."""
    return ImportView(
        job.job_id,
        job.input_uri or "",
        job.output_uri or "",
        job.status,
        iso_us(job.created_us),
        iso_us(job.last_action_us),
        iso_us(job.purge_us),
        None if job.finished_us is None else iso_us(job.finished_us),
        job.error,
    )


def deletion_view(job: Job) -> DeletionView:
    """Return a deletion as the API gives it."""
    return DeletionView(
        job.job_id,
        job.status,
        iso_us(job.created_us),
        iso_us(job.purge_us),
        None if job.finished_us is None else iso_us(job.finished_us),
        job.error,
    )


@put(
    "/jobs/imports/{job_id:str}",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "import.create",
            body={JSON: ImportRequest},
            body_example=REQUEST,
            answer={JSON: ImportView},
        ),
        status=201,
    ),
)
async def add_import(request: AnyRequest, job_id: JobId) -> Response[bytes]:
    """Import models, twins and relationships from an NDJSON file; the answer comes before the work begins.

    A tenant has one job at a time.
    """
    call = call_of(request)
    wanted = _import_request(await read_json(request))
    jobs = call.services.jobs
    await jobs.check_uris(call.principal.tenant_name, *wanted)
    async with call.services.database.write(call.tenant) as tx:
        job = await create_job(tx, job_id, wanted, call.principal.tenant_name, call.entry())
        await record(tx, [call.entry()])
    jobs.wake.set()
    return json_answer(import_view(job))


@get("/jobs/imports", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Paged[ImportView]})))
async def list_imports(
    request: AnyRequest, page_size: PageSize = None, token: Token = None
) -> Response[bytes]:
    """List import jobs in the order of their ids."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found, following = await list_jobs(tx, "import", page_size=page_size, token=token)
    return json_answer(Paged([import_view(job) for job in found], next_link(request, following)))


@get(
    "/jobs/imports/{job_id:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: ImportView}, failures=(404,))),
)
async def get_import(request: AnyRequest, job_id: JobId) -> Response[bytes]:
    """Get an import job."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(import_view(await get_job(tx, "import", job_id)))


@post(
    "/jobs/imports/{job_id:str}/cancel",
    **route(TAG, RouteInfo(Scope.WRITE, "import.cancel", answer={JSON: ImportView}, failures=(404,))),
)
async def cancel_import(request: AnyRequest, job_id: JobId) -> Response[bytes]:
    """Stop an import behind the batch under way; what it has written stays."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        job = await request_cancel(tx, job_id)
        await record(tx, [call.entry()])
    return json_answer(import_view(job))


@delete(
    "/jobs/imports/{job_id:str}",
    **route(TAG, RouteInfo(Scope.WRITE, "import.delete", failures=(404,)), status=204),
)
async def delete_import(request: AnyRequest, job_id: JobId) -> Response[None]:
    """Forget an import job that is over, so that its id can be used again."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await delete_job(tx, job_id)
        await record(tx, [call.entry()])
    return empty_answer()


@post(
    "/jobs/deletions",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "deletion.create",
            answer={JSON: DeletionView},
            headers={"Operation-Location": "Where the job can be followed."},
        ),
        status=202,
    ),
)
async def add_deletion(
    request: AnyRequest,
    operation_id: Annotated[
        str | None, HeaderParameter(name="operation-id", description="The job's id; else one is made.")
    ] = None,
    timeout_minutes: Annotated[
        int | None,
        QueryParameter(name="timeoutInMinutes", description="When to give up: 15 to 1440, else 720."),
    ] = None,
) -> Response[bytes]:
    """Delete all relationships, twins and models of the tenant; their history stays."""
    call = call_of(request)
    minutes = MINUTES_DEFAULT if timeout_minutes is None else timeout_minutes
    if not MINUTES_MIN <= minutes <= MINUTES_MAX:
        raise InvalidError("ValidationFailed", f"timeoutInMinutes must be {MINUTES_MIN} to {MINUTES_MAX}.")
    job_id = secrets.token_hex(16) if operation_id is None else operation_id
    deadline_us = now_us() + minutes * US_PER_MINUTE
    folder = call.principal.tenant_name
    async with call.services.database.write(call.tenant) as tx:
        job = await create_job(tx, job_id, None, folder, call.entry(target=job_id), deadline_us)
        await record(tx, [call.entry(target=job_id)])
    call.services.jobs.wake.set()
    location = f"{str(request.base_url).rstrip('/')}/jobs/deletions/{quote(job_id, safe='')}"
    return json_answer(deletion_view(job), headers={"Operation-Location": location})


@get("/jobs/deletions", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Paged[DeletionView]})))
async def list_deletions(
    request: AnyRequest, page_size: PageSize = None, token: Token = None
) -> Response[bytes]:
    """List deletion jobs in the order of their ids."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found, following = await list_jobs(tx, "deletion", page_size=page_size, token=token)
    return json_answer(Paged([deletion_view(job) for job in found], next_link(request, following)))


@get(
    "/jobs/deletions/{job_id:str}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: DeletionView}, failures=(404,))),
)
async def get_deletion(request: AnyRequest, job_id: JobId) -> Response[bytes]:
    """Get a deletion job."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(deletion_view(await get_job(tx, "deletion", job_id)))


def _import_request(body: Any) -> tuple[str, str]:
    names = ("inputBlobUri", "outputBlobUri")
    values = [body.get(name) if isinstance(body, dict) else None for name in names]
    if not all(isinstance(value, str) and value for value in values):
        message = "An import needs inputBlobUri and outputBlobUri, both texts."
        raise InvalidError("ValidationFailed", message, "As in file:graph.ndjson.")
    return str(values[0]), str(values[1])


HANDLERS: list[HTTPRouteHandler] = [
    add_import,
    list_imports,
    get_import,
    cancel_import,
    delete_import,
    add_deletion,
    list_deletions,
    get_deletion,
]

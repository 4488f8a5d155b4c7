"""The tenant's own keys and its audit trail."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter, QueryParameter

from gemel.api.bodies import empty_answer, json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.durations import parse_moment_us
from gemel.api.params import From, Limit, To
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import AuditView, KeyView, Listed, NewKeyBody, NewKeyRequest, NewKeyView
from gemel.security.audit import record
from gemel.security.principal import Scope
from gemel.security.trail import AuditFilter, list_audit

__all__ = ["HANDLERS"]

TAG = "Keys and audit"
NEW = {"name": "line 1", "scopes": ["ingest"]}


class Period(NamedTuple):
    """From when and up to when, in µs; None where it is open."""

    from_us: int | None
    to_us: int | None


@get("/v1/keys", **route(TAG, RouteInfo(Scope.ADMIN, "key.list", answer={JSON: Listed[KeyView]})))
async def list_keys(request: AnyRequest) -> Response[bytes]:
    """List the tenant's keys, revoked ones too; never their tokens."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        keys = await call.services.keyring.list_keys(tx)
        await record(tx, [call.entry()])
    return json_answer({"value": [msgspec.convert(key, KeyView, from_attributes=True) for key in keys]})


@post(
    "/v1/keys",
    **route(
        TAG,
        RouteInfo(
            Scope.ADMIN,
            "key.create",
            body={JSON: NewKeyBody},
            body_example=NEW,
            answer={JSON: NewKeyView},
        ),
        status=201,
    ),
)
async def create_key(request: AnyRequest) -> Response[bytes]:
    """Make a key of this tenant; its token is in this answer and nowhere else."""
    call = call_of(request)
    wanted: NewKeyRequest = await read_json(request, NewKeyRequest)
    async with call.services.database.write(call.tenant) as tx:
        key_id, token = await call.services.keyring.create(tx, wanted.name, wanted.scopes)
        await record(tx, [call.entry(target=key_id)])
    made = {"keyId": key_id, "key": token, "name": wanted.name, "scopes": sorted(set(wanted.scopes))}
    return json_answer(made, headers={"Cache-Control": "no-store"})


@delete(
    "/v1/keys/{key_id:str}",
    **route(TAG, RouteInfo(Scope.ADMIN, "key.revoke", failures=(404,)), status=204),
)
async def revoke_key(
    request: AnyRequest, key_id: Annotated[str, PathParameter(description="The key's id.")]
) -> Response[None]:
    """Revoke a key of this tenant for good."""
    call = call_of(request)
    async with call.services.database.write(call.tenant) as tx:
        await call.services.keyring.revoke(tx, key_id)
        await record(tx, [call.entry()])
    return empty_answer()


def given_acts(
    action: Annotated[
        str | None, QueryParameter(name="action", description="Only actions that start with this.")
    ] = None,
    target: Annotated[
        str | None, QueryParameter(name="target", description="Only targets that start with this.")
    ] = None,
    actor: Annotated[str | None, QueryParameter(name="actor", description="Only of this actor.")] = None,
    result: Annotated[
        str | None, QueryParameter(name="result", description="Only with this result: ok or an error code.")
    ] = None,
) -> AuditFilter:
    """Return which acts a request asks for, of any time."""
    return AuditFilter(action, target, actor, result)


def given_period(
    start: From = None,
    end: To = None,
) -> Period:
    """Return the period that a request names, open where it names no end."""
    return Period(
        None if start is None else parse_moment_us("from", start),
        None if end is None else parse_moment_us("to", end),
    )


@get(
    "/v1/audit",
    dependencies={
        "acts": Provide(given_acts, sync_to_thread=False),
        "period": Provide(given_period, sync_to_thread=False),
    },
    **route(TAG, RouteInfo(Scope.ADMIN, "audit.list", answer={JSON: Listed[AuditView]})),
)
async def get_audit(
    request: AnyRequest,
    acts: NamedDependency[AuditFilter],
    period: NamedDependency[Period],
    before: Annotated[
        int | None,
        QueryParameter(name="before", ge=0, le=2**63 - 1, description="Only entries numbered below."),
    ] = None,
    limit: Limit = 100,
) -> Response[bytes]:
    """Read the audit trail of this tenant, newest first."""
    call = call_of(request)
    wanted = replace(acts, from_us=period.from_us, to_us=period.to_us, before=before)
    async with call.services.database.write(call.tenant) as tx:
        rows = await list_audit(tx, limit, wanted)
        await record(tx, [call.entry()])
    return json_answer({"value": [msgspec.convert(row, AuditView, from_attributes=True) for row in rows]})


HANDLERS: list[HTTPRouteHandler] = [list_keys, create_key, revoke_key, get_audit]

"""What stands around every call: its trace, who may, how it fails, and what is counted and audited of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from gemel.api.call import Call
from gemel.api.failures import as_error
from gemel.api.routing import RouteInfo
from gemel.api.services import Services
from gemel.base.errors import (
    ConflictError,
    EnvironmentFaultError,
    ForbiddenError,
    GemelError,
    InternalError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from gemel.observe.logs import get_log
from gemel.observe.trace import Trace, current_trace, new_trace, trace_of
from gemel.observe.traffic import GRPC
from gemel.security.audit import PLATFORM, AuditEntry
from gemel.security.principal import Scope
from gemel.security.tokens import invalid_token

__all__ = ["Method", "Served", "failure_text", "record_refusal", "status_of"]

Context = Any  # grpc.aio.ServicerContext: the package has no types

STATUSES: dict[type[GemelError], grpc.StatusCode] = {
    InvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ConflictError: grpc.StatusCode.ABORTED,
    PreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    TooLargeError: grpc.StatusCode.INVALID_ARGUMENT,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    EnvironmentFaultError: grpc.StatusCode.FAILED_PRECONDITION,
    InternalError: grpc.StatusCode.INTERNAL,
}
"""By class, as gemel.api.failures has them for HTTP."""

CODE_STATUSES = {"ChangesGone": grpc.StatusCode.OUT_OF_RANGE}

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc: its name, who may and what the audit trail calls it, and its messages' types."""

    name: str
    scope: Scope
    action: str | None
    request: Any
    reply: Any
    run: Callable[..., Any]
    asks_in_stream: bool = False
    answers_in_stream: bool = False

    @property
    def info(self) -> RouteInfo:
        """The same as a route declares it."""
        return RouteInfo(self.scope, self.action)


class Served:
    """Runs one method for whoever calls it. `run(call, request)` gives a reply, or yields replies."""

    def __init__(self, services: Services, method: Method) -> None:
        self._services = services
        self._method = method

    async def one(self, request: Any, context: Context) -> Any:
        """Answer a call by one message."""
        run: Callable[[Call, Any], Awaitable[Any]] = self._method.run
        with _Counted(self._services, self._method.name) as counted:
            call: Call | None = None
            trace = _begin(context)
            try:
                call = await self._call(context, trace)
                call.principal.require(self._method.scope)
                self._count(call, calls=1, received=request.ByteSize())
                reply = await run(call, request)
                self._count(call, sent=reply.ByteSize())
                return reply
            except Exception as error:  # whatever it is, it is told by one of our codes
                await self._fail(context, counted, call, error)

    async def many(self, request: Any, context: Context) -> AsyncIterator[Any]:
        """Answer a call by a stream."""
        run: Callable[[Call, Any], AsyncIterator[Any]] = self._method.run
        with _Counted(self._services, self._method.name) as counted:
            call: Call | None = None
            trace = _begin(context)
            try:
                call = await self._call(context, trace)
                call.principal.require(self._method.scope)
                self._count(call, calls=1, received=0 if self._method.asks_in_stream else request.ByteSize())
                asked = self._read(call, request) if self._method.asks_in_stream else request
                async for reply in run(call, asked):
                    self._count(call, sent=reply.ByteSize())
                    yield reply
            except Exception as error:  # whatever it is, it is told by one of our codes
                await self._fail(context, counted, call, error)

    async def _read(self, call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._count(call, received=request.ByteSize())
            yield request

    def _count(self, call: Call, **counts: int) -> None:
        self._services.traffic.add(call.tenant, GRPC, **counts)

    async def _call(self, context: Context, trace: Trace) -> Call:
        token = _bearer(context)
        principal = await self._services.keyring.authenticate(token)
        return Call(self._services, principal, self._method.info, "", trace, token)

    async def _fail(self, context: Context, counted: _Counted, call: Call | None, error: Exception) -> None:
        if isinstance(error, grpc.aio.AbortError | grpc.aio.UsageError):
            raise error
        known = as_error(error)
        status = status_of(known)
        if status == grpc.StatusCode.INTERNAL:
            log.error("call failed", method=self._method.name, exc_info=error)
        if call is not None:
            await record_refusal(call, known)
        elif self._method.action is not None:
            trace = current_trace.get() or new_trace()
            entry = AuditEntry("unknown", None, self._method.action, "", known.code, trace.trace_id)
            lost = isinstance(known, UnavailableError)
            await self._services.refusals.record(PLATFORM, entry, database_lost=lost)
        counted.status = str(status.value[0])
        metadata = [*(context.trailing_metadata() or ()), ("gemel-code", known.code)]
        if isinstance(known, OverloadedError | UnavailableError):
            metadata.append(("retry-after-s", str(known.retry_after_s)))
        await context.abort(status, failure_text(known), tuple(metadata))


def status_of(error: GemelError) -> grpc.StatusCode:
    """Return the gRPC status of an error."""
    by_class = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return CODE_STATUSES.get(error.code, by_class)


def failure_text(error: GemelError) -> str:
    """Return what the details of a status say: the code, then message and hint."""
    text = f"{error.code}: {error.message}" + (f" {error.hint}" if error.hint else "")
    return text.encode("utf-8", "replace").decode()[:4000]


async def record_refusal(call: Call, error: GemelError) -> None:
    """Write the audit row of a refused call, where its method is one that the trail keeps."""
    if call.route.action is not None:
        lost = isinstance(error, UnavailableError)
        await call.services.refusals.record(call.tenant, call.entry(error.code), database_lost=lost)


class _Counted:
    """Counts a call and its seconds when it ends, by status: 0 is OK, 1 cancelled."""

    def __init__(self, services: Services, name: str) -> None:
        self._services = services
        self._name = name
        self._started_s = time.perf_counter()
        self.status = "0"

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        status = "1" if kind is not None and self.status == "0" else self.status
        seconds = time.perf_counter() - self._started_s
        self._services.metrics.count_request("gRPC", self._name, int(status), seconds)


def _begin(context: Context) -> Trace:
    trace = trace_of(_text(context, "traceparent"))
    current_trace.set(trace)
    context.set_trailing_metadata((("traceresponse", trace.traceparent),))
    return trace


def _bearer(context: Context) -> str:
    scheme, _, token = (_text(context, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer":
        raise invalid_token()
    return token.strip()


def _text(context: Context, wanted: str) -> str | None:
    for name, value in context.invocation_metadata() or ():
        if name == wanted:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None

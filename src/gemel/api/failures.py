"""Errors to answers: the only place that knows HTTP statuses of errors."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from gemel.base.errors import (
    ConflictError,
    Detail,
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
from gemel.observe.trace import current_trace

__all__ = ["Failure", "FailureBody", "answer", "as_error", "handle", "status_of"]

STATUSES: dict[type[GemelError], int] = {
    InvalidError: 400,
    UnauthenticatedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    PreconditionError: 412,
    TooLargeError: 413,
    OverloadedError: 429,
    EnvironmentFaultError: 500,
    InternalError: 500,
    UnavailableError: 503,
}
"""By class; the codes below say more than their class does."""

CODE_STATUSES = {"MethodNotAllowed": 405, "MediaTypeUnsupported": 415}

log = get_log(__name__)

ENDS = (".", "?", "!", "…")


class Problem(msgspec.Struct, frozen=True):
    """One of several things that are wrong in a request."""

    code: str
    message: str


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong: a stable code, a message that says where and what to do, and the parts."""

    code: str
    message: str
    details: list[Problem] = []


class FailureBody(msgspec.Struct, frozen=True):
    """The body of every answer of status 400 and above."""

    error: Failure


def status_of(error: GemelError) -> int:
    """Return the HTTP status of an error."""
    by_class = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return CODE_STATUSES.get(error.code, by_class)


def as_error(error: Exception) -> GemelError:
    """Return any exception as one of ours; what nobody raised on purpose becomes InternalError."""
    if isinstance(error, GemelError):
        return error
    if isinstance(error, ValidationException):
        return _invalid_parameters(error)
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("allow", "")
        return InvalidError(
            "MethodNotAllowed", "The route does not take this method.", f"It takes {allowed}."
        )
    if isinstance(error, NotFoundException):
        return NotFoundError("RouteNotFound", "There is no such route.", "See /openapi.")
    if isinstance(error, HTTPException) and error.status_code < 500:
        return InvalidError("InvalidArgument", error.detail)
    if isinstance(error, RecursionError):
        return InvalidError("BodyMalformed", "The body is nested too deeply.")
    trace = current_trace.get()
    name = trace.trace_id if trace else "unknown"
    return InternalError("InternalError", "A defect of ours.", f"The log has it under the trace id {name}.")


def answer(error: GemelError) -> Response[bytes]:
    """Return the answer that tells of an error."""
    message = error.message
    if error.hint:
        message += f"{'' if message.endswith(ENDS) else '.'} {error.hint}"
    body = FailureBody(Failure(error.code, message, [Problem(d.code, d.message) for d in error.details]))
    headers = {"x-ms-error-code": error.code}
    if isinstance(error, OverloadedError | UnavailableError):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        _encode(body), status_code=status_of(error), headers=headers, media_type="application/json"
    )


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an exception that a route or the router raised; the log gets those that are our fault."""
    if isinstance(error, ValidationException):
        _rename(request, error)
    known = as_error(error)
    if status_of(known) == 500:
        log.error(
            "request failed", method=request.method, route=request.scope.get("path_template"), exc_info=error
        )
    response = answer(known)
    if isinstance(error, MethodNotAllowedException) and error.headers:
        response.headers["Allow"] = error.headers.get("allow", "")
    return response


def _rename(request: Request[Any, Any, Any], error: ValidationException) -> None:
    """Tell of parameters by the names that callers know: our `page_size` is their max-items-per-page."""
    parameters = request.route_handler.parsed_fn_signature.parameters
    for item in error.extra if isinstance(error.extra, list) else []:
        known = parameters.get(item.get("key", "")) if isinstance(item, dict) else None
        name = getattr(known.kwarg_definition, "name", None) if known is not None else None
        if name:
            item["key"] = name


def _invalid_parameters(error: ValidationException) -> InvalidError:
    """Name each parameter that is wrong; a required one that is missing has a code of its own."""
    if error.detail.startswith("Missing required"):
        return InvalidError("MissingArgument", error.detail.split(" for path", 1)[0] + ".")
    extra = error.extra if isinstance(error.extra, list) else []
    details = tuple(Detail("InvalidArgument", _problem(item)) for item in extra)
    message = "; ".join(detail.message for detail in details) or "A parameter is not valid"
    return InvalidError("InvalidArgument", f"{message}.", details=details if len(details) > 1 else ())


def _problem(item: Any) -> str:
    name = item.get("key", "") if isinstance(item, dict) else ""
    text = item.get("message", "") if isinstance(item, dict) else str(item)
    return f"{name}: {text}" if name else text


def _encode(body: FailureBody) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        # A lone surrogate from the request's own text: answer without it rather than not at all.
        failure = body.error
        clean = Failure(failure.code, failure.message.encode("utf-8", "replace").decode())
        return msgspec.json.encode(FailureBody(clean))

"""The error tree, whole.

::

    GemelError
    ├── InvalidError           the request or value is wrong and will stay wrong
    ├── UnauthenticatedError   no token, or one that is not known
    ├── ForbiddenError         a known caller without the scope
    ├── NotFoundError          no such thing for this tenant
    ├── ConflictError          it clashes with what is there
    ├── PreconditionError      If-Match or If-None-Match does not hold
    ├── TooLargeError          a stated limit is exceeded
    ├── OverloadedError        try again after `retry_after_s`: too much at once
    ├── UnavailableError       try again after `retry_after_s`: a part is not ready
    ├── EnvironmentFaultError  this machine lacks something (an extra, a port, a right)
    └── InternalError          a defect of ours

Every error carries a stable code; `gemel.base.codes` says of each what it means and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "ConflictError",
    "Detail",
    "EnvironmentFaultError",
    "ForbiddenError",
    "GemelError",
    "InternalError",
    "InvalidError",
    "NotFoundError",
    "OverloadedError",
    "PreconditionError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnavailableError",
]


@dataclass(frozen=True, slots=True)
class Detail:
    """One of several things wrong: its code, and a message that names where and the rule.

    `place` is the JSON Pointer of the offending part within its document, where one part is to blame.
    """

    code: str
    message: str
    place: str | None = None


@dataclass(eq=False)
class GemelError(Exception):
    """The root of every error raised on purpose.

    `code` is stable; `message` says what was wrong and where; `hint` says what to do next;
    `details` lists the parts where one request has several faults.
    """

    code: str
    message: str
    hint: str | None = None
    details: tuple[Detail, ...] = field(default=())

    def __post_init__(self) -> None:
        super().__init__(self.code, self.message)

    def __str__(self) -> str:
        text = f"{self.message} [{self.code}]"
        return f"{text} {self.hint}" if self.hint else text


class InvalidError(GemelError):
    """The request or value is wrong and will stay wrong."""


class UnauthenticatedError(GemelError):
    """No token was given, or one that is not known."""


class ForbiddenError(GemelError):
    """The caller is known but lacks the scope."""


class NotFoundError(GemelError):
    """There is no such thing for this tenant."""


class ConflictError(GemelError):
    """The request clashes with what is there."""


class PreconditionError(GemelError):
    """An If-Match or If-None-Match condition does not hold."""


class TooLargeError(GemelError):
    """A stated limit is exceeded."""


@dataclass(eq=False)
class OverloadedError(GemelError):
    """More was offered at once than is taken; try again after `retry_after_s` seconds."""

    retry_after_s: int = 1


@dataclass(eq=False)
class UnavailableError(GemelError):
    """A part is not ready; try again after `retry_after_s` seconds."""

    retry_after_s: int = 1


class EnvironmentFaultError(GemelError):
    """This machine lacks something the command needs: an extra, a free port, a right."""


class InternalError(GemelError):
    """A defect of ours."""

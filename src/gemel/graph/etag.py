"""Weak entity tags: the number of a thing and the recorded time of its newest change, as one UUID."""

from __future__ import annotations

import re

from gemel.base.errors import InvalidError, PreconditionError

__all__ = ["check_if_match", "check_if_none_match", "etag", "matches"]

TAG = re.compile(r'\s*(?:W/)?"([^"]*)"\s*(?:,|$)')


def etag(no: int, version_us: int) -> str:
    """Return the tag of a version: different numbers or times give different tags."""
    digits = f"{no & 0xFFFF_FFFF_FFFF_FFFF:016x}{version_us & 0xFFFF_FFFF_FFFF_FFFF:016x}"
    return f'W/"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"'


def matches(if_match: str | None, etag: str) -> bool:
    """Say whether an If-Match header (absent, `*`, or a list of tags) lets a change of `etag` pass.

    Tags are compared weakly (RFC 9110, 8.8.3.2), as the service that this replaces does. Raises InvalidError
    (InvalidArgument) for a header that is none of these.
    """
    if if_match is None or if_match.strip() == "*":
        return True
    opaque, position = [], 0
    while position < len(if_match):
        tag = TAG.match(if_match, position)
        if tag is None:
            break
        opaque.append(tag[1])
        position = tag.end()
    if not opaque or position < len(if_match):
        raise InvalidError(
            "InvalidArgument",
            "Invalid If-Match header value. Allowed value(s): If-Match: {etag} or If-Match: *",
        )
    return etag.removeprefix("W/").strip('"') in opaque


def check_if_match(if_match: str | None, etag: str, what: str) -> None:
    """Raise PreconditionError (PreconditionFailed) unless If-Match lets a change of `what` pass."""
    if not matches(if_match, etag):
        raise PreconditionError(
            "PreconditionFailed",
            f"The If-Match condition does not hold: {what} was changed since, and its etag is {etag}.",
            "Read it again and decide anew.",
        )


def check_if_none_match(if_none_match: str | None, exists: bool, what: str) -> None:
    """Raise PreconditionError where If-None-Match is `*` and the thing exists.

    Raises InvalidError (InvalidArgument) for any value but `*`.
    """
    if if_none_match is None:
        return
    if if_none_match.strip() != "*":
        message = "Invalid If-None-Match header value. Allowed value(s): If-None-Match: *"
        raise InvalidError("InvalidArgument", message)
    if exists:
        kind = what.split(" ", 1)[0]
        raise PreconditionError(
            "PreconditionFailed",
            f"If-None-Match: * header was specified but a {what} was found. "
            f"Please specify a different {kind} id.",
        )

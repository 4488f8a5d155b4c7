"""Weak entity tags: the number of a thing and the recorded time of its newest change, as one UUID."""

from __future__ import annotations

import re
from typing import NamedTuple

from gemel.base.errors import InvalidError, PreconditionError

__all__ = ["UNCONDITIONAL", "Conditions", "etag", "is_known", "matches"]

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
    return if_match is None or _names("If-Match", if_match, etag)


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Say whether a reader has what has this tag, by its If-None-Match header; raise as `matches` does."""
    return if_none_match is not None and _names("If-None-Match", if_none_match, etag)


def _names(header: str, value: str, etag: str) -> bool:
    if value.strip() == "*":
        return True
    opaque, position = [], 0
    while position < len(value):
        tag = TAG.match(value, position)
        if tag is None:
            break
        opaque.append(tag[1])
        position = tag.end()
    if not opaque or position < len(value):
        raise InvalidError(
            "InvalidArgument",
            f"Invalid {header} header value. Allowed value(s): {header}: {{etag}} or {header}: *",
        )
    return etag.removeprefix("W/").strip('"') in opaque


class Conditions(NamedTuple):
    """What a change depends on (RFC 9110, 13.1): its If-Match and If-None-Match headers, where they were given."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, tag: str | None, kind: str, name: str) -> None:
        """Raise PreconditionError (PreconditionFailed) unless both hold for a thing of this tag; None: it is not there.

        Raises InvalidError (InvalidArgument) for a header that is none, and for an If-None-Match other than `*`.
        """
        self._check_match(tag, kind, name)
        if self.if_none_match is None:
            return
        if self.if_none_match.strip() != "*":
            message = "Invalid If-None-Match header value. Allowed value(s): If-None-Match: *"
            raise InvalidError("InvalidArgument", message)
        if tag is not None:
            raise PreconditionError(
                "PreconditionFailed",
                f"If-None-Match: * header was specified but a {kind} with the id {name} was found. "
                f"Please specify a different {kind} id.",
                "Or leave the header out, to change the one that is there.",
            )

    def _check_match(self, tag: str | None, kind: str, name: str) -> None:
        fits = matches(self.if_match, tag or "")
        if self.if_match is None or (fits and tag is not None):
            return
        why = f"there is no {kind} {name}"
        if tag is not None:
            why = f"the {kind} {name} was changed since, and its etag is {tag}"
        raise PreconditionError(
            "PreconditionFailed",
            f"The If-Match condition does not hold: {why}.",
            "Read it again and decide anew.",
        )


UNCONDITIONAL = Conditions()

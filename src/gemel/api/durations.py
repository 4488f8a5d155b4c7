"""Times and durations in query parameters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from gemel.base.clock import to_us
from gemel.base.durations import duration_us
from gemel.base.errors import InvalidError

__all__ = ["parse_duration_us", "parse_moment_us"]

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def parse_moment_us(name: str, text: str) -> int:
    """Return an RFC 3339 time with a zone in µs; raise InvalidError (InvalidArgument) naming the parameter."""
    try:
        return to_us(msgspec.convert(text, _Moment))
    except (msgspec.ValidationError, OverflowError) as error:
        # A plus sign that was not encoded arrives as a space.
        hint = "Encode its + as %2B." if " " in text else "As in 2026-01-31T12:00:00Z."
        raise InvalidError(
            "InvalidArgument", f"{name}={text[:60]!r} is not an RFC 3339 time with a zone.", hint
        ) from error


def parse_duration_us(name: str, text: str) -> int:
    """Return a duration such as 500ms, 10s, 5m, 1h or 1d in µs; raise InvalidError (InvalidArgument)."""
    duration = duration_us(text)
    if duration is None:
        raise InvalidError(
            "InvalidArgument",
            f"{name}={text[:60]!r} is not a duration.",
            "As in 500ms, 10s, 5m, 1h or 1d; at most 100 years.",
        )
    return duration

"""Times and durations in query parameters."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

import msgspec

from gemel.base.clock import to_us
from gemel.base.errors import InvalidError

__all__ = ["parse_duration_us", "parse_moment_us"]

UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
DURATION = re.compile(r"(\d{1,12})(us|ms|s|m|h|d|w)", re.ASCII)
DURATION_US_MAX = 100 * 366 * UNITS_US["d"]

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
    match = DURATION.fullmatch(text)
    duration_us = int(match[1]) * UNITS_US[match[2]] if match else 0
    if not 0 < duration_us <= DURATION_US_MAX:
        raise InvalidError(
            "InvalidArgument",
            f"{name}={text[:60]!r} is not a duration.",
            "As in 500ms, 10s, 5m, 1h or 1d; at most 100 years.",
        )
    return duration_us

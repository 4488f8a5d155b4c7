"""Which moment of the past a read asks for: `asOf` and `knownAt`."""

from __future__ import annotations

from typing import Annotated

from litestar.di import Provide
from litestar.params import QueryParameter

from gemel.api.call import AnyRequest, call_of
from gemel.api.durations import parse_moment_us
from gemel.api.params import MOMENT_SCHEMA
from gemel.base.clock import now_us
from gemel.base.errors import InvalidError
from gemel.history.moment import END_US, Moment

__all__ = ["MOMENT", "AsOf", "KnownAt", "given_moment", "moment_from", "moment_of", "past_us"]

AsOf = Annotated[
    str | None,
    QueryParameter(
        name="asOf",
        description="As it was then: what existed, each property at its last value by source time. RFC 3339.",
        schema_extra=MOMENT_SCHEMA,
    ),
]
KnownAt = Annotated[
    str | None,
    QueryParameter(
        name="knownAt",
        description="By what had been recorded then, and nothing since. RFC 3339.",
        schema_extra=MOMENT_SCHEMA,
    ),
]


def given_moment(request: AnyRequest, as_of: AsOf = None, known_at: KnownAt = None) -> Moment:
    """Return the moment that a request's parameters name; without any, the live state."""
    return moment_of(request, as_of, known_at)


def moment_of(request: AnyRequest, as_of: str | None, known_at: str | None) -> Moment:
    """Return the moment that two texts of a request name; raise as `moment_from` does."""
    return moment_from(call_of(request).services.context.future_tolerance_us, as_of, known_at)


def moment_from(ahead_us: int, as_of: str | None, known_at: str | None) -> Moment:
    """Return the moment that two texts name; source times may be `ahead_us` ahead of the clock.

    With `known_at` alone it is what a live read answered then. Raises InvalidError (InvalidArgument) for what is
    no RFC 3339 time with a zone, or is in the future.
    """
    as_of_us, known_at_us = past_us("asOf", as_of), past_us("knownAt", known_at)
    # What had been recorded was not of a source time much ahead of the clock: nothing later has to be looked at.
    return Moment(min(as_of_us, known_at_us + ahead_us, END_US), known_at_us)


def past_us(name: str, text: str | None) -> int:
    """Return the time (µs) of a parameter, END_US where it is left out.

    Raises InvalidError (InvalidArgument) for what is no RFC 3339 time with a zone, or is in the future.
    """
    if text is None:
        return END_US
    time_us = parse_moment_us(name, text)
    if time_us > now_us():
        raise InvalidError(
            "InvalidArgument", f"{name}={text[:60]} is in the future.", "Leave it out for now."
        )
    if time_us < 0:
        raise InvalidError("InvalidArgument", f"{name}={text[:60]} is before 1970, where time begins here.")
    return time_us


MOMENT = {"moment": Provide(given_moment, sync_to_thread=False)}
"""What a route that reads declares as its dependencies, to be given the moment."""

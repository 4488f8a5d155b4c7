"""The trace a request belongs to (W3C Trace Context, level 1, and the `traceresponse` header of level 2)."""

from __future__ import annotations

import random
import re
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Trace", "current_trace", "new_trace", "trace_of"]

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
NO_TRACE = "0" * 32
NO_SPAN = "0" * 16
RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace, our own span in it, and whether the caller records it. Ids are lower-case hex."""

    trace_id: str
    span_id: str
    flags: str = "00"

    @property
    def response_header(self) -> str:
        """The value of `traceresponse`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)


def new_trace(source: random.Random = RANDOM) -> Trace:
    """Return a trace of our own."""
    return Trace(f"{source.getrandbits(128) or 1:032x}", _span_id(source))


def trace_of(traceparent: str | None, source: random.Random = RANDOM) -> Trace:
    """Return the trace that a `traceparent` header names, with a span of our own; else a new one."""
    match = TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is None:
        return new_trace(source)
    version, trace_id, parent, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == NO_TRACE or parent == NO_SPAN:
        return new_trace(source)
    return Trace(trace_id, _span_id(source), flags)


def _span_id(source: random.Random) -> str:
    return f"{source.getrandbits(64) or 1:016x}"

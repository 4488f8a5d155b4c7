"""The trace a request belongs to (W3C Trace Context, level 1, and the `traceresponse` header of level 2).

A batch goes on with the trace of whoever sent it, and what its commit tells carries the trace on.
"""

from __future__ import annotations

import random
import re
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = [
    "TRACEPARENT",
    "Trace",
    "current_trace",
    "is_traceparent",
    "new_trace",
    "sample_new_traces",
    "trace_of",
]

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
NO_TRACE = "0" * 32
NO_SPAN = "0" * 16
CHANCE = (1 << 56) - 1
RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace, our own span in it, and whether the caller records it. Ids are lower-case hex.

    `parent_id` is the caller's span, None where the trace begins here.
    """

    trace_id: str
    span_id: str
    flags: str = "00"
    parent_id: str | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace records it."""
        return bool(int(self.flags, 16) & 1)

    @property
    def traceparent(self) -> str:
        """Our span as others continue it: the value of `traceparent`, and of `traceresponse`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


class _Sampling:
    """Of how many of the traces that begin in this process we say that they are recorded."""

    share = 0.0


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)


def sample_new_traces(share: float) -> None:
    """Say of which share, 0 to 1, of the traces that begin in this process from now on that they are recorded."""
    _Sampling.share = share


def new_trace(source: random.Random = RANDOM) -> Trace:
    """Return a trace of our own."""
    number = source.getrandbits(128) or 1
    # By the bits that W3C Trace Context has for chance, so that all who look at an id choose alike.
    is_sampled = number & CHANCE < _Sampling.share * (CHANCE + 1)
    return Trace(f"{number:032x}", _span_id(source), "01" if is_sampled else "00")


def trace_of(traceparent: str | None, source: random.Random = RANDOM) -> Trace:
    """Return the trace that a `traceparent` header names, with a span of our own; else a new one."""
    parts = _parts(traceparent)
    if parts is None:
        return new_trace(source)
    trace_id, parent_id, flags = parts
    return Trace(trace_id, _span_id(source), flags, parent_id)


def is_traceparent(text: str) -> bool:
    """Say whether a text names a trace that can be continued."""
    return _parts(text) is not None


def _parts(traceparent: str | None) -> tuple[str, str, str] | None:
    match = TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is None:
        return None
    version, trace_id, parent, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == NO_TRACE or parent == NO_SPAN:
        return None
    return trace_id, parent, flags


def _span_id(source: random.Random) -> str:
    return f"{source.getrandbits(64) or 1:016x}"

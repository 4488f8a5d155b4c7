"""Which trace a request's events belong to: that of the request, or those that events name themselves.

Source: CloudEvents 1.0.2, the extension Distributed Tracing: `traceparent` is that of whoever made the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from gemel.base.errors import Detail
from gemel.ingest.events import Event
from gemel.ingest.requests import IngestRequest
from gemel.ingest.table import EventTable
from gemel.observe.trace import Trace, current_trace, is_traceparent, new_trace, trace_of

__all__ = ["Run", "with_trace"]

Run = tuple[int, str]
"""From which event on what trace is named; it holds until the next run."""

_named = attrgetter("traceparent")


def with_trace(request: IngestRequest) -> tuple[IngestRequest, Trace, Sequence[Run]]:
    """Return a request with the trace that its commit goes on with, and the runs of events that name others.

    Where the sender names no trace and all events name the same, the commit goes on with that.
    """
    trace = request.trace or current_trace.get() or new_trace()
    names = _names(request.decoded.events)
    if names is None:
        return request, trace, ()
    only = names[0]
    if trace.parent_id is None and only is not None and names.count(only) == len(names):
        trace = trace_of(only)
        return replace(request, audit=replace(request.audit, trace_id=trace.trace_id)), trace, ()
    runs: list[Run] = []
    before: str | None = None
    for index, name in enumerate(names):
        if name != before:
            runs.append((index, name or trace.traceparent))
            before = name
    return request, trace, runs


def _names(events: Sequence[Event | Detail]) -> list[str | None] | None:
    """Return the valid trace that each event names; None where none does, as most often."""
    if isinstance(events, EventTable):
        return None
    try:
        names: list[str | None] = list(map(_named, events))
    except AttributeError:
        names = [event.traceparent if isinstance(event, Event) else None for event in events]
    if names.count(None) == len(names):
        return None
    known = {name: name if name and is_traceparent(name) else None for name in set(names)}
    names = [known[name] for name in names]
    return None if names.count(None) == len(names) else names

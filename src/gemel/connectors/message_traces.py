"""Which traces the messages of a batch name: one, which its commit goes on with, or several, which events keep."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from gemel.ingest.events import Decoded, Event

__all__ = ["with_traces"]


def with_traces(decoded: Decoded, traces: Sequence[str | None]) -> str | None:
    """Return the `traceparent` that all messages of a batch name, given that of each, or None.

    Where they do not agree, events get that of their message, unless they name one themselves.
    """
    if traces.count(None) == len(traces):
        return None
    if traces.count(traces[0]) == len(traces):
        return traces[0]
    owners = range(len(traces)) if decoded.owners is None else decoded.owners
    decoded.events = [
        replace(event, traceparent=trace)
        if isinstance(event, Event) and event.traceparent is None and trace is not None
        else event
        for event, trace in zip(decoded.events, map(traces.__getitem__, owners), strict=True)
    ]
    return None

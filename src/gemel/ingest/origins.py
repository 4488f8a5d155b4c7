"""What is kept of a request's events, so that every value they leave can name its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from gemel.base.clock import EPOCH
from gemel.base.errors import Detail
from gemel.history.origins import EventColumns, Sending, pack_origin
from gemel.ingest.events import Event
from gemel.ingest.table import EventTable

__all__ = ["Packed", "pack"]


NAMELESS = Event("", "", "", "1.0", "", {}, EPOCH)


class Packed(NamedTuple):
    """Events' packed names; the source that all with a name name, None where they differ; whether one has no time."""

    body: bytes
    source: str | None
    untimed: bool


def pack(events: Sequence[Event | Detail], sending: Sending) -> Packed:
    """Return the packed names of events, in order; one that could not be decoded has none."""
    if isinstance(events, EventTable):
        return _packed(events.names(), sending)
    named = cast("Sequence[Event]", events)
    if Detail in set(map(type, events)):
        named = [event if isinstance(event, Event) else NAMELESS for event in events]
    columns = EventColumns(
        ids=[event.id for event in named],
        sources=[event.source for event in named],
        types=[event.type for event in named],
        untimed=[index for index, event in enumerate(named) if event.time is None],
    )
    return _packed(columns, sending)


def _packed(columns: EventColumns, sending: Sending) -> Packed:
    sources = columns.sources
    first = next(filter(None, sources), None)
    count = sources.count(first) if first is not None else -1
    alike = count == len(sources) or count + sources.count("") == len(sources)
    return Packed(pack_origin(columns, sending), first if alike else None, bool(columns.untimed))

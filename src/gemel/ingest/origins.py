"""What is kept of a request's events, so that every value they leave can name its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from gemel.base.clock import EPOCH
from gemel.base.errors import Detail
from gemel.history.origins import EventColumns, Sending, pack_origin
from gemel.ingest.events import Event
from gemel.ingest.table import EventTable

__all__ = ["pack"]


NAMELESS = Event("", "", "", "1.0", "", {}, EPOCH)


def pack(events: Sequence[Event | Detail], sending: Sending) -> bytes:
    """Return the packed names of events, in order; one that could not be decoded has none."""
    if isinstance(events, EventTable):
        return pack_origin(events.names(), sending)
    named = cast("Sequence[Event]", events)
    if Detail in set(map(type, events)):
        named = [event if isinstance(event, Event) else NAMELESS for event in events]
    columns = EventColumns(
        ids=[event.id for event in named],
        sources=[event.source for event in named],
        types=[event.type for event in named],
        untimed=[index for index, event in enumerate(named) if event.time is None],
    )
    return pack_origin(columns, sending)

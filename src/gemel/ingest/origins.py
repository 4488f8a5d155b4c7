"""What is kept of a request's events, so that every value they leave can name its own."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.base.errors import Detail
from gemel.history.origins import EventColumns, Sending, pack_origin
from gemel.ingest.events import Event

__all__ = ["pack"]


def pack(events: Sequence[Event | Detail], sending: Sending) -> bytes:
    """Return the packed names of events, in order; one that could not be decoded has none."""
    known = [event if isinstance(event, Event) else None for event in events]
    columns = EventColumns(
        ids=[event.id if event else "" for event in known],
        sources=[event.source if event else "" for event in known],
        types=[event.type if event else "" for event in known],
        untimed=[index for index, event in enumerate(known) if event and event.time is None],
    )
    return pack_origin(columns, sending)

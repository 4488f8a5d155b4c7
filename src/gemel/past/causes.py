"""What made something so: the act, and where it came from events the event, found by the recorded time."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from gemel.history.origins import EventOrigin, read_origins
from gemel.security.acts import Act, read_acts
from gemel.store.database import ReadTransaction

__all__ = ["Cause", "Causes", "CausingEvent", "read_causes"]


class CausingEvent(msgspec.Struct, frozen=True, rename="camel"):
    """The event that brought a value, and what its request said of where it was read from.

    `place` is its place in the request, from 0; `timed` whether it named its time.
    """

    id: str
    source: str
    type: str
    place: int
    timed: bool
    read_from: str | None
    position: str | None
    file: str | None
    mapping: str | None


class Cause(msgspec.Struct, frozen=True, rename="camel"):
    """Who did what, under which key, to what, in which trace; and the event, where one brought it."""

    actor: str
    key_id: str | None
    action: str
    target: str
    trace_id: str
    event: CausingEvent | None


class Causes:
    """Causes by recorded time (µs)."""

    def __init__(self, acts: dict[int, Act], events: dict[int, EventOrigin]) -> None:
        self._acts = acts
        self._events = events

    def of(self, recorded_us: int) -> Cause | None:
        """Return the cause of what was recorded then; None where it is not known any more, or never was."""
        act = self._acts.get(recorded_us)
        origin = self._events.get(recorded_us)
        return None if act is None else Cause(*act, None if origin is None else _event(origin))


async def read_causes(tx: ReadTransaction, recorded_us: Collection[int]) -> Causes:
    """Look up the causes of what was recorded at some times (µs)."""
    return Causes(await read_acts(tx, recorded_us), await read_origins(tx, recorded_us))


def _event(origin: EventOrigin) -> CausingEvent:
    read_from, position, file, mapping = msgspec.structs.astuple(origin.sending)
    return CausingEvent(
        origin.id, origin.source, origin.type, origin.place, origin.timed, read_from, position, file, mapping
    )

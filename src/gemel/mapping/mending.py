"""Mending what waits in quarantine by a corrected mapping."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.base.errors import Detail
from gemel.ingest.events import Event
from gemel.ingest.mending import Mend, as_held
from gemel.ingest.quarantine import Held
from gemel.mapping.mapper import Mapper

__all__ = ["remapped"]


def remapped(mapper: Mapper) -> Mend:
    """Return what maps messages once more that did not fit their mapping, or broke their contract.

    Events, whose messages are not kept, are offered as they are.
    """

    def mend(held: Held) -> Sequence[Event | Detail]:
        made = mapper.remap(held.raw, held.received_us)
        return as_held(held) if made is None else made

    return mend

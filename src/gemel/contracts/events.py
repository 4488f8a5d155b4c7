"""Events under a contract that need no mapping: what breaks it is set aside before ingest sees it."""

from __future__ import annotations

from gemel.base.errors import Detail
from gemel.contracts.tables import EventColumns, TableColumns
from gemel.contracts.watching import Place, Watch
from gemel.ingest.events import Decoded, Event
from gemel.ingest.table import EventTable

__all__ = ["hold_back"]


def hold_back(watch: Watch, decoded: Decoded, received_us: int) -> None:
    """Show events to a source's watch; in place of those that must not be taken puts the reason why.

    Where new fields are accepted, those that a twin's model lacks are left out of the others, and all are counted.
    """
    events = decoded.events
    accepts_new = watch.contract.policy["new"] == "accept"
    if accepts_new:
        decoded.spare = watch.is_new
    if isinstance(events, EventTable):
        broken = watch.look_at(range(len(events)), TableColumns(events), received_us, Place.EVENT)
    else:
        shown = watch.wanted(len(events))
        part = events[shown.start : shown.stop]
        faults = {shown.start + n: each.message for n, each in enumerate(part) if isinstance(each, Detail)}
        numbers = [number for number in shown if number not in faults]
        plain = [each for each in part if isinstance(each, Event)]
        watch.skips = watch.skips or len(shown) < len(events)
        broken = watch.look_at(numbers, EventColumns(plain), received_us, Place.EVENT, faults)
        if accepts_new and len(shown) < len(events):
            unseen = [number for number in range(len(events)) if number not in shown]
            rest = {number: each for number in unseen if isinstance(each := events[number], Event)}
            watch.look_for_new(list(rest), EventColumns(list(rest.values())))
    if broken:
        decoded.events = [
            Detail(*broken[number][:2], broken[number].place) if number in broken else event
            for number, event in enumerate(events)
        ]

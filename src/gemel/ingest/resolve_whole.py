"""Requests to columns, where several events may stand for one that waits in quarantine: all are taken, or none."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.base.errors import Detail
from gemel.graph.directory import DirectoryView
from gemel.ingest.events import Event
from gemel.ingest.resolve import Resolved, TimeRules
from gemel.ingest.resolve_table import resolve_batch

__all__ = ["resolve_whole"]


def resolve_whole(
    events: Sequence[Event | Detail], numbers: Sequence[int], view: DirectoryView, rules: TimeRules
) -> Resolved:
    """Resolve events; where one of those with the same number must wait, so must the others, for its reason.

    `numbers` are those of a replay, one for each event, or none.
    """
    resolved = resolve_batch(events, view, rules)
    if not resolved.faults or len(set(numbers)) == len(numbers):
        return resolved
    why: dict[int, Detail] = {}
    for index, fault in sorted(resolved.faults.items()):
        why.setdefault(numbers[index], fault)
    held = [why.get(number, event) for event, number in zip(events, numbers, strict=True)]
    return resolve_batch(held, view, rules)

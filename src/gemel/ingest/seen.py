"""Events without a time are recognised by source and id, within a window; all others by their values' keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import psycopg

from gemel.base.errors import Detail
from gemel.history.samples import Ints, SampleBatch
from gemel.ingest.events import Event
from gemel.ingest.names import key_text
from gemel.ingest.resolve import Resolved
from gemel.ingest.table import EventTable
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["find_repeats", "forget_seen", "known_repeats", "merge", "values_of"]

REMEMBER = """
INSERT INTO event_seen (tenant, source, event_id, recorded)
SELECT current_tenant(), s, i, to_timestamp(0) + %s * interval '1 microsecond'
FROM unnest(%s::text[], %s::text[]) AS t (s, i)
ON CONFLICT (tenant, source, event_id) DO UPDATE SET recorded = excluded.recorded
    WHERE event_seen.recorded < to_timestamp(0) + %s * interval '1 microsecond'
RETURNING source, event_id"""

KNOWN = """
SELECT k.source, k.event_id FROM unnest(%s::text[], %s::text[]) AS k (source, event_id)
CROSS JOIN LATERAL (
    SELECT 1 FROM event_seen AS s WHERE s.tenant = current_tenant() AND s.source = k.source
    AND s.event_id = k.event_id AND s.recorded >= to_timestamp(0) + %s * interval '1 microsecond' OFFSET 0) AS s"""

FORGET = "DELETE FROM event_seen WHERE recorded < now() - %s * interval '1 hour'"

Name = tuple[str, str]


async def find_repeats(
    tx: WriteTransaction,
    requests: Sequence[tuple[Sequence[Event | Detail], Mapping[int, Detail]]],
    since_us: int,
) -> list[set[int]]:
    """Return, by request, the indices of events without a time that came before, and remember the others.

    A request is its events and the faults among them. An event that goes to quarantine is not remembered:
    mended, it is still new.
    """
    firsts: dict[Name, tuple[int, int]] = {}
    repeats: list[set[int]] = [set() for _ in requests]
    for number, (events, faults) in enumerate(requests):
        for index, name in _untimed(events, faults):
            if firsts.setdefault(name, (number, index)) != (number, index):
                repeats[number].add(index)
    if firsts:
        sources, ids = [name[0] for name in firsts], [name[1] for name in firsts]
        fresh = {(row[0], row[1]) for row in await tx.rows(REMEMBER, (tx.stamp(), sources, ids, since_us))}
        for name in firsts.keys() - fresh:
            number, index = firsts[name]
            repeats[number].add(index)
    return repeats


async def known_repeats(
    tx: ReadTransaction, events: Sequence[Event | Detail], faults: Mapping[int, Detail], since_us: int
) -> set[int]:
    """Return the indices of events without a time that came before, and remember none of the others."""
    names = dict(_untimed(events, faults))
    if not names:
        return set()
    sources, ids = [name[0] for name in names.values()], [name[1] for name in names.values()]
    known = {(row[0], row[1]) for row in await tx.rows(KNOWN, (sources, ids, since_us))}
    repeated = set()
    for index, name in names.items():
        if name in known:
            repeated.add(index)
        known.add(name)
    return repeated


def forget_seen(owner: psycopg.Connection, window_h: float) -> None:
    """Forget, for all tenants, the ids that are older than the window."""
    owner.execute(FORGET, (window_h,))


def merge(requests: Sequence[tuple[Resolved, set[int]]]) -> tuple[SampleBatch, Ints]:
    """Return the values of all requests but those of repeated events as one batch, and each value's request."""
    parts = [
        own.batch.take(~_repeated(own, repeated)) if repeated else own.batch for own, repeated in requests
    ]
    return SampleBatch.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def values_of(resolved: Resolved, repeated: set[int]) -> int:
    """Return how many values the repeated events carry."""
    return int(_repeated(resolved, repeated).sum()) if repeated else 0


def _untimed(events: Sequence[Event | Detail], faults: Mapping[int, Detail]) -> Iterator[tuple[int, Name]]:
    """Give the events that name no time and are sound, each with its index and name."""
    if isinstance(events, EventTable):
        for row in np.flatnonzero(~events.timed).tolist():
            if row not in faults:
                yield row, (key_text(events.sources.at(row) or ""), key_text(events.id(row) or ""))
        return
    for index, event in enumerate(events):
        if isinstance(event, Event) and event.time is None and index not in faults:
            yield index, _name(event)


def _name(event: Event) -> Name:
    return key_text(event.source), key_text(event.id)


def _repeated(resolved: Resolved, repeated: set[int]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.isin(resolved.owner, np.array(sorted(repeated), np.int64))

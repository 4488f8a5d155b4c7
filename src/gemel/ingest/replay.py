"""Replay: quarantined events offered again in order of arrival, portion by portion, or only looked at.

A portion is one commit: each of its events leaves quarantine with the values that it brought, or stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gemel.history.ordering import OUTCOMES
from gemel.ingest import quarantine
from gemel.ingest.events import LINES, Decoded
from gemel.ingest.mending import Mend, as_held
from gemel.ingest.pipeline import Ingest
from gemel.ingest.quarantine import Held
from gemel.ingest.requests import Fate, IngestRequest, IngestResult, Replaying
from gemel.ingest.selection import Selection
from gemel.security.audit import AuditEntry
from gemel.store.database import Database

__all__ = ["Replayed", "Replayer", "Wanted"]

REPLAY_EVENTS = 1000
REPLAY_BYTES = 4 << 20


class Replayed(IngestResult, kw_only=True):
    """What became of quarantined events; in a dry run, what would, with `fates`, one for each.

    `looked` is how many were offered; `next` the number to go on after, null at the end.
    """

    looked: int = 0
    next: int | None = None
    fates: list[Fate] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events, how each is mended, how many at most, and whether it is only looked at.

    `models` is for looking alone: model ids to those that their twins would have.
    """

    selection: Selection
    mend: Mend = as_held
    limit: int | None = None
    dry_run: bool = False
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def mends(self) -> bool:
        """Whether events are changed before they are offered."""
        return self.mend is not as_held


class Replayer:
    """Offers quarantined events of any tenant to ingest again."""

    def __init__(self, database: Database, ingest: Ingest) -> None:
        self._database = database
        self._ingest = ingest

    async def replay(self, tenant: int, wanted: Wanted, audit: AuditEntry) -> Replayed:
        """Offer the selected events in order; those that are taken leave quarantine, unless it is a dry run.

        `index` of a rejected one is its place in that order. Raises InvalidError for `models` that cannot be had.
        """
        total = Replayed(0)
        limit = None if wanted.limit is None else wanted.limit + 1
        async with self._database.read(tenant) as tx:
            sizes = await quarantine.select_sizes(tx, wanted.selection, limit)
        if wanted.limit is not None and len(sizes) > wanted.limit:
            sizes.popitem()
            total.next = next(reversed(sizes))
        for start, numbers in _portions(sizes):
            async with self._database.read(tenant) as tx:
                held = await quarantine.read_held(tx, numbers)
            if held:
                _add(total, start, await self._portion(tenant, wanted, audit, held))
        total.looked = len(sizes)
        return total

    async def _portion(
        self, tenant: int, wanted: Wanted, audit: AuditEntry, held: Sequence[Held]
    ) -> IngestResult | list[Fate]:
        events = await asyncio.to_thread(lambda: [wanted.mend(each) for each in held])
        replaying = Replaying(
            [each.number for each in held],
            [each.received_us for each in held],
            [each.mapping for each in held],
            mended=wanted.mends,
        )
        # The bytes are those that arrived, also of what was mended: what is not taken stays as it came.
        decoded = Decoded(events, b"", LINES, [each.raw for each in held])
        request = IngestRequest(decoded, self._ingest.clock(), audit, replaying=replaying)
        if wanted.dry_run:
            return await self._ingest.foresee(tenant, request, wanted.models)
        return await self._ingest.submit(tenant, request)


def _add(total: Replayed, start: int, portion: IngestResult | list[Fate]) -> None:
    if isinstance(portion, list):
        total.fates += portion
        total.events += len(portion)
        total.quarantined += sum(fate.code is not None for fate in portion)
        for name in OUTCOMES:
            setattr(total, name, getattr(total, name) + sum(getattr(fate, name) for fate in portion))
        return
    total.rejected += [msgspec.structs.replace(each, index=each.index + start) for each in portion.rejected]
    for name in ("events", *OUTCOMES, "quarantined"):
        setattr(total, name, getattr(total, name) + getattr(portion, name))


def _portions(sizes: Mapping[int, int]) -> Iterator[tuple[int, list[int]]]:
    """Cut numbers into portions of bounded count and size; give each with the place of its first."""
    start, portion, held = 0, list[int](), 0
    for place, (number, size) in enumerate(sizes.items()):
        if portion and (len(portion) == REPLAY_EVENTS or held + size > REPLAY_BYTES):
            yield start, portion
            start, portion, held = place, [], 0
        portion.append(number)
        held += size
    if portion:
        yield start, portion

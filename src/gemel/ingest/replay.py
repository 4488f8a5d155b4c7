"""Replay: quarantined events offered again in order of arrival, portion by portion, or only looked at.

A portion is one commit: each of its events leaves quarantine with the values that it brought, or stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gemel.base.errors import Detail
from gemel.history.ordering import OUTCOMES
from gemel.history.origins import Sending
from gemel.ingest import quarantine
from gemel.ingest.events import LINES, Decoded, Event
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
MENDED_EVENTS_MAX = 20_000


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

    `models` is for looking alone: model ids to those that their twins would have. `mapping` is the label of the
    mapping that mends them, if one does.
    """

    selection: Selection
    mend: Mend = as_held
    limit: int | None = None
    dry_run: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    mapping: str | None = None

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
            if not held:
                continue
            place = start
            for batch in await asyncio.to_thread(_batches, held, wanted.mend):
                _add(total, place, await self._offer(tenant, wanted, audit, batch))
                place += len(batch.held)
        total.looked = len(sizes)
        return total

    async def _offer(
        self, tenant: int, wanted: Wanted, audit: AuditEntry, batch: _Batch
    ) -> IngestResult | list[Fate]:
        """Offer a batch in one commit; the places of those that are rejected are those of what waits."""
        held = [batch.held[owner] for owner in batch.owners]
        replaying = Replaying(
            [each.number for each in held],
            batch.receipts_us,
            [each.mapping for each in held],
            mended=wanted.mends,
        )
        # The bytes are those that arrived, also of what was mended: what is not taken stays as it came.
        decoded = Decoded(batch.events, b"", LINES, [each.raw for each in held])
        sending = Sending(mapping=wanted.mapping)
        request = IngestRequest(decoded, self._ingest.clock(), audit, replaying=replaying, sending=sending)
        if wanted.dry_run:
            return await self._ingest.foresee(tenant, request, wanted.models)
        result = await self._ingest.submit(tenant, request)
        first = {each.quarantine: each for each in reversed(result.rejected)}
        place_of = {each.number: place for place, each in enumerate(batch.held)}
        result.rejected = [
            msgspec.structs.replace(each, index=place_of.get(number or 0, each.index))
            for number, each in reversed(first.items())
        ]
        return result


@dataclass(slots=True)
class _Batch:
    """What waits, and the events that were made of it, with which of it each is of and when it was received (µs)."""

    held: list[Held] = field(default_factory=list)
    events: list[Event | Detail] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    receipts_us: list[int] = field(default_factory=list)


def _batches(held: Sequence[Held], mend: Mend) -> list[_Batch]:
    """Mend what waits, and cut it into batches of a bounded number of events."""
    batches = [_Batch()]
    for each in held:
        made = mend(each)
        if batches[-1].events and len(batches[-1].events) + len(made) > MENDED_EVENTS_MAX:
            batches.append(_Batch())
        batch = batches[-1]
        batch.owners += [len(batch.held)] * len(made)
        # Those of one message that have no time of their own get one µs each, as when they are read.
        batch.receipts_us += range(each.received_us, each.received_us + len(made))
        batch.held.append(each)
        batch.events += made
    return batches


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

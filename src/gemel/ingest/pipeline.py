"""Events in: a body becomes samples, quarantine rows and counts, in one commit with its neighbours.

Decoding and resolving go on off the event loop while the commit before is under way; what they rested on is
checked under the lock. The steps of a commit are gemel.ingest.steps.STEPS.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec

from gemel.base.clock import Clock
from gemel.base.errors import GemelError, TooLargeError
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory
from gemel.history.ordering import OUTCOMES
from gemel.ingest import quarantine
from gemel.ingest.events import LINES, SINGLE, Decoded, Event, decode_body, decode_event
from gemel.ingest.framing import VALUES_MAX, count_values
from gemel.ingest.origins import pack
from gemel.ingest.requests import IngestOptions, IngestRequest, IngestResult
from gemel.ingest.resolve import TimeRules, resolve
from gemel.ingest.room import Room
from gemel.ingest.steps import STEPS, Group, Parts, Prepared
from gemel.security.audit import AuditEntry
from gemel.store.database import Database
from gemel.store.gather import Gatherer

__all__ = ["Ingest"]

REPLAY_EVENTS = 1000
REPLAY_BYTES = 4 << 20
INLINE_EVENTS = 50
ROOM_BYTES = 10 << 20
VALUE_BYTES = 10
"""What a value counts for at least, in bytes of a body; VALUES_MAX of them fill the room."""

T = TypeVar("T")


class Ingest:
    """Takes event bodies of any tenant and answers each once its events are durable and visible."""

    def __init__(
        self, db: Database, directory: Directory, context: GraphContext, options: IngestOptions, clock: Clock
    ) -> None:
        self._db = db
        self._options = options
        self._clock = clock
        self._parts = Parts(directory, context, options.dedupe_window_us)
        self._retention_us: dict[int, int] = {}
        self.room = Room(ROOM_BYTES)
        self._committer: Gatherer[Prepared, IngestResult] = Gatherer(
            self._apply,
            weight=lambda item: len(item.request.decoded.events),
            weight_max=options.commit_events_max,
        )

    async def receive(
        self, tenant: int, body: bytes, media_type: str, request_of: Callable[[Decoded], IngestRequest]
    ) -> IngestResult:
        """Decode a body off the event loop, and submit what `request_of` makes of it.

        Decoded events weigh a multiple of their bytes, so that only so many bodies are in work at once; others
        wait as they came. Raises what `decode_body` and `submit` raise, and TooLargeError (BodyTooLarge) for a
        body of more than VALUES_MAX values.
        """
        values = count_values(body)
        if values > VALUES_MAX:
            raise TooLargeError("BodyTooLarge", f"The body has more than {VALUES_MAX} values.", "Split it.")
        async with self.room.hold(max(len(body), VALUE_BYTES * values)):
            decoded = await asyncio.to_thread(decode_body, body, media_type)
            return await self.submit(tenant, request_of(decoded))

    async def submit(self, tenant: int, request: IngestRequest) -> IngestResult:
        """Commit a request's events with those that wait beside it, and return what became of them.

        Raises the refusal of `create_model` (InvalidError), and what is wrong with a `strict` request.
        """
        return await self._committer.submit(tenant, await self._prepare(tenant, request))

    async def telemetry(self, tenant: int, event: Event, audit: AuditEntry) -> None:
        """Take one event or raise what is wrong with it: NotFoundError or InvalidError (ValidationFailed)."""
        decoded = Decoded([event], msgspec.json.encode(event), SINGLE)
        await self.submit(tenant, IngestRequest(decoded, self._clock(), audit, strict=True))

    async def replay(self, tenant: int, selection: quarantine.Selection, audit: AuditEntry) -> IngestResult:
        """Send selected quarantined events through the pipeline again, in order; those taken leave quarantine.

        `index` of a rejected one is its place in that order.
        """
        total = IngestResult(0)
        async with self._db.read(tenant) as tx:
            sizes = await quarantine.select_sizes(tx, selection)
        for start, numbers in _portions(sizes):
            async with self._db.read(tenant) as tx:
                raws = await quarantine.read_raws(tx, numbers)
            decoded = Decoded([decode_event(raw) for raw in raws.values()], b"", LINES, list(raws.values()))
            request = IngestRequest(decoded, self._clock(), audit, replayed=list(raws))
            result = await self.submit(tenant, request)
            total.rejected += [msgspec.structs.replace(r, index=r.index + start) for r in result.rejected]
            for name in ("events", *OUTCOMES, "quarantined"):
                setattr(total, name, getattr(total, name) + getattr(result, name))
        return total

    async def close(self) -> None:
        """Wait until everything taken has been answered."""
        await self._committer.close()

    async def _prepare(self, tenant: int, request: IngestRequest) -> Prepared:
        """Resolve a request by what is known now, and see to it that its weeks exist."""
        subjects = request.decoded.subjects
        view = self._parts.directory.cached(tenant, subjects)
        if view is None:
            async with self._db.read(tenant) as tx:
                view = await self._parts.directory.resolve(tx, subjects)
        latest_us = self._clock() + self._options.future_tolerance_us
        rules = TimeRules(request.received_us, latest_us, self._retention_us.get(tenant, 0))
        events = request.decoded.events
        resolved, origin = await _off_loop(
            len(events), lambda: (resolve(events, view, rules), pack(events, request.sending))
        )
        await self._parts.context.weeks.ensure(resolved.batch.time_us)
        return Prepared(request, rules, frozenset(view.twins), view.epochs, resolved, origin)

    async def _apply(self, tenant: int, items: list[Prepared]) -> list[IngestResult | GemelError]:
        # Copies: what a commit that fails had found must not be what its next attempt starts from.
        group = Group([copy.copy(item) for item in items])
        async with self._db.write(tenant) as tx:
            for step in STEPS:
                await step(self._parts, tx, group)
            self._retention_us[tenant] = tx.retention_us
        return group.results


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


async def _off_loop(events: int, work: Callable[[], T]) -> T:
    """Do work in a thread where it is long enough to be worth one."""
    return work() if events <= INLINE_EVENTS else await asyncio.to_thread(work)

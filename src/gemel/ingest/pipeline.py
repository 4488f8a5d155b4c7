"""Events in: a body becomes samples, quarantine rows and counts, in one commit with its neighbours.

Decoding and resolving go on off the event loop while the commit before is under way; what they rested on is
checked under the lock. The steps of a commit are gemel.ingest.steps.STEPS.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
import numpy as np

from gemel.base.clock import Clock
from gemel.base.errors import Detail, GemelError
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory
from gemel.history.cold import thaw_ahead
from gemel.history.ordering import DUPLICATE, OUTCOMES
from gemel.history.weeks import WEEK_US
from gemel.history.write import foresee_samples
from gemel.ingest import seen
from gemel.ingest.bodies import weigh_json
from gemel.ingest.events import SINGLE, Decoded, Event
from gemel.ingest.origins import Packed, pack
from gemel.ingest.requests import Fate, IngestOptions, IngestRequest, IngestResult
from gemel.ingest.resolve import Resolved, TimeRules
from gemel.ingest.resolve_whole import resolve_whole
from gemel.ingest.room import Room
from gemel.ingest.steps import STEPS, Group, Parts, Prepared
from gemel.ingest.traces import with_trace
from gemel.observe.intake import UNNAMED, Intake, Taken
from gemel.observe.laps import Laps
from gemel.security.audit import AuditEntry
from gemel.store.database import Database
from gemel.store.gather import Gatherer

__all__ = ["Ingest"]

INLINE_EVENTS = 50
ROOM_BYTES = 10 << 20
REPLAY = "quarantine"
"""What counts as the source of events that come out of quarantine."""
NONE_US = np.zeros(0, np.int64)
T = TypeVar("T")


class Ingest:
    """Takes event bodies of any tenant and answers each once its events are durable and visible."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        context: GraphContext,
        options: IngestOptions,
        clock: Clock,
        intake: Intake,
    ) -> None:
        self._db = db
        self._options = options
        self.clock = clock
        self._intake = intake
        self._parts = Parts(directory, context, options.dedupe_window_us)
        self._retention_us: dict[int, int] = {}
        self.room = Room(ROOM_BYTES)
        self._computing = asyncio.Lock()
        self._committer: Gatherer[Prepared, IngestResult] = Gatherer(
            self._apply,
            weight=lambda item: len(item.request.decoded.events),
            weight_max=options.commit_events_max,
        )

    async def receive(
        self,
        tenant: int,
        body: bytes,
        decode: Callable[[bytes], Decoded],
        request_of: Callable[[Decoded], IngestRequest],
        weigh: Callable[[bytes], int] = weigh_json,
    ) -> IngestResult:
        """Decode a body off the event loop, and submit what `request_of` makes of it.

        Decoded events weigh a multiple of their bytes, so that only so many bodies are in work at once; others
        wait as they came; `weigh` says how much room a body takes. Raises what `weigh`, `decode` and `submit` raise.
        """
        async with self.room.hold(weigh(body)):
            entered_s = time.perf_counter()
            request = await self._compute(lambda: request_of(decode(body)))
            decoded_s = time.perf_counter()
            request.laps.marks += (("room", entered_s), ("decode", decoded_s))
            return await self.submit(tenant, request)

    async def submit(self, tenant: int, request: IngestRequest) -> IngestResult:
        """Commit a request's events with those that wait beside it, and return what became of them.

        Raises the refusal of `create_model` (InvalidError), and what is wrong with a `strict` request.
        """
        return await self.commit(tenant, await self.prepare(tenant, request))

    async def commit(self, tenant: int, prepared: Prepared) -> IngestResult:
        """Commit what `prepare` made; as `submit`. What it rests on may have changed: it is looked at again then."""
        return await self._committer.submit(tenant, prepared)

    async def telemetry(self, tenant: int, event: Event, audit: AuditEntry) -> None:
        """Take one event or raise what is wrong with it: NotFoundError or InvalidError (ValidationFailed)."""
        decoded = Decoded([event], msgspec.json.encode(event), SINGLE)
        await self.submit(tenant, IngestRequest(decoded, self.clock(), audit, strict=True))

    async def foresee(self, tenant: int, request: IngestRequest, models: Mapping[str, str]) -> list[Fate]:
        """Return what would become of each event out of quarantine now, and write nothing.

        `models` are model ids to those that twins of them would have. Each request is judged by what is stored,
        not by what others before it would bring. Raises InvalidError (ValidationFailed, ModelDecommissioned).
        """
        parts = self._parts
        async with self._db.read(tenant) as tx:
            view = await parts.directory.resolve(tx, request.decoded.subjects)
            view = await parts.directory.with_models(tx, view, models)
            rules = self._rules(tenant, request)._replace(retention_us=tx.line_us or 0)
            events, numbers = request.decoded.events, request.replaying.numbers
            resolved = await _off_loop(len(events), lambda: resolve_whole(events, numbers, view, rules))
            since_us = self.clock() - parts.dedupe_window_us
            repeated = await seen.known_repeats(tx, events, resolved.faults, since_us)
            repeats = np.isin(resolved.owner, np.array(sorted(repeated), np.int64))
            outcomes = np.full(len(resolved.batch), DUPLICATE, np.int8)
            outcomes[~repeats] = await foresee_samples(tx, resolved.batch.take(~repeats))
        width = len(OUTCOMES)
        cells = np.bincount(resolved.owner * width + outcomes, minlength=len(events) * width)
        counts = cells.reshape(-1, width).tolist()
        return [
            _fate(number, event, resolved.faults.get(index), counts[index])
            for index, (event, number) in enumerate(zip(events, request.replaying.numbers, strict=True))
        ]

    @property
    def waiting(self) -> int:
        """How many requests wait for a commit before theirs."""
        return self._committer.waiting

    async def close(self) -> None:
        """Wait until everything taken has been answered."""
        await self._committer.close()

    async def prepare(self, tenant: int, request: IngestRequest) -> Prepared:
        """Resolve a request by what is known now, and see to it that its weeks exist, while others commit."""
        subjects = request.decoded.subjects
        view = self._parts.directory.cached(tenant, subjects)
        if view is None:
            async with self._db.read(tenant) as tx:
                view = await self._parts.directory.resolve(tx, subjects)
        rules = self._rules(tenant, request)
        request, trace, runs = with_trace(request)
        events, numbers = request.decoded.events, request.replaying.numbers

        def resolve() -> tuple[Resolved, Packed]:
            return resolve_whole(events, numbers, view, rules), pack(events, request.sending)

        resolved, origin = resolve() if len(events) <= INLINE_EVENTS else await self._compute(resolve)
        await self._parts.context.weeks.ensure(resolved.batch.time_us)
        late = resolved.batch.time_us < self.clock() - WEEK_US
        if late.any():
            await thaw_ahead(self._db, tenant, resolved.batch.series[late], resolved.batch.time_us[late])
        request.laps.end("validate")
        return Prepared(request, rules, frozenset(view.twins), view.epochs, resolved, origin, trace, runs)

    async def _compute(self, work: Callable[[], T]) -> T:
        """Do work in a thread, one piece at a time: such threads would wait for each other, and readers for all."""
        async with self._computing:
            return await asyncio.to_thread(work)

    def _rules(self, tenant: int, request: IngestRequest) -> TimeRules:
        latest_us = self.clock() + self._options.future_tolerance_us
        retention_us = self._retention_us.get(tenant, 0)
        receipts_us, spare = request.replaying.receipts_us, request.decoded.spare
        return TimeRules(request.received_us, latest_us, retention_us, receipts_us, spare)

    async def _apply(self, tenant: int, items: list[Prepared]) -> list[IngestResult | GemelError]:
        # Copies: what a commit that fails had found must not be what its next attempt starts from.
        group = Group([copy.copy(item) for item in items])
        for item in items:
            item.request.laps.end("wait")
        async with self._db.write(tenant) as tx:
            for step in STEPS:
                await step(self._parts, tx, group)
            self._retention_us[tenant] = tx.retention_us
        self._count(tenant, group, tx.laps)
        return group.results

    def _count(self, tenant: int, group: Group, laps: Laps) -> None:
        taken = [
            _taken(item, result)
            for item, result in zip(group.items, group.results, strict=True)
            if isinstance(result, IngestResult)
        ]
        self._intake.record(tenant, self.clock(), taken, laps)


def _taken(item: Prepared, result: IngestResult) -> Taken:
    request = item.request
    outcomes = {name: getattr(result, name) for name in OUTCOMES}
    if request.replaying.numbers:
        # Counted as quarantined when they came, and no fresher for having waited.
        return Taken(REPLAY, 0, outcomes, {}, request.received_us, NONE_US, request.laps, item.trace)
    codes: Mapping[str, int] = {}
    if result.quarantined:
        outcomes["quarantined"] = result.quarantined
        codes = Counter(each.code for each in result.rejected)
    source = request.sending.source or item.origin.source or UNNAMED
    return Taken(
        source,
        result.events,
        outcomes,
        codes,
        request.received_us,
        item.fresh_us,
        request.laps,
        item.trace,
        [traceparent for _, traceparent in item.runs if traceparent != item.trace.traceparent],
    )


def _fate(number: int, event: Event | Detail, fault: Detail | None, counts: list[int]) -> Fate:
    subject = event.subject if isinstance(event, Event) else None
    if fault is not None:
        return Fate(number, subject, fault.code, fault.message, fault.place)
    return Fate(number, subject, None, None, None, *counts)


async def _off_loop(events: int, work: Callable[[], T]) -> T:
    """Do work in a thread where it is long enough to be worth one."""
    return work() if events <= INLINE_EVENTS else await asyncio.to_thread(work)

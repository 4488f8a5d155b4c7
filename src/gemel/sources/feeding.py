"""From an open source into the twins: each batch with its position in one commit, then the acknowledgement.

The next batch is read while the one before commits, and no further: a source that is faster than the database
waits at its own end, and nothing piles up here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

import psycopg

from gemel.base.errors import ConflictError, GemelError, OverloadedError, UnavailableError
from gemel.history.ordering import OUTCOMES
from gemel.history.origins import Sending
from gemel.ingest.pipeline import Ingest
from gemel.ingest.positions import Position, read_positions
from gemel.ingest.requests import IngestRequest, IngestResult
from gemel.ingest.steps import Prepared
from gemel.observe.intake import Intake, SourceFigures
from gemel.observe.logs import get_log
from gemel.observe.metrics import Metrics
from gemel.observe.trace import trace_of
from gemel.observe.traffic import Traffic
from gemel.security.audit import AuditEntry, storable
from gemel.sources.contract import Logged, Source, SourceBatch
from gemel.sources.definition import Definition
from gemel.sources.drift import Seen, keep_drift
from gemel.sources.records import Held, check_held, count_batch, part_name
from gemel.store.database import WriteTransaction

__all__ = ["TRANSIENT", "Feeder", "Sink"]

TRANSIENT: Final = (
    UnavailableError,
    OverloadedError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
)
AGAIN_FIRST_S: Final = 0.1
AGAIN_MAX_S: Final = 5.0
LOOK_S: Final = 1.0
"""How often it is looked how much of a log waits."""
BEGUN: Final = "parts of sources"

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Sink:
    """Where the batches of all sources go, and what counts them."""

    ingest: Ingest
    metrics: Metrics
    intake: Intake
    traffic: Traffic


class Feeder:
    """Feeds one source that this process holds; `told` hears of each committed batch's problem, or None."""

    def __init__(
        self, sink: Sink, held: Held, definition: Definition, told: Callable[[str | None], Awaitable[None]]
    ) -> None:
        self._sink = sink
        self._held = held
        self._definition = definition
        self._told = told
        self._watch = definition.watch
        self.stopping = asyncio.Event()
        self.halted: GemelError | None = None

    async def feed(self, source: Source) -> None:
        """Feed until `stopping` is set; what is read and not committed then is read again another time.

        Raises what the source raises, and what ingest refuses for good: ConflictError (SourceLost) where another
        process has the source or (SourceOvertaken) has read its parts on, InvalidError for twins that cannot be made
        and (a code of drift) for what its contract says ends it: that batch is not taken, and those before are.
        """
        reading = asyncio.create_task(self._read(source))
        stopped = asyncio.create_task(self.stopping.wait())
        is_logged, look_s = isinstance(source, Logged), 0.0
        try:
            while not self.stopping.is_set():
                await asyncio.wait((reading, stopped), return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    break
                taken = reading.result()
                reading = asyncio.create_task(self._read(source))
                if taken is not None and await self._deliver(taken):
                    await source.commit(taken.batch.position)
                    await self._told(taken.batch.problem)
                if is_logged and time.monotonic() >= look_s:
                    look_s = time.monotonic() + LOOK_S
                    self._figures().behind = cast("Logged", source).behind()
            if self.halted is not None:
                raise self.halted
        finally:
            stopped.cancel()
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading

    def _figures(self) -> SourceFigures:
        by = self._held.by
        return self._sink.intake.source(by.tenant, by.source)

    async def _read(self, source: Source) -> _Taken | None:
        """Read the next batch and prepare it, while the one before commits."""
        batch = await source.next_batch(self._definition.limits)
        drift = self._drifted()
        if batch is None:
            return None
        request = self._request(batch, drift)
        try:
            prepared = await self._sink.ingest.prepare(self._held.by.tenant, request)
            return _Taken(batch, request, prepared, drift)
        except TRANSIENT:
            return _Taken(batch, request, None, drift)

    def halt(self, error: GemelError) -> None:
        """End after the batch under way, by an error."""
        self.halted = error
        self.stopping.set()

    def _drifted(self) -> Seen | None:
        """Return what the batch that was just read shows of drift, for its commit; raise what ends the source."""
        watch = self._watch
        if watch is None:
            return None
        if watch.halted is not None:
            raise watch.halted
        drift = watch.take_drift()
        return Seen(self._held.by.source, watch.contract.label, watch.now_us, drift) if drift else None

    async def _deliver(self, taken: _Taken) -> bool:
        """Commit a batch; try for as long as it is the database that is away. False where it was stopped."""
        room = self._sink.ingest.room
        delay_s = AGAIN_FIRST_S
        while not self.stopping.is_set():
            try:
                async with room.hold(taken.batch.weight):
                    await self._submit(taken)
            except TRANSIENT as error:
                log.info("source waits for ingest", source=self._held.by.source, error=str(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), delay_s * (1 + random.random()) / 2)  # noqa: S311
                delay_s = min(2 * delay_s, AGAIN_MAX_S)
            else:
                return True
        return False

    async def _submit(self, taken: _Taken) -> None:
        ingest, tenant = self._sink.ingest, self._held.by.tenant
        prepared = taken.prepared or await ingest.prepare(tenant, taken.request)
        result = await ingest.commit(tenant, prepared)
        outcomes = {name: getattr(result, name) for name in (*OUTCOMES, "quarantined")}
        counts = {"events": result.events, **outcomes}
        self._sink.metrics.count_source(self._definition.kind, counts)
        channel = f"source:{self._definition.kind}"
        self._sink.traffic.add(tenant, channel, calls=1, received=taken.batch.weight)
        if taken.drift is not None:
            for sighting, drifted in taken.drift.drift.items():
                self._sink.metrics.count_drift(
                    self._definition.kind, sighting.finding, drifted.policy, drifted.count
                )

    def _request(self, batch: SourceBatch, drift: Seen | None) -> IngestRequest:
        by, events = self._held.by, len(batch.decoded.events)
        names = {part: part_name(by.source, part, batch.shared) for part in batch.position}
        target = f"{by.source} ({events} event{'' if events == 1 else 's'})"
        trace = trace_of(batch.traceparent)
        at = "; ".join(f"{part}={where}" for part, where in batch.position.items()) or None
        return IngestRequest(
            batch.decoded,
            batch.received_us,
            AuditEntry(f"source:{by.source}", None, "events.ingest", target, "ok", trace.trace_id),
            positions=[Position(names[part], at) for part, at in batch.position.items()],
            sending=Sending(by.source, at and storable(at), batch.file, batch.mapping),
            create_model=batch.create_model,
            trace=trace,
            guard=_Lease(self._held, {names[part]: at for part, at in batch.begins.items()}, drift),
        )


@dataclass(frozen=True, slots=True)
class _Taken:
    """A batch on its way; not prepared where the database was away then."""

    batch: SourceBatch
    request: IngestRequest
    prepared: Prepared | None = None
    drift: Seen | None = None


@dataclass(frozen=True, slots=True)
class _Lease:
    """Refuses batches of a source that is no longer held or whose parts have moved; counts those that are taken."""

    held: Held
    begins: Mapping[str, str | None]
    drift: Seen | None = None

    async def check(self, tx: WriteTransaction) -> None:
        await check_held(tx, self.held)
        if self.begins:
            await self._check_begins(tx)

    async def _check_begins(self, tx: WriteTransaction) -> None:
        """Refuse a batch that begins where its parts stand no more, in this commit or before it."""
        taken: set[str] = tx.notes.setdefault(BEGUN, set())
        kept = await read_positions(tx, self.begins)
        for name, at in self.begins.items():
            if kept.get(name) != at or name in taken:
                raise ConflictError(
                    "SourceOvertaken", f"Another reader has read {name} on from {at or 'its start'}."
                )
        taken.update(self.begins)

    async def keep(self, tx: WriteTransaction, result: IngestResult) -> None:
        await count_batch(tx, self.held.by, result)
        if self.drift is not None:
            await keep_drift(tx, self.drift)

"""Events in: a body becomes samples, quarantine rows and counts, in one commit with its neighbours.

The steps of a group of requests, in order, are STEPS; each takes the group and leaves its part on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from gemel.base.clock import Clock
from gemel.base.errors import Detail, GemelError, InvalidError, NotFoundError
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory, DirectoryView, create_missing, extend_start
from gemel.graph.names import is_twin_id
from gemel.history.ordering import OUTCOMES
from gemel.history.write import write_samples
from gemel.ingest import positions, quarantine, seen
from gemel.ingest.events import LINES, SINGLE, Decoded, Event, decode_body, decode_event
from gemel.ingest.resolve import Resolved, TimeRules, resolve
from gemel.security.audit import AuditEntry, record
from gemel.store.database import Database, WriteTransaction
from gemel.store.group import GroupCommitter

__all__ = ["Ingest", "IngestOptions", "IngestRequest", "IngestResult", "Rejected"]


REPLAY_EVENTS = 1000


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not taken: where it stood, why, and its number in quarantine."""

    index: int
    code: str
    message: str
    quarantine: int | None = None


class IngestResult(msgspec.Struct):
    """What became of a request's events.

    `accepted`, `late`, `duplicate` and `corrected` count values; `quarantined` counts events.
    """

    events: int
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    corrected: int = 0
    quarantined: int = 0
    rejected: list[Rejected] = []


@dataclass(frozen=True, slots=True)
class IngestRequest:
    """A decoded body with what goes with it into the commit.

    `position` is a source and how far it has been read; `create_model` the model of twins that do not exist
    yet; `replayed` the quarantine numbers of the events, which leave quarantine when they are taken;
    `strict` raises the first event's fault in place of quarantine.
    """

    decoded: Decoded
    received_us: int
    audit: AuditEntry
    position: positions.Position | None = None
    create_model: str | None = None
    replayed: Sequence[int] | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Limits of the pipeline; times in µs."""

    commit_events_max: int
    future_tolerance_us: int
    dedupe_window_us: int


@dataclass(slots=True)
class Group:
    """The requests that share a commit, and what the steps made of them."""

    requests: list[IngestRequest]
    view: DirectoryView
    refused: dict[int, GemelError] = field(default_factory=dict)
    resolved: list[Resolved] = field(default_factory=list)
    repeated: list[set[int]] = field(default_factory=list)
    results: list[IngestResult | GemelError] = field(default_factory=list)

    def events(self, number: int) -> Sequence[Event | Detail]:
        """Return the events of a request, none if it is refused."""
        return () if number in self.refused else self.requests[number].decoded.events


Step = Callable[["Ingest", WriteTransaction, Group], Awaitable[None]]


class Ingest:
    """Takes event bodies of any tenant and answers each once its events are durable and visible."""

    def __init__(
        self, db: Database, directory: Directory, context: GraphContext, options: IngestOptions, clock: Clock
    ) -> None:
        self.db = db
        self.directory = directory
        self.context = context
        self.options = options
        self.clock = clock
        self._retention_us: dict[int, int] = {}
        self._committer: GroupCommitter[IngestRequest, IngestResult] = GroupCommitter(
            self._apply,
            weight=lambda request: len(request.decoded.events),
            weight_max=options.commit_events_max,
        )

    async def decode(self, body: bytes, media_type: str) -> Decoded:
        """Decode a body off the event loop. Raises InvalidError as `decode_body` does."""
        return await asyncio.to_thread(decode_body, body, media_type)

    async def submit(self, tenant: int, request: IngestRequest) -> IngestResult:
        """Commit a request's events with those that wait beside it, and return what became of them."""
        return await self._committer.submit(tenant, request)

    async def telemetry(self, tenant: int, event: Event, audit: AuditEntry) -> None:
        """Take one event or raise what is wrong with it: NotFoundError or InvalidError (ValidationFailed)."""
        decoded = Decoded([event], msgspec.json.encode(event), SINGLE)
        await self.submit(tenant, IngestRequest(decoded, self.clock(), audit, strict=True))

    async def replay(self, tenant: int, selection: quarantine.Selection, audit: AuditEntry) -> IngestResult:
        """Send selected quarantined events through the pipeline again, in order; those taken leave quarantine.

        `index` of a rejected one is its place in that order.
        """
        total = IngestResult(0)
        async with self.db.read(tenant) as tx:
            numbers = await quarantine.select_numbers(tx, selection)
        for start in range(0, len(numbers), REPLAY_EVENTS):
            own = numbers[start : start + REPLAY_EVENTS]
            async with self.db.read(tenant) as tx:
                raws = await quarantine.read_raws(tx, own)
            decoded = Decoded([decode_event(raw) for raw in raws.values()], b"", LINES, list(raws.values()))
            request = IngestRequest(decoded, self.clock(), audit, replayed=list(raws))
            result = await self.submit(tenant, request)
            total.rejected += [msgspec.structs.replace(r, index=r.index + start) for r in result.rejected]
            for name in ("events", *OUTCOMES, "quarantined"):
                setattr(total, name, getattr(total, name) + getattr(result, name))
        return total

    async def close(self) -> None:
        """Wait until everything taken has been answered."""
        await self._committer.close()

    async def _apply(self, tenant: int, requests: list[IngestRequest]) -> list[IngestResult | GemelError]:
        subjects = {
            event.subject
            for request in requests
            for event in request.decoded.events
            if isinstance(event, Event)
        }
        view = self.directory.cached(tenant, subjects)
        if view is None:
            async with self.db.read(tenant) as reading:
                view = await self.directory.resolve(reading, subjects)
        group = Group(requests, view)
        await self._prepare(group, self._retention_us.get(tenant, 0))
        async with self.db.write(tenant) as tx:
            if await self._outdated(tx, group):
                group.view = await self.directory.resolve(tx, subjects)
                await self._prepare(group, tx.retention_us)
            for step in STEPS:
                await step(self, tx, group)
        return group.results

    async def _outdated(self, tx: WriteTransaction, group: Group) -> bool:
        """Say whether what was resolved before the lock must be resolved again under it."""
        created = await _create_twins(self, tx, group)
        retention_us = self._retention_us.get(tx.tenant, 0)
        self._retention_us[tx.tenant] = tx.retention_us
        return created or tx.retention_us != retention_us or group.view.epochs != await tx.epochs()

    async def _prepare(self, group: Group, retention_us: int) -> None:
        """Resolve off the event loop, and see to it that the weeks exist."""
        latest_us = self.clock() + self.options.future_tolerance_us
        group.resolved = await asyncio.to_thread(_resolve_all, group, latest_us, retention_us)
        for resolved in group.resolved:
            if len(resolved.batch):
                await self.context.weeks.ensure(resolved.batch.time_us)


def _resolve_all(group: Group, latest_us: int, retention_us: int) -> list[Resolved]:
    return [
        resolve(request.decoded.events, group.view, TimeRules(request.received_us, latest_us, retention_us))
        for request in group.requests
    ]


async def _create_twins(ingest: Ingest, tx: WriteTransaction, group: Group) -> bool:
    """Create the twins that requests name and ask for; return whether anything is to be resolved again.

    A request whose model takes no twins is refused; its neighbours are not.
    """
    changed = False
    for number, request in enumerate(group.requests):
        starts = {} if request.create_model is None else _missing(request, group.view)
        if request.create_model is None or not starts:
            continue
        changed = True
        try:
            await create_missing(tx, ingest.context, request.create_model, starts)
        except GemelError as error:
            group.refused[number] = error
    return changed


def _missing(request: IngestRequest, view: DirectoryView) -> dict[str, int]:
    subjects = [event.subject for event in request.decoded.events if isinstance(event, Event)]
    missing = {subject for subject in subjects if subject not in view.twins and is_twin_id(subject)}
    return dict.fromkeys(sorted(missing), request.received_us)


async def _drop_repeats(ingest: Ingest, tx: WriteTransaction, group: Group) -> None:
    """Find the events without a time whose source and id were seen within the window."""
    since_us = tx.recorded_us - ingest.options.dedupe_window_us
    events = [group.events(number) for number in range(len(group.requests))]
    faults = [resolved.faults for resolved in group.resolved]
    group.repeated = await seen.find_repeats(tx, events, faults, since_us)


async def _write(ingest: Ingest, tx: WriteTransaction, group: Group) -> None:
    """Write all values of the group at once, and count the outcomes by request."""
    batch, request_no = seen.merge(group.resolved, group.repeated)
    batch.recorded_us[:] = tx.stamp()
    outcomes = await write_samples(tx, batch)
    counts = np.bincount(request_no * len(OUTCOMES) + outcomes, minlength=len(group.requests) * len(OUTCOMES))
    for number, request in enumerate(group.requests):
        own = counts[number * len(OUTCOMES) : (number + 1) * len(OUTCOMES)]
        result = IngestResult(len(request.decoded.events))
        for name, count in zip(OUTCOMES, own, strict=True):
            setattr(result, name, int(count))
        result.duplicate += seen.values_of(group.resolved[number], group.repeated[number])
        group.results.append(group.refused.get(number, result))
    starts: dict[int, int] = {}
    for resolved in group.resolved:
        for twin_no, time_us in resolved.starts.items():
            starts[twin_no] = min(time_us, starts.get(twin_no, time_us))
    if starts:
        await extend_start(tx, starts)


async def _quarantine(_: Ingest, tx: WriteTransaction, group: Group) -> None:
    """Keep what was not taken, and let go of replayed events that were."""
    for number, request in enumerate(group.requests):
        faults = group.resolved[number].faults
        if request.strict and faults:
            group.results[number] = _refusal(next(iter(faults.values())))
            continue
        events = request.decoded.events
        rejects = {
            index: quarantine.reject_of(events[index], fault, request.decoded.raw(index))
            for index, fault in faults.items()
        }
        numbers = await quarantine.store(tx, list(rejects.values()))
        result = group.results[number]
        if isinstance(result, IngestResult):
            result.quarantined = len(rejects)
            result.rejected = [
                Rejected(index, reject.fault.code, reject.fault.message, numbers[reject.identity])
                for index, reject in rejects.items()
            ]
        if request.replayed is not None:
            taken = [own for index, own in enumerate(request.replayed) if index not in faults]
            await quarantine.remove(tx, taken)


async def _sign(_: Ingest, tx: WriteTransaction, group: Group) -> None:
    """Record the audit rows and the sources' positions of what was not refused."""
    both = zip(group.requests, group.results, strict=True)
    taken = [request for request, result in both if isinstance(result, IngestResult)]
    await record(tx, [request.audit for request in taken])
    await positions.advance(tx, [request.position for request in taken if request.position is not None])


STEPS: tuple[Step, ...] = (_drop_repeats, _write, _quarantine, _sign)


def _refusal(fault: Detail) -> GemelError:
    if fault.code == "TwinUnknown":
        return NotFoundError("DigitalTwinNotFound", fault.message)
    return InvalidError("ValidationFailed", "Invalid telemetry specified", details=(fault,))

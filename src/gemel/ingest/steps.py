"""The steps of a commit, in order: STEPS. Each takes the group under the tenant's lock and leaves its part on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec
import numpy as np
import numpy.typing as npt

from gemel.base.errors import Detail, GemelError, InvalidError
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory, create_missing, extend_start
from gemel.graph.loading import twin_not_found
from gemel.history.ordering import ACCEPTED, OUTCOMES
from gemel.history.origins import Origin, store_origins
from gemel.history.samples import Ints
from gemel.history.write import write_samples
from gemel.ingest import positions, quarantine, seen
from gemel.ingest.events import LINES, Decoded, Event
from gemel.ingest.origins import Packed, pack
from gemel.ingest.requests import IngestRequest, IngestResult, Rejected
from gemel.ingest.resolve import Resolved, TimeRules
from gemel.ingest.resolve_whole import resolve_whole
from gemel.ingest.traces import Run, with_trace
from gemel.observe.trace import Trace
from gemel.security.audit import record
from gemel.store.database import Epochs, WriteTransaction

__all__ = ["STEPS", "Group", "Parts", "Prepared", "Step"]

NEVER = Epochs(-1, -1)
REJECTS_AT_ONCE = 2_000
"""Rejects that are made into rows together: a body may be all rejects, and each weighs a kilobyte on its way."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the steps need beside the group: the directory, the graph's context, the dedupe window in µs."""

    directory: Directory
    context: GraphContext
    dedupe_window_us: int


@dataclass(slots=True)
class Prepared:
    """A request resolved before the lock, and what that rested on: the twins, the epochs and the rules.

    `origin` are its events' packed names, `trace` what the commit goes on with, and `runs` events that name
    others; `fresh_us` are the source times of values that became the state. `first_us` is the recorded time of its
    first event, from which those of the others count on, and `signed` the first and last of all its writes.
    """

    request: IngestRequest
    rules: TimeRules
    known: frozenset[str]
    epochs: Epochs
    resolved: Resolved
    origin: Packed
    trace: Trace
    runs: Sequence[Run] = ()
    fresh_us: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    first_us: int = 0
    signed: tuple[int, int] | None = None
    repeated: set[int] = field(default_factory=set)
    refusal: GemelError | None = None

    @property
    def events(self) -> Sequence[Event | Detail]:
        """Its events; none where it is refused."""
        return () if self.refusal else self.request.decoded.events


@dataclass(slots=True)
class Group:
    """The requests that share a commit, and their results in the same order."""

    items: list[Prepared]
    results: list[IngestResult | GemelError] = field(default_factory=list)


Step = Callable[[Parts, WriteTransaction, Group], Awaitable[None]]


async def claim(_: Parts, tx: WriteTransaction, group: Group) -> None:
    """Leave out the events of a replay that are in quarantine no more: another took or discarded them."""
    wanted = [number for item in group.items for number in item.request.replaying.numbers]
    if not wanted:
        return
    free = await quarantine.claim(tx, wanted)
    for item in group.items:
        numbers = item.request.replaying.numbers
        kept = [index for index, number in enumerate(numbers) if number in free]
        free.difference_update(numbers)
        if len(kept) < len(numbers):
            _narrow(item, kept)


def _narrow(item: Prepared, kept: Sequence[int]) -> None:
    request = item.request
    decoded, replaying = request.decoded, request.replaying.only(kept)
    events, raws = [decoded.events[index] for index in kept], [decoded.raw(index) for index in kept]
    item.request = replace(request, decoded=Decoded(events, b"", LINES, raws), replaying=replaying)
    item.rules = item.rules._replace(receipts_us=replaying.receipts_us)
    item.origin = pack(events, request.sending)
    item.runs = with_trace(item.request)[2]
    item.epochs = NEVER  # to be resolved again


async def settle(parts: Parts, tx: WriteTransaction, group: Group) -> None:
    """Create the twins that are asked for, and resolve again what rested on another state of things."""
    for item in group.items:
        tx.follow(item.trace.traceparent)
        await _ask_guard(tx, item)
        await _create_twins(parts, tx, item)
        item.first_us = tx.stamps(len(item.events))
        tx.traces.extend((item.first_us + index, traceparent) for index, traceparent in item.runs)
        item.signed = tx.sign()
    epochs = tx.epochs
    for item in group.items:
        if item.epochs == epochs and item.rules.retention_us == tx.retention_us and not item.refusal:
            continue
        view = await parts.directory.resolve(tx, item.request.decoded.subjects)
        item.rules = item.rules._replace(retention_us=tx.retention_us)
        numbers = item.request.replaying.numbers if item.events else ()
        item.resolved = await asyncio.to_thread(resolve_whole, item.events, numbers, view, item.rules)
        await parts.context.weeks.ensure_within(tx, item.resolved.batch.time_us)


async def _ask_guard(tx: WriteTransaction, item: Prepared) -> None:
    """Refuse a request, and not its neighbours, whose reader may no longer write."""
    if item.request.guard is not None:
        try:
            await item.request.guard.check(tx)
        except GemelError as error:
            item.refusal = error


async def _create_twins(parts: Parts, tx: WriteTransaction, item: Prepared) -> None:
    """Create a request's missing twins; refuse it, and not its neighbours, where its model takes none."""
    request = item.request
    if request.create_model is None or item.refusal:
        return
    known = item.known
    if item.epochs != tx.epochs:
        known = frozenset((await parts.directory.resolve(tx, request.decoded.subjects)).twins)
    missing = sorted(request.decoded.subjects - known)
    if not missing:
        return
    try:
        await create_missing(
            tx, parts.context, request.create_model, dict.fromkeys(missing, request.received_us)
        )
    except GemelError as error:
        item.refusal = error


async def drop_repeats(parts: Parts, tx: WriteTransaction, group: Group) -> None:
    """Find the events without a time whose source and id were seen within the window."""
    since_us = tx.recorded_us - parts.dedupe_window_us
    requests = [(item.events if item.origin.untimed else (), item.resolved.faults) for item in group.items]
    repeats = await seen.find_repeats(tx, requests, since_us)
    for item, repeated in zip(group.items, repeats, strict=True):
        item.repeated = repeated


async def write(_: Parts, tx: WriteTransaction, group: Group) -> None:
    """Write all values of the group at once, and count the outcomes by request."""
    for item in group.items:
        item.resolved.batch.recorded_us[:] = item.first_us + item.resolved.owner
    batch, item_no = seen.merge([(item.resolved, item.repeated) for item in group.items])
    tx.laps.end("settle")
    outcomes = await write_samples(tx, batch)
    _note_fresh(group, batch.time_us, item_no, outcomes == ACCEPTED)
    width = len(OUTCOMES)
    counts = np.bincount(item_no * width + outcomes, minlength=len(group.items) * width).reshape(-1, width)
    for item, own in zip(group.items, counts, strict=True):
        result = IngestResult(len(item.request.decoded.events))
        for name, count in zip(OUTCOMES, own, strict=True):
            setattr(result, name, int(count))
        result.duplicate += seen.values_of(item.resolved, item.repeated)
        group.results.append(item.refusal or result)
    starts: dict[int, int] = {}
    for item in group.items:
        for twin_no, time_us in item.resolved.starts.items():
            starts[twin_no] = min(time_us, starts.get(twin_no, time_us))
    if starts:
        await extend_start(tx, starts)


def _note_fresh(group: Group, time_us: Ints, item_no: Ints, fresh: npt.NDArray[np.bool_]) -> None:
    if len(group.items) == 1:
        group.items[0].fresh_us = time_us[fresh]
        return
    # Values stand by item, in order.
    ends = np.searchsorted(item_no[fresh], np.arange(1, len(group.items)))
    for item, part in zip(group.items, np.split(time_us[fresh], ends), strict=True):
        item.fresh_us = part


async def keep_rejects(_: Parts, tx: WriteTransaction, group: Group) -> None:
    """Quarantine what was not taken, and let go of replayed events that were."""
    for number, item in enumerate(group.items):
        faults, result = item.resolved.faults, group.results[number]
        if item.request.strict and faults:
            index, fault = next(iter(faults.items()))
            group.results[number] = _refusal(item.events[index], fault)
            continue
        replaying = item.request.replaying
        rejected: list[Rejected] = []
        for part in _batched(faults.items(), REJECTS_AT_ONCE):
            if replaying.mended:
                numbers = {index: replaying.numbers[index] for index, _ in part}
            else:
                numbers = await _store(tx, item.request, part)
            rejected += [Rejected(index, fault.code, fault.message, numbers[index]) for index, fault in part]
        if isinstance(result, IngestResult):
            result.quarantined, result.rejected = len(rejected), rejected
        await quarantine.remove(tx, [no for index, no in enumerate(replaying.numbers) if index not in faults])


async def _store(
    tx: WriteTransaction, request: IngestRequest, part: Sequence[tuple[int, Detail]]
) -> dict[int, int]:
    """Quarantine some events of a request by their faults; return the number of each by its place."""
    decoded, mappings = request.decoded, request.replaying.mappings
    rejects = {
        index: msgspec.structs.replace(
            quarantine.reject_of(decoded.events[index], fault, decoded.raw(index)),
            mapping=mappings[index] if mappings else request.sending.mapping,
            position=decoded.places[index] if decoded.places is not None else None,
            read_from=request.sending.source,
        )
        for index, fault in part
    }
    numbers = await quarantine.store(tx, list(rejects.values()), replayed=bool(mappings))
    return {index: numbers[reject.identity] for index, reject in rejects.items()}


def _batched(pairs: Iterable[tuple[int, Detail]], size: int) -> Iterator[list[tuple[int, Detail]]]:
    """Cut pairs into lists of at most `size` (itertools.batched, which Python 3.11 does not have)."""
    source = iter(pairs)
    while part := list(islice(source, size)):
        yield part


async def sign(_: Parts, tx: WriteTransaction, group: Group) -> None:
    """Record the audit rows, the origins, the sources' positions and counts of what was not refused."""
    both = list(zip(group.items, group.results, strict=True))
    items = [item for item, result in both if isinstance(result, IngestResult)]
    tx.laps.end("quarantine")
    taken = [item.request for item in items]
    async with tx.in_one_trip():
        await record(tx, [request.audit for request in taken], [item.signed for item in items])
        await store_origins(tx, [_origin(item) for item, result in both if _left_values(result)])
        await positions.advance(tx, [position for request in taken for position in request.positions])
    for item, result in both:
        if item.request.guard is not None and isinstance(result, IngestResult):
            await item.request.guard.keep(tx, result)
    tx.laps.end("sign")


def _left_values(result: IngestResult | GemelError) -> bool:
    return isinstance(result, IngestResult) and result.accepted + result.late + result.corrected > 0


def _origin(item: Prepared) -> Origin:
    last_us = item.first_us + len(item.events) - 1
    return Origin(item.first_us, last_us, int(item.resolved.batch.time_us.max()), item.origin.body)


STEPS: tuple[Step, ...] = (claim, settle, drop_repeats, write, keep_rejects, sign)


def _refusal(event: Event | Detail, fault: Detail) -> GemelError:
    if fault.code == "TwinUnknown" and isinstance(event, Event):
        return twin_not_found(event.subject)
    return InvalidError("ValidationFailed", "Invalid telemetry specified", details=(fault,))

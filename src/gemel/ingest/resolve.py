"""Events to columns: find each event's twin, check each value against the model, encode it. Pure.

An event is taken whole or not at all: one value that does not fit sends the event to quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np

from gemel.base.clock import EPOCH, iso_us
from gemel.base.errors import Detail, InvalidError
from gemel.graph.directory import BoundSlot, DirectoryView, TwinRef
from gemel.history.paths import PATH_BITS
from gemel.history.samples import Ints, SampleBatch
from gemel.history.values import DOUBLE, QUALITIES, Encoded, encode
from gemel.ingest.events import INT64, Event, place_of

__all__ = [
    "FLOAT_MAX",
    "QUALITY_NO",
    "TIME_MAX_US",
    "TIME_MIN_US",
    "Resolved",
    "TimeRules",
    "encode_fitting",
    "resolve",
]

TIME_MIN_US = 0
TIME_MAX_US = 9_214_646_400_000_000  # 2262-01-01
FLOAT_MAX = 3.4028234663852886e38  # of 32 bits; beyond it, and for NaN, the full check decides
TIME = "/time"
QUALITY_NO = {name: number for number, name in enumerate(QUALITIES)}


class TimeRules(NamedTuple):
    """Between which source times (µs) events are taken, and the receipt time of those that name none.

    `receipts_us` has the receipt of each event where they did not come together, as in a replay. `spare` says which
    values may be left out where the model has no such path (Decoded).
    """

    received_us: int
    latest_us: int
    retention_us: int
    receipts_us: Sequence[int] = ()
    spare: Callable[[str, Any], bool] | None = None


@dataclass(slots=True)
class Resolved:
    """The columns of n events' values.

    `batch` has a sample per value and `owner` int64 says which event it is of; `faults` maps the events that
    must be quarantined to the reason; `starts` maps twins to the earliest source time (µs) they are told of
    before their own start.
    """

    batch: SampleBatch
    owner: Ints
    faults: dict[int, Detail]
    starts: dict[int, int]


class _FaultError(Exception):
    """Says why an event must be quarantined; never leaves this module."""

    def __init__(self, code: str, message: str, place: str) -> None:
        super().__init__(message)
        self.detail = Detail(code, message, place)


def resolve(events: Sequence[Event | Detail], view: DirectoryView, rules: TimeRules) -> Resolved:
    """Resolve, validate and encode events in order of arrival; recorded times are left at zero."""
    columns = _Columns(rules.spare)
    faults: dict[int, Detail] = {}
    starts: dict[int, int] = {}
    twins = view.twins
    for index, event in enumerate(events):
        if isinstance(event, Detail):
            faults[index] = event
            continue
        twin = twins.get(event.subject)
        if twin is None:
            faults[index] = Detail("TwinUnknown", f"There is no twin {event.subject!r}.", "/subject")
            continue
        try:
            time_us = _time_us(event, rules, index)
            if not twin.floor_us <= time_us < twin.decommissioned_us:
                raise _not_of(time_us, twin)
            columns.add(index, event, time_us, twin)
        except _FaultError as fault:
            faults[index] = fault.detail
            continue
        if time_us < twin.valid_from_us:
            starts[twin.twin_no] = min(time_us, starts.get(twin.twin_no, time_us))
    batch, owner = columns.batch()
    return Resolved(batch, owner, faults, starts)


class _Columns:
    """Grows the columns value by value, and forgets an event's values when one of them is wrong."""

    def __init__(self, spare: Callable[[str, Any], bool] | None) -> None:
        self._spare = spare
        self.series: list[int] = []
        self.nums: list[float] = []
        self.odd: list[tuple[int, int, str | None]] = []
        self.events: list[int] = []
        self.ends: list[int] = []
        self.times: list[int] = []
        self.marks: list[tuple[int, int, int]] = []

    def add(self, index: int, event: Event, time_us: int, twin: TwinRef) -> None:
        """Append an event's values, or raise _FaultError and append none."""
        start = len(self.series)
        base = twin.twin_no << PATH_BITS
        slots = twin.twin_type.slots
        data = event.data if self._spare is None else self._known(event.data, slots)
        for path, value in data.items():
            slot = slots.get(path)
            if (
                type(value) is float
                and slot is not None
                and slot.slot.storage == "double"
                and -FLOAT_MAX <= value <= FLOAT_MAX
            ):
                self.series.append(base | slot.path_no)
                self.nums.append(value)
            else:
                self._take(path, value, base, slot, start)
        if len(self.series) == start:
            raise _FaultError("EventEmpty", "The event carries no values.", "/data")
        if event.revision or event.quality != "good":
            self.marks.append((len(self.events), event.revision, QUALITY_NO[event.quality]))
        self.events.append(index)
        self.ends.append(len(self.series))
        self.times.append(time_us)

    def batch(self) -> tuple[SampleBatch, Ints]:
        """Return the columns, and the event that each sample is of."""
        ends = np.array([0, *self.ends], np.int64)
        counts = ends[1:] - ends[:-1]
        revision = np.zeros(len(self.events), np.int32)
        quality = np.zeros(len(self.events), np.int16)
        for event, own_revision, own_quality in self.marks:
            revision[event], quality[event] = own_revision, own_quality
        kind = np.full(len(self.series), DOUBLE, np.int16)
        docs: list[str | None] = [None] * len(self.series)
        for position, own_kind, doc in self.odd:
            kind[position] = own_kind
            docs[position] = doc
        batch = SampleBatch(
            series=np.array(self.series, np.int64),
            time_us=np.repeat(np.array(self.times, np.int64), counts),
            recorded_us=np.zeros(len(self.series), np.int64),
            num=np.array(self.nums, np.float64),
            kind=kind,
            revision=np.repeat(revision, counts),
            quality=np.repeat(quality, counts),
            docs=docs if any(doc is not None for _, _, doc in self.odd) else None,
        )
        return batch, np.repeat(np.array(self.events, np.int64), counts)

    def _take(self, path: str, value: Any, base: int, slot: BoundSlot | None, start: int) -> None:
        """Append a value that is not a plain double, after a full check."""
        try:
            if slot is None:
                message = f"The twin's model has no property or telemetry {path!r}."
                raise _FaultError("PathNotInModel", message, place_of(path))
            _check(path, value, slot)
            num, kind, doc = _encode(path, value, slot)
        except _FaultError:
            self._forget(start)
            raise
        if kind != DOUBLE:
            self.odd.append((len(self.series), kind, doc))
        self.series.append(base | slot.path_no)
        self.nums.append(nan if num is None else num)

    def _known(self, data: dict[str, Any], slots: Mapping[str, BoundSlot]) -> dict[str, Any]:
        """Return values without those that are spare; all, where none would be left and nothing of the event kept."""
        spare = self._spare
        assert spare is not None
        kept = {path: value for path, value in data.items() if path in slots or not spare(path, value)}
        return kept or data

    def _forget(self, start: int) -> None:
        del self.series[start:], self.nums[start:]
        while self.odd and self.odd[-1][0] >= start:
            self.odd.pop()


def encode_fitting(slot: BoundSlot, value: Any) -> Encoded | None:
    """Return a value in its stored form; None where it does not fit its slot."""
    try:
        _check(slot.slot.path, value, slot)
        return _encode(slot.slot.path, value, slot)
    except _FaultError:
        return None


def _not_of(time_us: int, twin: TwinRef) -> _FaultError:
    """Return why a twin has no samples at a time: it was another's then, or is out of service."""
    if time_us < twin.floor_us:
        return _FaultError(
            "TimeBeforeTwin",
            f"The time {iso_us(time_us)} is of an earlier twin of this id, which ended at {iso_us(twin.floor_us)}.",
            TIME,
        )
    since = f" since {iso_us(twin.decommissioned_us)}" if twin.decommissioned_us else ""
    return _FaultError("TwinDecommissioned", f"At {iso_us(time_us)} the twin is decommissioned{since}.", TIME)


def _check(path: str, value: Any, slot: BoundSlot) -> None:
    if type(value) is float and not isfinite(value):
        raise _FaultError(
            "ValueNotFinite",
            f"The value of {path!r} is {value}, which is not a number that can be kept.",
            place_of(path),
        )
    if type(value) is int and value not in INT64:
        raise _FaultError(
            "ValueOutOfRange", f"The value of {path!r} needs more than 64 bits.", place_of(path)
        )
    problem = slot.slot.check(value)
    if problem is not None:
        message = f"The value of {path!r} does not fit the model: {problem}"
        raise _FaultError("WrongType", message, place_of(path))


def _encode(path: str, value: Any, slot: BoundSlot) -> Encoded:
    try:
        return encode(value, slot.slot.storage)
    except InvalidError as error:
        message = f"The value of {path!r} cannot be kept: {error.message}"
        raise _FaultError(error.code, message, place_of(path)) from error


def _time_us(event: Event, rules: TimeRules, index: int) -> int:
    """Return an event's source time; one that names none gets the receipt time, each its own."""
    time = event.time
    if time is None:
        return rules.receipts_us[index] if rules.receipts_us else rules.received_us + index
    if time.tzinfo is None:
        raise _FaultError("TimeNaive", f"The time {time.isoformat()} has no zone.", TIME)
    since = time - EPOCH
    time_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not TIME_MIN_US <= time_us < TIME_MAX_US:
        raise _FaultError("TimeOutOfRange", "The source time is outside the years 1970 to 2261.", TIME)
    if time_us > rules.latest_us:
        ahead_s = (time_us - rules.received_us) / 1e6
        raise _FaultError(
            "TimeInFuture",
            f"The source time {iso_us(time_us)} is {ahead_s:.1f} s ahead of our clock.",
            TIME,
        )
    if time_us < rules.retention_us:
        line = iso_us(rules.retention_us)
        raise _FaultError(
            "TimeBeforeRetention",
            f"The source time {iso_us(time_us)} is before the line {line}.",
            TIME,
        )
    return time_us

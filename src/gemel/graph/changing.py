"""What a valid request does to a twin: the samples to write, and the twin that it leaves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from gemel.base.clock import iso_us
from gemel.base.errors import Detail
from gemel.graph.content import Content, owner_of, raise_faults
from gemel.graph.live import Held, LiveTwin, TwinRow
from gemel.graph.timeline import FOREVER_US
from gemel.history.values import REMOVED, Encoded, decode, encode
from gemel.models import TwinType

__all__ = ["Change", "Limits", "Outcome", "PropertySample", "as_stored", "change_twin", "time_fault"]

TIME_US_MAX = 9_214_646_400_000_000  # 2262-01-01
GONE = Encoded(None, REMOVED, None)


class Limits(NamedTuple):
    """Which source times are taken: none before `earliest_us`, none after `latest_us`."""

    earliest_us: int
    latest_us: int


class PropertySample(NamedTuple):
    """One sample of a property, to be written."""

    twin_no: int
    path: str
    time_us: int
    value: Encoded
    recorded_us: int


TIME_US = attrgetter("time_us")


@dataclass(frozen=True, slots=True)
class Change:
    """What a request asks of a twin, valid against `twin_type`, its type afterwards.

    `values` to write and `removed` properties by path; `times_us` explicit source times; `at_us` the source
    time of what has none, or None for the first free moment from now; `restamped` where the twin's own row
    changes even if no property does.
    """

    twin_type: TwinType
    values: Mapping[str, Any]
    removed: frozenset[str] = frozenset()
    times_us: Mapping[str, int] = field(default_factory=dict)
    at_us: int | None = None
    restamped: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A twin as a change leaves it, and the samples that make it so."""

    twin: LiveTwin
    samples: list[PropertySample]


def change_twin(twin: LiveTwin, change: Change, stamp_us: int, limits: Limits) -> Outcome:
    """Return what a change does at the recorded time `stamp_us`; the given twin stays as it was.

    A value without a source time takes max(now, the series' last + 1 µs), and so becomes the state. One with a
    time older than the last is history only. A time equal to the last is what a GET answered, sent back: with
    the same value there is nothing to write, with another it counts as no time.
    A twin that is decommissioned at a value's source time does not take it; what another model takes away, it does.
    Raises InvalidError (ValidationFailed) for source times that are not taken, (ValueOutOfRange) for text that
    cannot be stored.
    """
    if change.times_us:
        _check_times(twin, change, limits)
    properties = dict(twin.properties)
    samples: list[PropertySample] = []
    twin_no, slots, times_us, at_us = twin.row.twin_no, change.twin_type.slots, change.times_us, change.at_us
    for path, value in change.values.items():
        last = properties.get(path)
        storage = slots[path].storage
        encoded = encode(value, storage)
        time_us = times_us.get(path, at_us)
        if last is not None and time_us == last.source_time_us:
            if not last.removed and encode(last.value, storage) == encoded:
                continue
            time_us = None
        time_us = _next_us(last, stamp_us) if time_us is None else time_us
        samples.append(PropertySample(twin_no, path, time_us, encoded, stamp_us))
        if last is None or time_us > last.source_time_us:
            held = value if isinstance(value, str) else as_stored(encoded)
            properties[path] = Held(held, False, time_us, stamp_us)
    removals = len(samples)
    for path in sorted(change.removed):
        time_us = _next_us(properties.get(path), stamp_us)
        samples.append(PropertySample(twin.row.twin_no, path, time_us, GONE, stamp_us))
        properties[path] = Held(None, removed=True, source_time_us=time_us, recorded_us=stamp_us)
    _check_lifecycle(twin, samples if change.twin_type.model == twin.row.model_id else samples[:removals])
    return Outcome(LiveTwin(_changed_row(twin.row, change, stamp_us, samples), properties), samples)


def time_fault(time_us: int, limits: Limits, floor_us: int) -> Detail | None:
    """Say why a source time is not taken for a twin whose id was another's before `floor_us`, or None."""
    if not 0 <= time_us < TIME_US_MAX:
        return Detail("TimeOutOfRange", "is outside the years 1970 to 2261.")
    if time_us > limits.latest_us:
        return Detail("TimeInFuture", f"({iso_us(time_us)}) is too far ahead of our clock.")
    if time_us < limits.earliest_us:
        return Detail("TimeBeforeRetention", f"({iso_us(time_us)}) is before the retention line.")
    if time_us < floor_us:
        message = (
            f"({iso_us(time_us)}) is before {iso_us(floor_us)}, when an earlier twin of this id was deleted."
        )
        return Detail("TimeBeforeTwin", message)
    return None


def _changed_row(row: TwinRow, change: Change, stamp_us: int, samples: Sequence[PropertySample]) -> TwinRow:
    start_us = min(map(TIME_US, samples), default=row.valid_from_us)
    return TwinRow(
        row.twin_no,
        row.twin_id,
        change.twin_type.model,
        dict(change.twin_type.components),
        min(row.valid_from_us, start_us),
        row.created_us,
        stamp_us if change.restamped else row.recorded_us,
        row.floor_us,
        row.lifecycle,
        row.decommissioned_us,
    )


def _check_times(twin: LiveTwin, change: Change, limits: Limits) -> None:
    content = Content()
    for path, time_us in change.times_us.items():
        fault = time_fault(time_us, limits, twin.row.floor_us)
        if fault is not None:
            owner, _, name = path.rpartition(".")
            content.fault(f"sourceTime of {name} on {owner_of(owner)} {fault.message}", fault.code)
    raise_faults(content)


def _check_lifecycle(twin: LiveTwin, samples: Sequence[PropertySample]) -> None:
    if twin.row.decommissioned_us == FOREVER_US:
        return
    content = Content()
    for sample in samples:
        if sample.time_us >= twin.row.decommissioned_us:
            owner, _, name = sample.path.rpartition(".")
            said = f"{name} on {owner_of(owner)} cannot change at {iso_us(sample.time_us)}"
            content.fault(f"{said}: {twin.row.twin_id} is decommissioned then.", "TwinDecommissioned")
    raise_faults(content)


def _next_us(last: Held | None, now_us: int) -> int:
    return now_us if last is None else max(now_us, last.source_time_us + 1)


def as_stored(encoded: Encoded) -> Any:
    """Return a value as it is read back from its stored form."""
    doc = None if encoded.doc is None else msgspec.json.decode(encoded.doc)
    return decode(encoded.num, encoded.kind, doc)

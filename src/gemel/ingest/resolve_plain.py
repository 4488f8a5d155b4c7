"""Events as they usually are to columns of samples: numbers that fit, of twins that there are, all at once.

It is all or nothing: where one event of a batch is any different, None is returned, and `gemel.ingest.resolve` looks
at each by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from gemel.base.errors import Detail
from gemel.graph.directory import DirectoryView
from gemel.history.samples import Ints, SampleBatch
from gemel.ingest.columns import Twins, earliest_starts, slot_columns, twin_columns
from gemel.ingest.events import Event
from gemel.ingest.resolve import QUALITY_NO, Resolved, TimeRules
from gemel.ingest.table import Flags

__all__ = ["resolve_plain"]

WHOLE_MOST = 2.0**63
EXACT_S = 2.0**32
"""Before it, in 2106, a double has seconds since 1970 to a quarter of a µs."""


class _Values(NamedTuple):
    """The m values of n events, one event behind the other: how many each has, which are whole, and their paths."""

    counts: Ints
    num: npt.NDArray[np.float64]
    whole: Flags
    path: Ints
    paths: list[str]


def resolve_plain(events: Sequence[Event | Detail], view: DirectoryView, rules: TimeRules) -> Resolved | None:
    """Return what `gemel.ingest.resolve.resolve` does of events that are all plain, else None."""
    if set(map(type, events)) != {Event}:
        return None
    plain = cast("Sequence[Event]", events)
    values = _values([event.data for event in plain])
    if values is None:
        return None
    number_of = {twin_id: number for number, twin_id in enumerate(view.twins)}
    time_us = _times([event.time for event in plain], rules)
    try:
        code = np.array([number_of[event.subject] for event in plain], np.int64)
    except KeyError:
        return None
    if time_us is None:
        return None
    twins = twin_columns(list(view.twins.values()))
    if not ((time_us >= twins.from_us[code]) & (time_us < twins.to_us[code])).all():
        return None
    return _resolved(plain, values, (twins, code, time_us))


def _values(datas: Sequence[dict[str, object]]) -> _Values | None:
    """Return the values of events, None where one is no number or an event has none."""
    counts = list(map(len, datas))
    found = list(chain.from_iterable(map(dict.values, datas)))
    kinds = set(map(type, found))
    if 0 in counts or not kinds <= {float, int}:
        return None
    numbers = cast("Sequence[float]", found)
    try:
        num = np.array(numbers, np.float64)
    except OverflowError:
        return None
    if kinds == {float, int}:
        whole = np.array([type(number) is int for number in numbers], np.bool_)
    else:
        whole = np.full(len(numbers), int in kinds, np.bool_)
    return _Values(np.array(counts, np.int64), num, whole, *_paths(datas))


def _paths(datas: Sequence[dict[str, object]]) -> tuple[Ints, list[str]]:
    """Return the number of each value's path, and the paths."""
    names = list(chain.from_iterable(datas))
    first = list(datas[0])
    if names == first * len(datas):
        return np.tile(np.arange(len(first)), len(datas)), first
    path_of = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.fromiter(map(path_of.__getitem__, names), np.int64, len(names)), list(path_of)


def _times(times: Sequence[datetime | None], rules: TimeRules) -> Ints | None:
    """Return source times in µs that the rules take, None where there is one that they do not."""
    kinds = set(map(type, times))
    if kinds == {type(None)}:
        return np.array(rules.receipts_us or rules.received_us + np.arange(len(times)), np.int64)
    if kinds != {datetime}:
        return None
    moments = cast("Sequence[datetime]", times)
    if None in {moment.tzinfo for moment in moments}:
        return None
    seconds = np.array([moment.timestamp() for moment in moments])
    if not (seconds.min() >= 0 and seconds.max() < EXACT_S):
        return None
    time_us = np.rint(seconds * 1e6).astype(np.int64)
    taken = time_us.min() >= rules.retention_us and time_us.max() <= rules.latest_us
    return time_us if taken else None


def _resolved(events: Sequence[Event], values: _Values, where: tuple[Twins, Ints, Ints]) -> Resolved | None:
    twins, code, time_us = where
    slots = slot_columns(twins.types, values.paths)
    owner = np.repeat(np.arange(len(events)), values.counts)
    twin = code[owner]
    place = twins.type_no[twin] * len(values.paths) + values.path
    num = values.num
    fits = (num >= slots.least[place]) & (num <= slots.most[place])
    if values.whole.any():
        # Doubles cannot tell the greatest whole numbers apart: those are none of ours.
        fitting = (num >= slots.whole_least[place]) & (num <= slots.whole_most[place])
        fits = np.where(values.whole, fitting & (np.abs(num) < WHOLE_MOST), fits)
    if not fits.all():
        return None
    quality = np.array([QUALITY_NO[event.quality] for event in events], np.int16)
    revision = np.array([event.revision for event in events], np.int32)
    batch = SampleBatch(
        series=twins.base[twin] | slots.path_no[place],
        time_us=time_us[owner],
        recorded_us=np.zeros(len(owner), np.int64),
        num=num,
        kind=slots.kind[place],
        revision=revision[owner],
        quality=quality[owner],
        docs=None,
    )
    starts = earliest_starts(twins, code, time_us, np.ones(len(events), np.bool_))
    return Resolved(batch, owner, {}, starts)

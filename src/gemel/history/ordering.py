"""The time rules, pure: what each arriving sample is, and what must be written for it.

The outcome is the same whatever the order, repetition or grouping of arrivals: of two values for one key
the greater rank wins (gemel.history.values.rank), the other is kept as superseded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gemel.history.samples import Ints, Sample, SampleBatch
from gemel.history.values import Rank, rank

__all__ = ["ACCEPTED", "CORRECTED", "DUPLICATE", "LATE", "NEVER_US", "OUTCOMES", "Known", "Plan", "plan"]

ACCEPTED, LATE, DUPLICATE, CORRECTED = 0, 1, 2, 3
OUTCOMES = ("accepted", "late", "duplicate", "corrected")
NEVER_US = np.iinfo(np.int64).min
"""The last source time of a series that has no sample."""

Key = tuple[int, int]


@dataclass(slots=True)
class Known:
    """What is stored under keys that arrive again: the value that holds each, and the ranks of those that lost."""

    held: Mapping[Key, Sample] = field(default_factory=dict)
    lost: Mapping[Key, set[Rank]] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What to write for a batch of n samples.

    `outcomes` int8[n]; `late` bool[n] whether each was behind its series' last; `fresh` positions of samples
    whose key is new, by series and time; `winners` positions of samples that take a stored key over; `lost` the
    samples that have no key any more, stored or arrived, each with the recorded time (µs) of the one that it
    lost to, its own where it lost at once; `state` positions of samples that become their series' state.
    """

    outcomes: npt.NDArray[np.int8]
    late: npt.NDArray[np.bool_]
    fresh: Ints
    state: Ints
    winners: list[int] = field(default_factory=list)
    lost: list[tuple[Sample, int]] = field(default_factory=list)


def plan(batch: SampleBatch, last_us: Ints, known: Known) -> Plan:
    """Classify a batch; `last_us` int64[n] is the last source time of each sample's series, or NEVER_US."""
    order = np.lexsort((batch.time_us, batch.series))
    series, time_us = batch.series[order], batch.time_us[order]
    repeats = (series[1:] == series[:-1]) & (time_us[1:] == time_us[:-1])
    late = _late(batch, order, last_us)
    made = Plan(np.where(late, LATE, ACCEPTED).astype(np.int8), late, order, order[:0])
    if repeats.any() or known.held:
        made.fresh = _contest(batch, order, repeats, known, made)
    made.state = _state(batch, last_us, made)
    return made


def _late(batch: SampleBatch, order: Ints, last_us: Ints) -> npt.NDArray[np.bool_]:
    """Mark samples that are not newer than both their series' last and what arrived before them."""
    late = batch.time_us <= last_us
    arrival_by_series = np.lexsort((np.arange(len(batch)), batch.series))
    if np.array_equal(arrival_by_series, order):
        return late
    _, dense = np.unique(batch.time_us, return_inverse=True)
    series = batch.series[arrival_by_series]
    segment = np.cumsum(np.concatenate(([0], series[1:] != series[:-1])))
    height = segment * (len(batch) + 1) + dense[arrival_by_series]
    highest = np.maximum.accumulate(height)
    behind = np.zeros(len(batch), np.bool_)
    behind[arrival_by_series[1:]] = (height[1:] < highest[:-1]) & (segment[1:] == segment[:-1])
    return late | behind


def _contest(
    batch: SampleBatch, order: Ints, repeats: npt.NDArray[np.bool_], known: Known, made: Plan
) -> Ints:
    """Settle every key that has several values; return the positions whose key is new."""
    keep = np.ones(len(batch), np.bool_)
    for positions in _contested(batch, order, repeats, known):
        keep[positions] = False
        key = (int(batch.series[positions[0]]), int(batch.time_us[positions[0]]))
        winner = _settle(batch, positions, key, known, made)
        if winner is not None:
            keep[winner] = True
    return order[keep[order]]


def _contested(
    batch: SampleBatch, order: Ints, repeats: npt.NDArray[np.bool_], known: Known
) -> Iterator[list[int]]:
    starts = np.flatnonzero(np.concatenate(([True], ~repeats)))
    ends = np.append(starts[1:], len(order))
    alone = ends - starts == 1
    for start, end in zip(starts[~alone], ends[~alone], strict=True):
        yield [int(position) for position in order[start:end]]
    if known.held:
        for start in starts[alone]:
            position = int(order[start])
            if (int(batch.series[position]), int(batch.time_us[position])) in known.held:
                yield [position]


def _settle(batch: SampleBatch, positions: list[int], key: Key, known: Known, made: Plan) -> int | None:
    """Rank the arrivals of one key in order; return the position that takes the key, if it is new."""
    held = known.held.get(key)
    best: Rank | None = None
    seen = set(known.lost.get(key, ()))
    winner: int | None = None
    holder = held
    if held is not None:
        best = rank(held.revision, held.value, held.quality)
        seen.add(best)
    for position in positions:
        sample = batch.row(position)
        own = rank(sample.revision, sample.value, sample.quality)
        if own in seen:
            made.outcomes[position] = DUPLICATE
            continue
        seen.add(own)
        wins = best is None or own > best
        if holder is not None:
            made.outcomes[position] = CORRECTED
            made.lost.append((holder if wins else sample, sample.recorded_us))
        if wins:
            winner, best, holder = position, own, sample
    if held is None:
        return winner
    if winner is not None:
        made.winners.append(winner)
    return None


def _state(batch: SampleBatch, last_us: Ints, made: Plan) -> Ints:
    """Return the positions that become state: each series' newest, or a winner under the last key."""
    fresh = made.fresh
    series = batch.series[fresh]
    newest = fresh[np.append(series[1:] != series[:-1], True)] if len(fresh) else fresh
    newest = newest[batch.time_us[newest] > last_us[newest]]
    winners = np.array(made.winners, np.int64)
    winners = winners[batch.time_us[winners] == last_us[winners]]
    winners = winners[~np.isin(batch.series[winners], batch.series[newest])]
    return np.concatenate((newest, winners))

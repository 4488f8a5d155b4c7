"""The station's readings as CloudEvents, with the disorder that real senders make, each in its stated share.

Everything follows from the seed, the start and the rate: the same options give the same events.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gemel.base.clock import iso_us
from gemel.demo.generator import Readings, Station, Value

__all__ = ["SOURCE", "Disorder", "Emission", "Kind", "StreamOptions", "emissions"]

SOURCE = "/demo/station"
EVENT_TYPE = "gemel.telemetry"
UNKNOWN_TWIN, UNKNOWN_PATH = "pump-9", "colour"

SECOND_US = 1_000_000
REPEAT_DELAY_S = (0.1, 2.0)
LATE_DELAY_S = (3.0, 8.0)


class Kind(Enum):
    """What was done to an event on its way."""

    CLEAN = "clean"
    DUPLICATE = "duplicate"
    LATE = "late"
    REORDERED = "reordered"
    CORRECTED = "corrected"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Disorder:
    """Shares of the station's events, each from 0 to 1.

    `late` and `reordered` events are held back: for seconds, or until just after the twin's next event.
    A `duplicate`, `corrected` or `malformed` event is sent besides the true one.
    """

    duplicate: float = 0.01
    late: float = 0.005
    reordered: float = 0.01
    corrected: float = 0.005
    malformed: float = 0.005


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Seed, first source time (µs since the epoch), events per second before disorder, and the disorder."""

    seed: int
    start_us: int
    rate_per_s: float = 200.0
    disorder: Disorder = field(default_factory=Disorder)


@dataclass(frozen=True, slots=True)
class Emission:
    """An event and the moment (µs since the epoch) at which it is to be sent."""

    due_us: int
    event: dict[str, Any]
    kind: Kind


def emissions(options: StreamOptions) -> Iterator[Emission]:
    """Yield the station's events without end, in the order in which they are to be sent."""
    queue: list[tuple[int, int, Emission]] = []
    order = itertools.count()
    for emission in _disordered(options):
        if emission.kind is not Kind.CLEAN:
            heapq.heappush(queue, (emission.due_us, next(order), emission))
            continue
        while queue and queue[0][0] <= emission.due_us:
            yield heapq.heappop(queue)[2]
        yield emission


def _disordered(options: StreamOptions) -> Iterator[Emission]:
    # Its own randomness, so that the physics do not depend on the disorder.
    chance = random.Random(f"disorder {options.seed}")  # noqa: S311 — a simulation, not a secret
    faults = itertools.cycle(FAULTS)
    shares = options.disorder
    for number, (time_us, round_us, twin, values) in enumerate(_true_events(options)):
        event = _event(f"{options.start_us:x}-{number}", twin, time_us, dict(values))
        due_us, kind = time_us, Kind.CLEAN
        roll = chance.random()
        if roll < shares.late:
            due_us, kind = time_us + _delay_us(chance, LATE_DELAY_S), Kind.LATE
        elif roll < shares.late + shares.reordered:
            due_us, kind = time_us + round(round_us * chance.uniform(1.05, 1.9)), Kind.REORDERED
        yield Emission(due_us, event, kind)
        if chance.random() < shares.duplicate:
            yield Emission(due_us + _delay_us(chance, REPEAT_DELAY_S), event, Kind.DUPLICATE)
        if chance.random() < shares.corrected:
            yield Emission(due_us + _delay_us(chance, REPEAT_DELAY_S), _corrected(event), Kind.CORRECTED)
        if chance.random() < shares.malformed:
            broken = {**event, "id": f"{event['id']}-bad", "data": dict(values)}
            next(faults)(broken)
            yield Emission(time_us + 1, broken, Kind.MALFORMED)


def _true_events(options: StreamOptions) -> Iterator[tuple[int, int, str, dict[str, Value]]]:
    """Yield (source time, µs between a twin's events, twin, values): one station step per round of twins."""
    station = Station(options.seed)
    readings: Readings = station.step(0.0)
    gap_us = SECOND_US / options.rate_per_s
    number = 0
    while True:
        round_us = gap_us * len(readings)
        for twin, values in readings.items():
            yield options.start_us + round(number * gap_us), round(round_us), twin, values
            number += 1
        readings = station.step(round_us / SECOND_US)


def _event(event_id: str, twin: str, time_us: int, data: dict[str, Value]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": EVENT_TYPE,
        "subject": twin,
        "time": iso_us(time_us),
        "data": data,
    }


def _delay_us(chance: random.Random, bounds_s: tuple[float, float]) -> int:
    return round(chance.uniform(*bounds_s) * SECOND_US)


def _number_path(data: dict[str, Value]) -> str:
    # Every twin of the station has a measured number.
    return next(path for path, value in data.items() if isinstance(value, float))


def _corrected(event: dict[str, Any]) -> dict[str, Any]:
    path = _number_path(event["data"])
    value = round(event["data"][path] * 1.01 + 0.01, 4)
    return {**event, "id": f"{event['id']}-r1", "revision": 1, "data": {path: value}}


def _break_type(event: dict[str, Any]) -> None:
    event["data"][_number_path(event["data"])] = "ERR"


def _break_path(event: dict[str, Any]) -> None:
    event["data"][UNKNOWN_PATH] = 1.0


def _break_twin(event: dict[str, Any]) -> None:
    event["subject"] = UNKNOWN_TWIN


def _break_number(event: dict[str, Any]) -> None:
    event["data"][_number_path(event["data"])] = math.nan


def _break_time(event: dict[str, Any]) -> None:
    event["time"] = event["time"].removesuffix("Z")


FAULTS = (_break_type, _break_path, _break_twin, _break_number, _break_time)

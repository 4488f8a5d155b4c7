"""What the demo sends: the simulated station as it runs, or a recording at a multiple of its own pace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import as_file
from pathlib import Path

import msgspec

from gemel.base.clock import Clock, to_us
from gemel.connectors.files import Event, FileSource, open_source
from gemel.demo.assets import MAPPING
from gemel.demo.stream import Kind, StreamOptions, emissions
from gemel.mapping.tables import load_mapping

__all__ = ["Outgoing", "open_recording", "recorded", "station"]

SEED = 20
ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event on its way: the source time (µs) at which it is due, its line of NDJSON, and what it says.

    `timely` is false for events that are held back or sent again on purpose.
    """

    due_us: int
    line: bytes
    twin: str
    paths: tuple[str, ...]
    timely: bool = True


def station(clock: Clock) -> Iterator[Outgoing]:
    """Yield the station's events, without end, from now on."""
    for emission in emissions(StreamOptions(SEED, clock())):
        event = emission.event
        line = json.dumps(event, ensure_ascii=False).encode()  # writes NaN, which some events hold on purpose
        timely = emission.kind is Kind.CLEAN
        yield Outgoing(emission.due_us, line, event["subject"], tuple(event["data"]), timely)


def open_recording(file: Path) -> FileSource:
    """Open a recording of the pump rig. Raises InvalidError (FileUnreadable, MappingInvalid)."""
    with as_file(MAPPING) as mapping:
        return open_source(file, load_mapping(mapping))


def recorded(source: FileSource) -> Iterator[Outgoing]:
    """Yield a recording's events in the file's order.

    A row without a readable time is due with the row before it, or with the first that has one.
    """
    due_us: int | None = None
    untimed: list[Event] = []
    for event in _events(source):
        due_us = _time_us(event, due_us)
        untimed.append(event)
        if due_us is not None:
            yield from (_outgoing(event, due_us) for event in untimed)
            untimed = []
    yield from (_outgoing(event, 0) for event in untimed)


def _events(source: FileSource) -> Iterator[Event]:
    while (batch := source.next_batch(ROWS_AT_ONCE)) is not None:
        yield from batch.events


def _outgoing(event: Event, due_us: int) -> Outgoing:
    data = event.data if isinstance(event.data, dict) else {}
    subject = event.subject if isinstance(event.subject, str) else ""
    return Outgoing(due_us, msgspec.json.encode(event), subject, tuple(data))


def _time_us(event: Event, before_us: int | None) -> int | None:
    try:
        return to_us(datetime.fromisoformat(str(event.time)))
    except (ValueError, TypeError):  # not a time, or one without a zone
        return before_us

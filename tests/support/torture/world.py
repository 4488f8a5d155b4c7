"""A seeded stream of events with the disorder of real senders, and what it must come to, by a model of the rules.

The model knows no order of arrival: of the values for one twin, path and time the one of the greatest revision
holds, and the state of a path is its value of the latest time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

__all__ = [
    "MODEL",
    "PATHS",
    "PLAIN",
    "STEADY",
    "Dialect",
    "Message",
    "Outcome",
    "Reading",
    "World",
    "expected",
]

MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:gemel:torture:Pump;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "speed", "schema": "double"},
        {"@type": "Telemetry", "name": "flow", "schema": "double"},
    ],
}
PATHS = ("speed", "flow")
TWINS = 12
START = datetime(2026, 3, 2, tzinfo=UTC)
POISON = {
    "EventMalformed": "not json",
    "PathNotInModel": "a path that the model has not",
    "WrongType": "a text for a number",
    "TimeInFuture": "a time that is far ahead",
    "TimeNaive": "a time without a zone",
}


class Reading(NamedTuple):
    """One value of a twin's path for a source time."""

    twin: str
    path: str
    time: str
    value: float
    revision: int = 0


class Message(NamedTuple):
    """An event as it is sent: what it tells, or the code by which it must be set aside, and the id that it has there.

    Of what is no event at all that is the text which begins it. What is `fleeting` is set aside only if it was seen
    as it happened.
    """

    body: bytes
    reading: Reading | None
    code: str | None = None
    event_id: str | None = None
    fleeting: bool = False


def _bytes(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


class Dialect(NamedTuple):
    """How a way in has its messages.

    `write` puts an event into them; `poison` says by which code each kind of poison is set aside, and `fleeting` of
    which kinds it may pass unseen. `name` gives the id of an event that is set aside; `again`: what is no event at all
    is there as often as it was sent. `steady`: time goes on from event to event, and few keys are told again, so that
    most can be packed; `ordered`: none is told again, out of order or twice.
    """

    write: Callable[[dict[str, Any]], bytes] = _bytes
    poison: Mapping[str, str] = dict(zip(POISON, POISON, strict=True))
    name: Callable[[dict[str, Any]], str] = itemgetter("id")
    fleeting: frozenset[str] = frozenset()
    again: bool = False
    steady: bool = False
    ordered: bool = False


PLAIN = Dialect()
STEADY = Dialect(steady=True)


class Outcome(NamedTuple):
    """What is to be read back, whatever happened on the way."""

    state: dict[tuple[str, str], tuple[str, float]]
    history: set[Reading]
    set_aside: set[tuple[str, str | None]]
    fleeting: set[tuple[str, str | None]]
    """What may be set aside beside `set_aside`."""


class World:
    """All that is sent in one seeded run; `tag` begins the ids of its twins."""

    def __init__(self, seed: int, tag: str, count: int, dialect: Dialect = PLAIN) -> None:
        self.tag = tag
        self._dialect = dialect
        self._told: list[Reading] = []
        self._rng = random.Random(f"{seed} {tag}")
        self.messages = [self._message(number) for number in range(count)]

    @property
    def twins(self) -> list[str]:
        """The ids of its twins."""
        return [f"{self.tag}-{number}" for number in range(TWINS)]

    @property
    def end(self) -> str:
        """The id of the twin whose one event is the last that is sent."""
        return f"{self.tag}-end"

    @property
    def marker(self) -> bytes:
        """The last event."""
        return self._dialect.write(_event("end", self.end, _text(START), {"speed": 0.5}) | {"revision": 0})

    def deliveries(self) -> list[Message]:
        """Return the messages as they come: one in seven twice, late by up to forty places; or as they are."""
        if self._dialect.ordered:
            return self.messages
        sent = self.messages + self._rng.sample(self.messages, len(self.messages) // 7)
        places = {id(message): place for place, message in enumerate(self.messages)}
        return sorted(sent, key=lambda message: places[id(message)] + self._rng.uniform(0, 40))

    def _message(self, number: int) -> Message:
        twin, path = self._rng.choice(self.twins), self._rng.choice(PATHS)
        if self._rng.random() < 0.06:
            return self._poison(number, twin)
        if self._dialect.steady or self._dialect.ordered:
            return self._next(number, twin, path)
        # Few places in time, so that some keys are told again, with another value and a greater revision.
        at = START + timedelta(milliseconds=500 * self._rng.randrange(1, number + 40))
        return self._tell(number, Reading(twin, path, _text(at), float(number), number))

    def _next(self, number: int, twin: str, path: str) -> Message:
        if self._dialect.steady and self._told and self._rng.random() < 0.05:
            reading = self._rng.choice(self._told)._replace(value=float(number), revision=number)
        else:
            reading = Reading(twin, path, _after(number), float(number))
            self._told.append(reading)
        return self._tell(number, reading)

    def _tell(self, number: int, reading: Reading) -> Message:
        event = _event(f"{self.tag}-{number}", reading.twin, reading.time, {reading.path: reading.value})
        return Message(self._dialect.write(event | {"revision": reading.revision}), reading)

    def _poison(self, number: int, twin: str) -> Message:
        kind = self._rng.choice(list(self._dialect.poison))
        code, event_id = self._dialect.poison[kind], f"{self.tag}-{number}"
        if kind == "EventMalformed":
            return Message(b"{%s is no event" % event_id.encode(), None, code, event_id)
        time = _after(number) if self._dialect.ordered else _text(START)
        data: dict[str, Any] = {"speed": 1.0}
        if kind == "PathNotInModel":
            data = {"smell": 1.0}
        elif kind == "TimeInFuture":
            time = f"2199-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
        elif kind == "TimeNaive":
            time = "2026-03-02T00:00:00"
        elif kind == "WrongType":
            data = {"speed": "fast"}
        event = _event(event_id, twin, time, data)
        name = self._dialect.name(event)
        return Message(self._dialect.write(event), None, code, name, kind in self._dialect.fleeting)


def expected(messages: Iterable[Message]) -> Outcome:
    """Return what messages must come to, in whatever order, grouping and repetition they come."""
    messages = list(messages)
    held: dict[tuple[str, str, str], Reading] = {}
    for message in messages:
        reading = message.reading
        if reading is not None:
            before = held.get(reading[:3])
            if before is None or reading.revision > before.revision:
                held[reading[:3]] = reading
    state: dict[tuple[str, str], tuple[str, float]] = {}
    for reading in sorted(held.values(), key=lambda reading: reading.time):
        state[reading.twin, reading.path] = (reading.time, reading.value)
    aside, fleeting = (set(_aside(messages, fleeting=fleeting)) for fleeting in (False, True))
    history = {reading._replace(revision=0) for reading in held.values()}
    return Outcome(state, history, aside, fleeting)


def _aside(messages: Iterable[Message], *, fleeting: bool) -> Iterator[tuple[str, str | None]]:
    return (
        (message.code, message.event_id)
        for message in messages
        if message.code is not None and message.fleeting == fleeting
    )


def _event(event_id: str, twin: str, time: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/torture",
        "type": "reading",
        "subject": twin,
        "time": time,
        "data": data,
    }


def _after(number: int) -> str:
    return _text(START + timedelta(milliseconds=500 * number))


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

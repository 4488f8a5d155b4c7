"""CloudEvents 1.0 in: one event, a batch, or a line each, to typed events or to a reason for quarantine.

The usual body decodes in one call; where that fails, each event is looked at alone, so that one bad event
costs only itself. Source: CloudEvents 1.0.2, JSON format and JSON batch format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec

from gemel.base.codes import CODES
from gemel.base.errors import Detail
from gemel.graph.jsonpatch import pointer_text
from gemel.graph.names import is_twin_id
from gemel.history.values import QUALITIES
from gemel.ingest.framing import EVENTS_MAX, split_array, split_lines, split_objects

__all__ = [
    "BATCH",
    "INT64",
    "LINES",
    "MEDIA_TYPES",
    "SINGLE",
    "UNMAPPED",
    "Decoded",
    "Event",
    "decode_body",
    "decode_event",
    "decode_loose",
    "place_of",
]

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"
MEDIA_TYPES = (SINGLE, BATCH, LINES, "application/json")

UNMAPPED = "gemel.unmapped"
"""The type of what stands in quarantine for a message that does not fit its mapping."""

DEPTH_MAX = 64
PART_BYTES = 1 << 17
INT32_MAX = 2**31 - 1
INT64 = range(-(2**63), 2**63)


Name = Annotated[str, msgspec.Meta(min_length=1)]


class Event(msgspec.Struct, frozen=True, gc=False):
    """A CloudEvents envelope that carries values of one twin: `data` is dotted path to value."""

    id: Name
    source: Name
    type: Name
    specversion: Literal["1.0"]
    subject: str
    data: dict[str, Any]
    time: datetime | None = None
    revision: Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)] = 0
    quality: Literal["good", "uncertain", "bad"] = "good"
    traceparent: str | None = None


@dataclass(slots=True, weakref_slot=True)
class Decoded:
    """The n events of a body in order; a Detail stands where one cannot be decoded.

    `subjects` are the ids of twins that they name, without names that no twin can have; `raw(index)` gives an
    event's own bytes, for quarantine, and `places` says where each stood in what it was read from, if that can be
    said. `named` are the subjects, where they are known without a look at each event. `owners` says of which message
    each event is, by its place among those that came together; None where each is of one. `spare` says of a path and
    its value whether the event may be taken without it, where its twin's model has no such path; None: of no one.
    """

    events: Sequence[Event | Detail]
    body: bytes
    media_type: str
    _parts: Sequence[bytes] | None = None
    named: InitVar[Iterable[str | None] | None] = None
    subjects: set[str] = field(init=False)
    places: Sequence[str] | None = field(init=False, default=None)
    owners: Sequence[int] | None = field(init=False, default=None)
    spare: Callable[[str, Any], bool] | None = field(init=False, default=None)

    def __post_init__(self, named: Iterable[str | None] | None) -> None:
        if named is None:
            events = self.events
            if Detail in set(map(type, events)):
                events = [event for event in events if isinstance(event, Event)]
            named = {event.subject for event in cast("Sequence[Event]", events)}
        self.subjects = {subject for subject in named if subject and is_twin_id(subject)}

    def raw(self, index: int) -> bytes:
        """Return the bytes of one event as they came; parsed once, and only when asked."""
        if self._parts is None:
            is_lines = self.media_type == LINES
            count = len(self.events)
            self._parts = split_objects(self.body, count) if is_lines else _split(self.body, self.media_type)
        return self._parts[index]


_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])


def decode_body(body: bytes, media_type: str) -> Decoded:
    """Decode a request body of one of MEDIA_TYPES.

    Raises InvalidError (BodyMalformed) where a batch is no JSON array (nothing of it is kept), TooLargeError
    (BodyTooLarge) for more than EVENTS_MAX events.
    """
    try:
        events: Sequence[Event | Detail] = _decode_all(body, media_type)
        # Looked for in two steps, since the first is ten times as quick.
        if b"\\" in body and b"\\u" in body:
            events = [_checked(event) for event in events if isinstance(event, Event)]
        return Decoded(events, body, media_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        parts = _split(body, media_type)
        return Decoded([decode_event(part) for part in parts], body, media_type, parts)


def decode_event(raw: bytes) -> Event | Detail:
    """Decode one event's bytes, or say what is wrong with it by code and message."""
    try:
        return _checked(_one.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _diagnose(decode_loose(raw))
    except RecursionError:
        return Detail("EventMalformed", f"The event is nested more than {DEPTH_MAX} levels deep.")
    except UnicodeDecodeError as error:
        return Detail("EventMalformed", f"The event is not UTF-8 at byte {error.start}.")
    except ValueError as error:
        return Detail("EventMalformed", f"The event is not JSON: {error}.")


def decode_loose(raw: bytes) -> Any:
    """Decode JSON as Python's own decoder takes it: with NaN, infinity and integers of any size.

    Raises ValueError where it is not JSON in UTF-8, RecursionError where it is nested too deeply.
    """
    return json.loads(raw.decode("utf-8"), parse_int=_whole)


def place_of(path: str) -> str:
    """Return the JSON Pointer of a path's value within its event."""
    return pointer_text(("data", path))


def _decode_all(body: bytes, media_type: str) -> list[Event]:
    if _is_batch(body, media_type):
        events = _many.decode(body)
    elif media_type == LINES:
        events = [event for part in _parts(body) for event in _one.decode_lines(part)]
        # The decoder itself takes any white space between events, and within them.
        if len(events) != body.strip().count(b"\n") + 1:
            raise ValueError("lines")
    else:
        events = [_one.decode(body)]
    if len(events) > EVENTS_MAX:
        raise ValueError("events")
    return events


def _parts(body: bytes) -> Iterator[memoryview | bytes]:
    """Cut lines into parts of about PART_BYTES: while one is decoded, no other thread goes on."""
    start, held = 0, memoryview(body)
    while start + PART_BYTES < len(body):
        end = body.find(b"\n", start + PART_BYTES) + 1 or len(body)
        yield held[start:end]
        start = end
    yield held[start:]


def _is_batch(body: bytes, media_type: str) -> bool:
    return media_type == BATCH or (media_type == "application/json" and body.lstrip()[:1] == b"[")


def _split(body: bytes, media_type: str) -> list[bytes]:
    if media_type == LINES:
        return split_lines(body)
    return split_array(body) if _is_batch(body, media_type) else [body]


def _whole(digits: str) -> int:
    """Return a whole number; one too long for Python's limit is as good as any beyond 64 bits."""
    return int(digits[:30])


def _diagnose(event: Any) -> Event | Detail:
    """Say what is wrong with an event that is JSON but not typed as it must be."""
    if not isinstance(event, dict):
        return Detail("EventMalformed", "An event must be a JSON object.")
    if event.get("type") == UNMAPPED:
        return _unmapped(event)
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            return Detail(
                "EventMalformed", f"The event's {name!r} must be a text that is not empty.", f"/{name}"
            )
    if event.get("specversion") != "1.0":
        return Detail("EventMalformed", "The event's 'specversion' must be \"1.0\".", "/specversion")
    if not isinstance(event.get("subject"), str):
        return Detail("SubjectMissing", "The event's 'subject' must name the twin.", "/subject")
    return _diagnose_values(event)


def _unmapped(event: dict[str, Any]) -> Detail:
    """Say why a message waits that was never mapped: it did not fit the mapping, or broke the contract before."""
    code, place = event.get("code"), event.get("place")
    return Detail(
        code if isinstance(code, str) and code.startswith("Drift") and code in CODES else "MappingFailed",
        str(event.get("problem", "The message did not fit its mapping.")),
        place if isinstance(place, str) else None,
    )


def _diagnose_values(event: dict[str, Any]) -> Event | Detail:
    data = event.get("data")
    if not isinstance(data, dict):
        return Detail("EventEmpty", "The event's 'data' must be an object of path to value.", "/data")
    for path, value in data.items():
        fault = _number_fault(path, value, 0)
        if fault is not None:
            return replace(fault, place=place_of(path))
    revision = event.get("revision", 0)
    if type(revision) is not int or not 0 <= revision <= INT32_MAX:
        return Detail(
            "RevisionInvalid",
            f"The event's 'revision' {revision!r} is not a whole number from 0 to {INT32_MAX}.",
            "/revision",
        )
    if event.get("quality", "good") not in QUALITIES:
        return Detail(
            "QualityInvalid", f"The event's 'quality' must be one of {', '.join(QUALITIES)}.", "/quality"
        )
    try:
        return _checked(msgspec.convert(event, Event))
    except (msgspec.ValidationError, RecursionError):
        return Detail(
            "TimeMalformed",
            f"The event's 'time' {event.get('time')!r} is not an RFC 3339 timestamp.",
            "/time",
        )


def _checked(event: Event) -> Event | Detail:
    """Return an event whose texts can be stored: only an escape can bring in U+0000 or half a surrogate pair."""
    for name in ("id", "source", "type", "subject"):
        if not _is_text(getattr(event, name)):
            message = f"The event's {name!r} holds U+0000 or a lone surrogate."
            return Detail("EventMalformed", message, f"/{name}")
    for path, value in event.data.items():
        if not _is_text(path) or not _holds_text(value):
            message = f"The value of {path!a} holds U+0000 or a lone surrogate."
            return Detail("ValueOutOfRange", message, place_of(path))
    return event


def _holds_text(value: Any) -> bool:
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, dict):
        return all(_is_text(key) and _holds_text(item) for key, item in value.items())
    return not isinstance(value, list) or all(_holds_text(item) for item in value)


def _is_text(text: str) -> bool:
    return "\x00" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def _number_fault(path: str, value: Any, depth: int) -> Detail | None:
    if depth > DEPTH_MAX:
        return Detail("EventMalformed", f"The value of {path!r} is nested more than {DEPTH_MAX} levels deep.")
    if isinstance(value, float) and not math.isfinite(value):
        return Detail(
            "ValueNotFinite", f"The value of {path!r} is {value}, which is not a number that can be kept."
        )
    if isinstance(value, int) and value not in INT64:
        return Detail("ValueOutOfRange", f"The value of {path!r} needs more than 64 bits.")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((fault for item in items if (fault := _number_fault(path, item, depth + 1))), None)

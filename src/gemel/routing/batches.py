"""Notifications gathered into bodies to send, and the cursor that each leaves. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gemel.routing.feed import Part
from gemel.routing.filters import EventFilter
from gemel.routing.notifications import TYPES, Naming, notifications

__all__ = ["BODY_BYTES_MAX", "MEDIA_TYPE", "NOTIFICATIONS_MAX", "Batch", "Cursor", "Gatherer", "Letter"]

MEDIA_TYPE = "application/cloudevents-batch+json"
NOTIFICATIONS_MAX = 100
BODY_BYTES_MAX = 256 << 10


class Cursor(NamedTuple):
    """How far a route is: every change up to `change_no`, and of the next what begins before `position`."""

    change_no: int
    position: int = 0


class Letter(NamedTuple):
    """A notification to be sent: the event's id, the twin that it tells of, the CloudEvent as JSON, and its trace."""

    event_id: str
    twin: str
    event: bytes
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some notifications in order, and where the route stands once they are delivered; none where none was left."""

    letters: Sequence[Letter]
    cursor: Cursor

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.letters)

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(len(letter.event) for letter in self.letters)

    @property
    def traceparent(self) -> str | None:
        """The trace of all of them, None where they are not of one."""
        named = {letter.traceparent for letter in self.letters}
        return named.pop() if len(named) == 1 else None

    @property
    def body(self) -> bytes:
        """All of them as one JSON array."""
        return b"[" + b",".join(letter.event for letter in self.letters) + b"]"


class _Found(NamedTuple):
    letter: Letter
    before: Cursor
    after: Cursor


class Gatherer:
    """Takes a part of the feed batch by batch; what it yields depends on the part and the cursor alone."""

    def __init__(self, part: Part, cursor: Cursor, event_filter: EventFilter, naming: Naming) -> None:
        self._cursor = cursor
        self._found = self._search(part, cursor, event_filter, naming)
        self._waiting: _Found | None = None

    def next(self, size: int) -> Batch:
        """Return the next notifications: at most `size`, and beyond the first at most BODY_BYTES_MAX bytes."""
        letters: list[Letter] = []
        length = 0
        while (found := self._waiting or next(self._found, None)) is not None:
            length += len(found.letter.event) + 1
            if letters and (len(letters) == size or length > BODY_BYTES_MAX):
                self._waiting = found
                return Batch(letters, self._settle(found.before))
            self._waiting = None
            letters.append(found.letter)
            self._cursor = found.after
        return Batch(letters, self._cursor)

    def _settle(self, before: Cursor) -> Cursor:
        """Return the later of two cursors: what was passed over before the next one is dealt with, too."""
        return max(self._cursor, before)

    def _search(
        self, part: Part, cursor: Cursor, event_filter: EventFilter, naming: Naming
    ) -> Iterator[_Found]:
        types = frozenset(each for each in TYPES if event_filter.may_take(each))
        for told in part.told:
            number = told.change.change_no
            if number <= cursor.change_no:
                continue
            start = cursor.position if number == cursor.change_no + 1 else 0
            for position, twin, event in notifications(told, part.known, naming, start, types):
                if event_filter.takes(event):
                    before, after = Cursor(number - 1, position), Cursor(number - 1, position + 1)
                    raw, trace = msgspec.json.encode(event), event.get("traceparent")
                    yield _Found(Letter(event["id"], twin, raw, trace), before, after)
            self._cursor = Cursor(number)

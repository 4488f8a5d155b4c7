"""Notifications gathered into bodies to send, and the cursor that each leaves. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gemel.routing.feed import Part
from gemel.routing.filters import EventFilter
from gemel.routing.notifications import TYPES, Naming, notifications

__all__ = ["BODY_BYTES_MAX", "MEDIA_TYPE", "NOTIFICATIONS_MAX", "Batch", "Cursor", "Gatherer"]

MEDIA_TYPE = "application/cloudevents-batch+json"
NOTIFICATIONS_MAX = 100
BODY_BYTES_MAX = 256 << 10


class Cursor(NamedTuple):
    """How far a route is: every change up to `change_no`, and of the next what begins before `position`."""

    change_no: int
    position: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Some notifications as one body, and where the route stands once they are delivered.

    `count` is 0 where nothing was left to send. `first_id` and `last_id` are those of its events.
    """

    body: bytes
    count: int
    first_id: str
    last_id: str
    cursor: Cursor


class _Found(NamedTuple):
    text: bytes
    event_id: str
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
        texts: list[bytes] = []
        ids: list[str] = []
        length = 0
        while (found := self._waiting or next(self._found, None)) is not None:
            length += len(found.text) + 1
            if texts and (len(texts) == size or length > BODY_BYTES_MAX):
                self._waiting = found
                return Batch(_array(texts), len(texts), ids[0], ids[-1], self._settle(found.before))
            self._waiting = None
            texts.append(found.text)
            ids.append(found.event_id)
            self._cursor = found.after
        if not texts:
            return Batch(b"", 0, "", "", self._cursor)
        return Batch(_array(texts), len(texts), ids[0], ids[-1], self._cursor)

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
            for position, event in notifications(told, part.known, naming, start, types):
                if event_filter.takes(event):
                    before, after = Cursor(number - 1, position), Cursor(number - 1, position + 1)
                    yield _Found(msgspec.json.encode(event), event["id"], before, after)
            self._cursor = Cursor(number)


def _array(texts: list[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"

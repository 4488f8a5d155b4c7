"""Server-sent events: lines to events, as the HTML standard's event stream interpretation says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["EventStream", "ServerEvent"]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream; `id` is the last that the stream had named by then."""

    kind: str
    data: str
    id: str


class EventStream:
    """The events of a stream's lines; `last_id` is the Last-Event-ID from which to resume.

    Comments and events without data are passed over, but such an event's id counts. An event cut off by the
    end of the stream is dropped, its id too, as the standard demands.
    """

    def __init__(self, lines: Iterable[str], last_id: str = "") -> None:
        self._lines = lines
        self.last_id = last_id

    def __iter__(self) -> Iterator[ServerEvent]:
        """Yield events until the stream ends."""
        kind, data, named = "message", list[str](), self.last_id
        for line in self._lines:
            if not line:
                self.last_id = named
                if data:
                    yield ServerEvent(kind, "\n".join(data), named)
                kind, data = "message", []
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                named = value

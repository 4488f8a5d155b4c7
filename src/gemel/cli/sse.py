"""Server-sent events: lines to events, as the HTML standard's event stream interpretation says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["ServerEvent", "events"]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream; `id` is the last that the stream named, for the Last-Event-ID of a resume."""

    kind: str
    data: str
    id: str


def events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Yield the events of a stream's lines; comments and events without data are passed over.

    An event cut off by the end of the stream is dropped, as the standard demands.
    """
    kind, data, last_id = "message", list[str](), ""
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(kind, "\n".join(data), last_id)
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value

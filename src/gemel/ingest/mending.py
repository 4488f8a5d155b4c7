"""Mending quarantined events: what is to become of their bytes before they are offered again. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from gemel.base.errors import Detail, InvalidError
from gemel.graph.jsonpatch import Operation, apply
from gemel.ingest.events import Event, decode_event, decode_loose
from gemel.ingest.quarantine import Held

__all__ = ["Mend", "as_held", "patched"]

Mend = Callable[[Held], Sequence[Event | Detail]]
"""Makes the events to offer out of what waits, one at least, or says why there is none."""


def as_held(held: Held) -> Sequence[Event | Detail]:
    """Return the event as its bytes say: what it broke was mended elsewhere."""
    return (decode_event(held.raw),)


def patched(operations: Sequence[Operation]) -> Mend:
    """Return what applies a JSON Patch (RFC 6902) to the bytes of each event.

    Where it does not apply the fault is JsonPatchInvalid. Bytes that are no JSON can only be replaced as a whole,
    by an operation whose path is empty.
    """

    def mend(held: Held) -> Sequence[Event | Detail]:
        return (one(held),)

    def one(held: Held) -> Event | Detail:
        try:
            document: Any = decode_loose(held.raw)
        except (ValueError, RecursionError):
            document = None
        try:
            return decode_event(json.dumps(apply(document, operations)).encode())
        except InvalidError as error:
            return Detail(error.code, error.message)
        except RecursionError:
            return Detail("EventMalformed", "The patched event is nested too deeply.")

    return mend

"""Where a rejected event waits, with its reason and its own bytes, to be mended and replayed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from gemel.base.clock import iso_us
from gemel.base.errors import Detail, NotFoundError
from gemel.ingest.events import Event
from gemel.ingest.selection import Selection
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "Held",
    "Quarantined",
    "Reject",
    "claim",
    "discard",
    "list_quarantine",
    "read_held",
    "reject_of",
    "remove",
    "select_sizes",
    "show",
    "store",
]

# Each is received at a time of its own: it becomes the source time of an event that names none.
STORE = """
INSERT INTO quarantine (tenant, identity, source, event_id, subject, code, message, place, mapping, position,
                        read_from, raw, received)
SELECT current_tenant(), i, s, e, u, c, m, p, g, w, f, r, to_timestamp(0) + (%s + o) * interval '1 microsecond'
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
            %s::text[], %s::text[], %s::bytea[]) WITH ORDINALITY AS t (i, s, e, u, c, m, p, g, w, f, r, o)
ORDER BY o
ON CONFLICT (tenant, identity) DO UPDATE SET code = excluded.code, message = excluded.message,
    place = excluded.place, mapping = coalesce(excluded.mapping, quarantine.mapping),
    position = coalesce(quarantine.position, excluded.position),
    read_from = coalesce(quarantine.read_from, excluded.read_from), seen = quarantine.seen + %s
RETURNING identity, quarantine_no"""

FIELDS = """
quarantine_no, source, event_id, subject, code, message, (extract(epoch FROM received) * 1000000)::bigint, seen,
place, mapping, position, read_from"""
LIST = f"SELECT {FIELDS} FROM quarantine WHERE {{where}} ORDER BY quarantine_no {{order}} LIMIT %(limit)s"
SHOW = f"SELECT {FIELDS}, raw FROM quarantine WHERE tenant = current_tenant() AND quarantine_no = %s"
SIZES = """
SELECT quarantine_no, octet_length(raw) FROM quarantine WHERE {where} ORDER BY quarantine_no LIMIT %(limit)s"""
HELD = """
SELECT quarantine_no, raw, (extract(epoch FROM received) * 1000000)::bigint, mapping FROM quarantine
WHERE tenant = current_tenant() AND quarantine_no = ANY(%s)
ORDER BY quarantine_no"""
DISCARD = "DELETE FROM quarantine WHERE {where}"
# In the order of their numbers, so that two who claim never wait for each other.
CLAIM = """
SELECT quarantine_no FROM quarantine WHERE tenant = current_tenant() AND quarantine_no = ANY(%s)
ORDER BY quarantine_no FOR UPDATE"""
EVERYTHING = Selection()
REMOVE = "DELETE FROM quarantine WHERE tenant = current_tenant() AND quarantine_no = ANY(%s)"


class Reject(msgspec.Struct, frozen=True):
    """An event that is not taken: why, its bytes, their digest, what can be read of its names, its mapping.

    `position` is where it stood in what it was read from, where that can be said, and `read_from` the name of that.
    """

    identity: str
    source: str | None
    event_id: str | None
    subject: str | None
    fault: Detail
    raw: bytes
    mapping: str | None = None
    position: str | None = None
    read_from: str | None = None


class Quarantined(msgspec.Struct, frozen=True, rename="camel"):
    """A quarantined event as it is listed; `raw` is its text, given only when one is shown.

    `source` is what the event itself says of where it is from. `readFrom` is the source of ours that brought it first,
    or what its request named so: `Gemel-Source`, or the mapping that it was pushed through; `position` where it stood
    there: topic, partition and offset of a log. `place` is the JSON Pointer of what broke the rule, and `mapping` the
    label of the mapping that made the event.
    """

    number: int
    source: str | None
    id: str | None
    subject: str | None
    code: str
    message: str
    received: str
    seen: int
    place: str | None = None
    mapping: str | None = None
    position: str | None = None
    read_from: str | None = None
    raw: str | None = None


class Held(NamedTuple):
    """A quarantined event to mend or replay: its number, its bytes, its receipt (µs), and its mapping's label."""

    number: int
    raw: bytes
    received_us: int
    mapping: str | None


def reject_of(event: Event | Detail, fault: Detail, raw: bytes) -> Reject:
    """Return the reject of an event. Its bytes are its identity: a source may give two events one id."""
    names = _names(event, raw)
    source, event_id, subject = (_text(names.get(name)) for name in ("source", "id", "subject"))
    return Reject(hashlib.sha256(raw).hexdigest(), source, event_id, subject, fault, raw)


async def store(tx: WriteTransaction, rejects: Sequence[Reject], *, replayed: bool = False) -> dict[str, int]:
    """Keep rejects, one row per identity; return the number of each identity.

    One that came before is counted as seen once more, unless it is `replayed`.
    """
    if not rejects:
        return {}
    rows = list({reject.identity: reject for reject in rejects}.values())
    parameters = (
        tx.stamps(len(rows)) - 1,
        [row.identity for row in rows],
        [row.source for row in rows],
        [row.event_id for row in rows],
        [row.subject for row in rows],
        [row.fault.code for row in rows],
        [_text(row.fault.message) for row in rows],
        [_text(row.fault.place) for row in rows],
        [_text(row.mapping) for row in rows],
        [_text(row.position) for row in rows],
        [_text(row.read_from) for row in rows],
        [row.raw for row in rows],
        0 if replayed else 1,
    )
    return {identity: int(number) for identity, number in await tx.rows(STORE, parameters)}


async def remove(tx: WriteTransaction, numbers: Sequence[int]) -> int:
    """Take events out of quarantine by number; return how many there were."""
    return await tx.execute(REMOVE, (list(numbers),)) if numbers else 0


async def claim(tx: WriteTransaction, numbers: Sequence[int]) -> set[int]:
    """Return those of some events that are still there, and keep them until the end of the transaction."""
    return {int(row[0]) for row in await tx.rows(CLAIM, (list(numbers),))} if numbers else set()


async def discard(tx: WriteTransaction, selection: Selection) -> int:
    """Throw selected events away; return how many."""
    where, parameters = selection.where()
    return await tx.execute(DISCARD.format(where=where), parameters)


async def select_sizes(tx: ReadTransaction, selection: Selection, limit: int | None = None) -> dict[int, int]:
    """Return the size in bytes of each selected event by its number, in order of arrival, of at most `limit`."""
    where, parameters = selection.where()
    rows = await tx.rows(SIZES.format(where=where), {**parameters, "limit": limit})
    return {int(number): int(size) for number, size in rows}


async def list_quarantine(
    tx: ReadTransaction, selection: Selection = EVERYTHING, limit: int = 100, *, newest_first: bool = False
) -> list[Quarantined]:
    """Return selected events in order of arrival, or backwards."""
    where, parameters = selection.where()
    sql = LIST.format(where=where, order="DESC" if newest_first else "ASC")
    return [_quarantined(row) for row in await tx.rows(sql, {**parameters, "limit": limit})]


async def show(tx: ReadTransaction, number: int) -> Quarantined:
    """Return one quarantined event with its text. Raises NotFoundError (QuarantineNotFound)."""
    row = await tx.row(SHOW, (number,))
    if row is None:
        raise NotFoundError("QuarantineNotFound", f"There is no quarantined event {number}.")
    return msgspec.structs.replace(
        _quarantined(row[:-1]), raw=bytes(row[-1]).decode("utf-8", "backslashreplace")
    )


async def read_held(tx: ReadTransaction, numbers: Sequence[int]) -> list[Held]:
    """Return quarantined events to work on, in order of arrival."""
    rows = await tx.rows(HELD, (list(numbers),))
    return [Held(int(number), bytes(raw), int(received), mapping) for number, raw, received, mapping in rows]


def _quarantined(row: Sequence[Any]) -> Quarantined:
    number, source, event_id, subject, code, message, received_us, *rest = row
    return Quarantined(number, source, event_id, subject, code, message, iso_us(received_us), *rest)


def _names(event: Event | Detail, raw: bytes) -> dict[str, Any]:
    if isinstance(event, Event):
        return {"source": event.source, "id": event.id, "subject": event.subject}
    try:
        loose = json.loads(raw)  # takes NaN and infinity, which may be why the event is here
    except (ValueError, RecursionError):
        return {}
    return loose if isinstance(loose, dict) else {}


def _text(value: Any) -> str | None:
    """Return a text that can be stored: without U+0000 and lone surrogates."""
    if not isinstance(value, str):
        return None
    return value.replace("\x00", "�").encode("utf-8", "replace").decode()

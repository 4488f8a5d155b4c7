"""Where a rejected event waits, with its reason and its own bytes, to be mended and replayed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from gemel.base.clock import iso_us
from gemel.base.errors import Detail, NotFoundError
from gemel.ingest.events import Event
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "Quarantined",
    "Reject",
    "Selection",
    "discard",
    "list_quarantine",
    "read_raws",
    "reject_of",
    "remove",
    "select_sizes",
    "show",
    "store",
]

STORE = """
INSERT INTO quarantine (tenant, identity, source, event_id, subject, code, message, raw, received)
SELECT current_tenant(), i, s, e, u, c, m, r, to_timestamp(0) + %s * interval '1 microsecond'
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
     AS t (i, s, e, u, c, m, r)
ON CONFLICT (tenant, identity) DO UPDATE SET code = excluded.code, message = excluded.message,
    seen = quarantine.seen + %s
RETURNING identity, quarantine_no"""

FIELDS = """
quarantine_no, source, event_id, subject, code, message, (extract(epoch FROM received) * 1000000)::bigint, seen"""
LIST = f"""
SELECT {FIELDS} FROM quarantine WHERE tenant = current_tenant() AND quarantine_no {{beyond}} %s
  AND (%s::text IS NULL OR code = %s) AND (%s::text IS NULL OR source = %s)
ORDER BY quarantine_no {{order}} LIMIT %s"""
OLDEST_FIRST, NEWEST_FIRST = LIST.format(beyond=">", order="ASC"), LIST.format(beyond="<", order="DESC")
SHOW = f"SELECT {FIELDS}, raw FROM quarantine WHERE tenant = current_tenant() AND quarantine_no = %s"
SIZES = """
SELECT quarantine_no, octet_length(raw) FROM quarantine WHERE tenant = current_tenant()
  AND (%s::bigint[] IS NULL OR quarantine_no = ANY(%s)) AND (%s::text IS NULL OR code = %s)
  AND (%s::text IS NULL OR source = %s)
ORDER BY quarantine_no"""
RAWS = """
SELECT quarantine_no, raw FROM quarantine WHERE tenant = current_tenant() AND quarantine_no = ANY(%s)
ORDER BY quarantine_no"""
REMOVE = "DELETE FROM quarantine WHERE tenant = current_tenant() AND quarantine_no = ANY(%s)"

NUMBER_MAX = 2**63 - 1


class Reject(msgspec.Struct, frozen=True):
    """An event that is not taken: why, its bytes, their digest, and what can be read of its names."""

    identity: str
    source: str | None
    event_id: str | None
    subject: str | None
    fault: Detail
    raw: bytes


class Quarantined(msgspec.Struct, frozen=True):
    """A quarantined event as it is listed; `raw` is its text, given only when one is shown."""

    number: int
    source: str | None
    id: str | None
    subject: str | None
    code: str
    message: str
    received: str
    seen: int
    raw: str | None = None


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which quarantined events: by number, code or source; each that is given must hold."""

    numbers: list[int] | None = None
    code: str | None = None
    source: str | None = None

    def parameters(self) -> tuple[Any, ...]:
        """Return it as the parameters of SIZES."""
        return (self.numbers, self.numbers, self.code, self.code, self.source, self.source)


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
        tx.stamp(),
        [row.identity for row in rows],
        [row.source for row in rows],
        [row.event_id for row in rows],
        [row.subject for row in rows],
        [row.fault.code for row in rows],
        [_text(row.fault.message) for row in rows],
        [row.raw for row in rows],
        0 if replayed else 1,
    )
    return {identity: int(number) for identity, number in await tx.rows(STORE, parameters)}


async def remove(tx: WriteTransaction, numbers: Sequence[int]) -> int:
    """Take events out of quarantine by number; return how many there were."""
    return await tx.execute(REMOVE, (list(numbers),)) if numbers else 0


async def discard(tx: WriteTransaction, selection: Selection) -> int:
    """Throw selected events away; return how many."""
    return await remove(tx, list(await select_sizes(tx, selection)))


async def select_sizes(tx: ReadTransaction, selection: Selection) -> dict[int, int]:
    """Return the size in bytes of each selected event by its number, in order of arrival."""
    return {int(number): int(size) for number, size in await tx.rows(SIZES, selection.parameters())}


async def list_quarantine(
    tx: ReadTransaction,
    *,
    code: str | None = None,
    source: str | None = None,
    after: int | None = None,
    limit: int = 100,
    newest_first: bool = False,
) -> list[Quarantined]:
    """Return quarantined events in order of arrival, or backwards; `after` is the number of the last one had."""
    if after is None:
        after = NUMBER_MAX if newest_first else 0
    statement = NEWEST_FIRST if newest_first else OLDEST_FIRST
    rows = await tx.rows(statement, (after, code, code, source, source, limit))
    return [_quarantined(row) for row in rows]


async def show(tx: ReadTransaction, number: int) -> Quarantined:
    """Return one quarantined event with its text. Raises NotFoundError (QuarantineNotFound)."""
    row = await tx.row(SHOW, (number,))
    if row is None:
        raise NotFoundError("QuarantineNotFound", f"There is no quarantined event {number}.")
    return msgspec.structs.replace(
        _quarantined(row[:-1]), raw=bytes(row[-1]).decode("utf-8", "backslashreplace")
    )


async def read_raws(tx: ReadTransaction, numbers: Sequence[int]) -> dict[int, bytes]:
    """Return the bytes of quarantined events by number, in order of arrival."""
    return {int(number): bytes(raw) for number, raw in await tx.rows(RAWS, (list(numbers),))}


def _quarantined(row: Sequence[Any]) -> Quarantined:
    number, source, event_id, subject, code, message, received_us, seen = row
    return Quarantined(number, source, event_id, subject, code, message, iso_us(received_us), seen)


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

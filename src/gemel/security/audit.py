"""The audit trail: who did or tried what, append-only, in the same transaction as what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gemel.base.clock import iso_us
from gemel.store.database import Database, ReadTransaction, WriteTransaction

__all__ = [
    "INSERT_AUDIT",
    "PLATFORM",
    "AuditEntry",
    "AuditRow",
    "audit_columns",
    "list_audit",
    "record",
    "record_refusal",
]

PLATFORM = 0
"""The tenant that owns what belongs to no tenant."""

TEXT_LENGTH_MAX = 512

INSERT_AUDIT = """
INSERT INTO audit (tenant, actor, key_id, action, target, result, trace_id)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])"""
LIST_AUDIT = """
SELECT audit_no, (extract(epoch FROM at) * 1000000)::bigint, actor, key_id, action, target, result, trace_id
FROM audit WHERE tenant = current_tenant() AND audit_no < %s ORDER BY audit_no DESC LIMIT %s"""
NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act: who, under which key, did what to what, how it ended ("ok" or a code), in which trace."""

    actor: str
    key_id: str | None
    action: str
    target: str
    result: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry as it stands in the trail: with its number and its time (RFC 3339)."""

    number: int
    at: str
    actor: str
    key_id: str | None
    action: str
    target: str
    result: str
    trace_id: str


def audit_columns(entries: Sequence[AuditEntry]) -> tuple[list[str | None], ...]:
    """Return entries as the columns of INSERT_AUDIT, without NUL, lone surrogates or endless text."""
    names = ("actor", "key_id", "action", "target", "result", "trace_id")
    return tuple([_storable(getattr(entry, name)) for entry in entries] for name in names)


async def record(tx: WriteTransaction, entries: Sequence[AuditEntry]) -> None:
    """Append entries in the transaction of the writes they tell of."""
    if entries:
        await tx.execute(INSERT_AUDIT, (tx.tenant, *audit_columns(entries)))


async def record_refusal(database: Database, tenant: int, entry: AuditEntry) -> None:
    """Append the entry of a refused call, in a transaction of its own that waits for no writer."""
    # The head is not locked: nothing but the audit row is written, and it has its own numbers.
    await database.query(tenant, INSERT_AUDIT, (tenant, *audit_columns([entry])), read_only=False)


async def list_audit(tx: ReadTransaction, limit: int, before: int | None = None) -> list[AuditRow]:
    """Return the newest `limit` entries of the tenant, newest first, those numbered under `before` only."""
    rows = await tx.rows(LIST_AUDIT, (NUMBER_MAX if before is None else before, limit))
    return [AuditRow(number, iso_us(at_us), *rest) for number, at_us, *rest in rows]


def _storable(text: str | None) -> str | None:
    if text is None:
        return None
    return (
        text[:TEXT_LENGTH_MAX].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    )

"""Reading the audit trail, filtered: a tenant's own through its transaction, any as the operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from gemel.base.clock import iso_us
from gemel.security.audit import storable
from gemel.store.database import ReadTransaction

__all__ = ["AuditFilter", "AuditRow", "list_audit", "read_trail"]

LAST_CHARACTER = "\U0010ffff"
LIST_AUDIT: LiteralString = """
SELECT a.audit_no, (extract(epoch FROM a.at) * 1000000)::bigint, t.name, a.actor, a.key_id, a.action, a.target,
       a.result, a.trace_id
FROM audit a JOIN tenant t ON t.tenant = a.tenant WHERE a.tenant = %s"""
# Comparisons alone: a LIKE is not leakproof, so row-level security would keep it from the index.
FROM_ACTION: LiteralString = """ AND a.action COLLATE "C" >= %s AND a.action COLLATE "C" < %s"""
FROM_TARGET: LiteralString = """ AND a.target COLLATE "C" >= %s AND a.target COLLATE "C" < %s"""
MOMENT: LiteralString = "to_timestamp(0) + %s * interval '1 microsecond'"
NEWEST_FIRST: LiteralString = " ORDER BY a.audit_no DESC LIMIT %s"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry as it stands in the trail: with its number, its time (RFC 3339) and its tenant's name."""

    number: int
    at: str
    tenant: str
    actor: str
    key_id: str | None
    action: str
    target: str
    result: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; a part that is None takes all.

    `action` and `target` are what these start with; times are µs, `to_us` exclusive; `before` is a number.
    """

    action: str | None = None
    target: str | None = None
    actor: str | None = None
    result: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    before: int | None = None


async def list_audit(tx: ReadTransaction, limit: int, wanted: AuditFilter = AuditFilter()) -> list[AuditRow]:
    """Return the newest `limit` of the wanted entries of the transaction's tenant, newest first."""
    return [_row(row) for row in await tx.rows(*_statement(tx.tenant, limit, wanted))]


def read_trail(
    owner: psycopg.Connection, tenant: int, limit: int, wanted: AuditFilter = AuditFilter()
) -> list[AuditRow]:
    """Return the newest `limit` of the wanted entries of any tenant, newest first, as the operator."""
    return [_row(row) for row in owner.execute(*_statement(tenant, limit, wanted)).fetchall()]


def _statement(tenant: int, limit: int, wanted: AuditFilter) -> tuple[LiteralString, list[Any]]:
    parts: list[tuple[LiteralString, list[Any]]] = []
    if wanted.action is not None:
        parts.append((FROM_ACTION, _starting(wanted.action)))
    if wanted.target is not None:
        parts.append((FROM_TARGET, _starting(wanted.target)))
    if wanted.actor is not None:
        parts.append((" AND a.actor = %s", [storable(wanted.actor)]))
    if wanted.result is not None:
        parts.append((" AND a.result = %s", [storable(wanted.result)]))
    if wanted.from_us is not None:
        parts.append((f" AND a.at >= {MOMENT}", [wanted.from_us]))
    if wanted.to_us is not None:
        parts.append((f" AND a.at < {MOMENT}", [wanted.to_us]))
    if wanted.before is not None:
        parts.append((" AND a.audit_no < %s", [wanted.before]))
    conditions = "".join(condition for condition, _ in parts)
    values = [value for _, given in parts for value in given]
    return LIST_AUDIT + conditions + NEWEST_FIRST, [tenant, *values, limit]


def _starting(prefix: str) -> list[Any]:
    start = storable(prefix)
    return [start, start + LAST_CHARACTER]


def _row(row: tuple[Any, ...]) -> AuditRow:
    number, at_us, *rest = row
    return AuditRow(number, iso_us(at_us), *rest)

"""The audit trail: who did or tried what, append-only, in the same transaction as what was done."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from gemel.base.clock import from_us
from gemel.store.database import WriteTransaction

__all__ = [
    "INSERT_AUDIT",
    "PLATFORM",
    "AuditEntry",
    "audit_columns",
    "operator_name",
    "record",
    "record_migrations",
    "record_operator_act",
    "storable",
    "storable_entry",
]

PLATFORM = 0
"""The tenant that owns what belongs to no tenant."""

TEXT_LENGTH_MAX = 512

INSERT_AUDIT = """
INSERT INTO audit (tenant, actor, key_id, action, target, result, trace_id)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])"""
INSERT_SIGNED = """
INSERT INTO audit (tenant, actor, key_id, action, target, result, trace_id, recorded_from, recorded_to)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                         %s::timestamptz[], %s::timestamptz[])"""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act: who, under which key, did what to what, how it ended ("ok" or a code), in which trace."""

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


async def record(
    tx: WriteTransaction,
    entries: Sequence[AuditEntry],
    signed: Sequence[tuple[int, int] | None] | None = None,
) -> None:
    """Append entries in the transaction of the writes they tell of.

    `signed` has the recorded times (µs, first and last) of each entry's writes, which `tx.sign` gives; without
    it the entries are of one request, and all writes of the transaction so far are its own.
    """
    if not entries:
        return
    spans = [tx.sign()] * len(entries) if signed is None else signed
    ends = [[None if span is None else from_us(span[end]) for span in spans] for end in (0, 1)]
    await tx.execute(INSERT_SIGNED, (tx.tenant, *audit_columns(entries), *ends))


def operator_name() -> str:
    """Return who an operator is in the audit trail: the user of this process, as in "operator:root"."""
    user = os.geteuid()
    try:
        return f"operator:{pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"operator:{user}"


def record_operator_act(owner: psycopg.Connection, action: str, target: str, result: str = "ok") -> None:
    """Append an act of the operator to the platform's trail; `result` is "ok" or an error's code."""
    entry = AuditEntry(operator_name(), None, action, target, result, secrets.token_hex(16))
    owner.execute(INSERT_AUDIT, (PLATFORM, *audit_columns([entry])))


def record_migrations(owner_dsn: str, applied: Sequence[str]) -> None:
    """Append the act of the migrations that were applied, by their names; none leave no entry."""
    if applied:
        with psycopg.connect(owner_dsn) as owner:
            record_operator_act(owner, "database.migrate", ", ".join(applied))


def storable(text: str) -> str:
    """Return a text as the trail keeps it: no longer than 512 characters, without NUL and lone surrogates."""
    return (
        text[:TEXT_LENGTH_MAX].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    )


def storable_entry(entry: AuditEntry) -> AuditEntry:
    """Return an entry as the trail keeps it."""
    return AuditEntry(
        actor=storable(entry.actor),
        key_id=_storable(entry.key_id),
        action=storable(entry.action),
        target=storable(entry.target),
        result=storable(entry.result),
        trace_id=storable(entry.trace_id),
    )


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)

"""How long quarantined events wait before they are given up: by age, for each tenant, and never silently."""

from __future__ import annotations

import secrets
from typing import Any

import psycopg

from gemel.base.clock import from_us
from gemel.security.audit import INSERT_AUDIT, AuditEntry, audit_columns
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["apply_expiry", "count_due", "expire", "expiry_days", "set_expiry_days", "told"]

EXPIRED = "quarantine.expire"
"""The act in the audit trail; its target tells the days, and how many events of which code went."""
DAY_US = 86_400_000_000

DAYS = "SELECT days FROM quarantine_expiry WHERE tenant = current_tenant()"
SET_DAYS = """
INSERT INTO quarantine_expiry (tenant, days) SELECT current_tenant(), %s
ON CONFLICT (tenant) DO UPDATE SET days = excluded.days"""
FORGET_DAYS = "DELETE FROM quarantine_expiry WHERE tenant = current_tenant()"
DUE = """
SELECT code, count(*) FROM quarantine WHERE tenant = current_tenant() AND received < %s
GROUP BY code ORDER BY code"""
EXPIRE = """
WITH gone AS (
    DELETE FROM quarantine WHERE tenant = current_tenant() AND received < %s RETURNING code)
SELECT code, count(*) FROM gone GROUP BY code ORDER BY code"""

POLICIES = "SELECT tenant, days FROM quarantine_expiry ORDER BY tenant"
EXPIRE_OF = """
WITH gone AS (
    DELETE FROM quarantine WHERE tenant = %s AND received < now() - %s * interval '1 day' RETURNING code)
SELECT code, count(*) FROM gone GROUP BY code ORDER BY code"""


async def expiry_days(tx: ReadTransaction) -> int | None:
    """Return after how many days the tenant's events are given up; None: never."""
    row = await tx.row(DAYS)
    return None if row is None else int(row[0])


async def set_expiry_days(tx: WriteTransaction, days: int | None) -> None:
    """Give events up after some days from now on; None: never."""
    await (tx.execute(FORGET_DAYS) if days is None else tx.execute(SET_DAYS, (days,)))


async def count_due(tx: ReadTransaction, days: int, now_us: int) -> dict[str, int]:
    """Return how many events of each code are older than some days."""
    return {code: int(count) for code, count in await tx.rows(DUE, (_before(days, now_us),))}


async def expire(tx: WriteTransaction, days: int, now_us: int) -> dict[str, int]:
    """Give up the events that are older than some days; return how many of each code. The caller audits it."""
    return {code: int(count) for code, count in await tx.rows(EXPIRE, (_before(days, now_us),))}


def apply_expiry(owner: psycopg.Connection) -> dict[int, dict[str, int]]:
    """Give up what is due for all tenants, each with an entry in its own audit trail; on the owner's connection.

    Returns how many events of each code went, by tenant; a tenant of whose events none went is left out.
    """
    done: dict[int, dict[str, int]] = {}
    for tenant, days in owner.execute(POLICIES).fetchall():
        with owner.transaction():
            counts = {code: int(count) for code, count in owner.execute(EXPIRE_OF, (tenant, days))}
            if counts:
                done[tenant] = counts
                entry = AuditEntry("system", None, EXPIRED, told(days, counts), "ok", secrets.token_hex(16))
                owner.execute(INSERT_AUDIT, (tenant, *audit_columns([entry])))
    return done


def told(days: int, counts: dict[str, int]) -> str:
    """Return what the audit trail says of what was given up."""
    gone = ", ".join(f"{count} {code}" for code, count in counts.items())
    return f"older than {days} d: {gone or 'none'}"


def _before(days: int, now_us: int) -> Any:
    return from_us(max(0, now_us - days * DAY_US))

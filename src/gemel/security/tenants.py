"""What the operator does with tenants and their keys: on the owner's connection, which sees all tenants."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from gemel.base.clock import iso_us
from gemel.base.errors import ConflictError, InvalidError, NotFoundError
from gemel.security.audit import INSERT_AUDIT, PLATFORM, AuditEntry, audit_columns, operator_name
from gemel.security.keys import INSERT_KEY, LIST_KEYS, REVOKE_KEY, KeyInfo, key_info, key_missing, key_name
from gemel.security.principal import parse_scopes
from gemel.security.tokens import RandomBytes, digest, mint

__all__ = [
    "NewKey",
    "TenantInfo",
    "create_key",
    "create_tenant",
    "find_tenant",
    "list_keys",
    "list_tenants",
    "revoke_key",
    "tenant_names",
]

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)

INSERT_TENANT = "INSERT INTO tenant (name) VALUES (%s) ON CONFLICT (name) DO NOTHING RETURNING tenant"
# What was dropped for everyone is not there for a newcomer either: tenant 0 has the line of all.
INSERT_HEAD = """
INSERT INTO tenant_head (tenant, retention_line)
SELECT %s, retention_line FROM tenant_head WHERE tenant = 0"""
FIND_TENANT = "SELECT tenant FROM tenant WHERE name = %s AND tenant <> 0"
NAMES = "SELECT tenant, name FROM tenant WHERE tenant <> 0"
LIST_TENANTS = """
SELECT t.tenant, t.name, (extract(epoch FROM t.created) * 1000000)::bigint,
       (SELECT count(*) FROM api_key k WHERE k.tenant = t.tenant AND k.revoked IS NULL)
FROM tenant t WHERE t.tenant <> 0 ORDER BY t.tenant"""


def tenant_names(owner: psycopg.Connection) -> dict[int, str]:
    """Return the names of all tenants by number; on the owner's connection."""
    return dict(owner.execute(NAMES).fetchall())


@dataclass(frozen=True, slots=True)
class TenantInfo:
    """A tenant: its number, name, when it was made (RFC 3339) and how many live keys it has."""

    tenant: int
    name: str
    created: str
    keys: int


def create_tenant(owner: psycopg.Connection, name: str, *, actor: str | None = None) -> int:
    """Make a tenant and its head row; return its number. `actor` is the operator unless named.

    Raises InvalidError (InvalidArgument) for a name of another form and ConflictError (TenantAlreadyExists).
    """
    if not NAME.fullmatch(name):
        raise InvalidError(
            "InvalidArgument",
            f"{name!r} is not a tenant's name.",
            "Use up to 63 lower-case letters, digits and hyphens, the first not a hyphen.",
        )
    with owner.transaction():
        row = owner.execute(INSERT_TENANT, (name,)).fetchone()
        if row is None:
            raise ConflictError("TenantAlreadyExists", f"A tenant named {name!r} is there already.")
        owner.execute(INSERT_HEAD, (row[0],))
        _audit(owner, PLATFORM, actor, "tenant.create", name)
    return int(row[0])


def find_tenant(owner: psycopg.Connection, name: str) -> int:
    """Return a tenant's number by its name; raise NotFoundError (TenantNotFound)."""
    row = owner.execute(FIND_TENANT, (name,)).fetchone() if NAME.fullmatch(name) else None
    if row is None:
        raise NotFoundError(
            "TenantNotFound", f"There is no tenant named {name!r}.", "See `gemel tenant list`."
        )
    return int(row[0])


def list_tenants(owner: psycopg.Connection) -> list[TenantInfo]:
    """Return all tenants by number; tenant 0, the platform's own, is not one of them."""
    return [
        TenantInfo(no, name, iso_us(us), keys)
        for no, name, us, keys in owner.execute(LIST_TENANTS).fetchall()
    ]


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new key is to be: whose, under which name and with which scopes."""

    tenant: str
    name: str
    scopes: Collection[str]


def create_key(
    owner: psycopg.Connection,
    hmac_key: bytes,
    wanted: NewKey,
    *,
    actor: str | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> tuple[str, str]:
    """Make a key of a named tenant; return its id and its token, which is shown only now."""
    scopes = sorted(parse_scopes(wanted.scopes))
    with owner.transaction():
        tenant = find_tenant(owner, wanted.tenant)
        key_id, token = mint(tenant, random_bytes)
        owner.execute(INSERT_KEY, (tenant, key_id, key_name(wanted.name), digest(hmac_key, token), scopes))
        _audit(owner, tenant, actor, "key.create", key_id)
    return key_id, token


def list_keys(owner: psycopg.Connection, tenant: str) -> list[KeyInfo]:
    """Return all keys of a named tenant, revoked ones too, oldest first."""
    return [key_info(row) for row in owner.execute(LIST_KEYS, (find_tenant(owner, tenant),)).fetchall()]


def revoke_key(owner: psycopg.Connection, tenant: str, key_id: str, *, actor: str | None = None) -> None:
    """Revoke a live key of a named tenant; serving processes follow within a second."""
    with owner.transaction():
        number = find_tenant(owner, tenant)
        if "\0" in key_id or not owner.execute(REVOKE_KEY, (number, key_id)).rowcount:
            raise key_missing(key_id)
        _audit(owner, number, actor, "key.revoke", key_id)


def _audit(owner: psycopg.Connection, tenant: int, actor: str | None, action: str, target: str) -> None:
    entry = AuditEntry(actor or operator_name(), None, action, target, "ok", secrets.token_hex(16))
    owner.execute(INSERT_AUDIT, (tenant, *audit_columns([entry])))

"""The two roles beside the owner: one that serves under row-level security, one that may only COPY."""

from __future__ import annotations

import psycopg
from psycopg import errors, sql

__all__ = ["COPY_ROLE", "SERVE_ROLE", "ensure_roles"]

SERVE_ROLE = "gemel_serve"
COPY_ROLE = "gemel_copy"

ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
# Not pg_has_role(): it follows the chain of grants and cannot tell INHERIT FALSE from no grant at all.
GRANTED = """
SELECT EXISTS (
    SELECT FROM pg_auth_members m
    WHERE m.roleid = %s::regrole AND m.member = %s::regrole AND m.set_option AND NOT m.inherit_option)"""
RETRIES_MAX = 20


def ensure_roles(connection: psycopg.Connection) -> None:
    """Create the roles gemel_serve and gemel_copy and their grant, where they are missing.

    Safe to repeat and to run at once from several databases of a cluster. The caller is a superuser or has
    CREATEROLE; one that is no superuser also becomes able to SET ROLE gemel_serve. PostgreSQL 16 or newer.
    """
    _ensure_role(connection, SERVE_ROLE, "LOGIN")
    _ensure_role(connection, COPY_ROLE, "NOLOGIN")
    _ensure_grant(connection, COPY_ROLE, SERVE_ROLE)
    if not _truth(connection, IS_SUPERUSER, ()):
        row = connection.execute("SELECT current_user").fetchone()
        _ensure_grant(connection, SERVE_ROLE, str(row[0]) if row else "")


def _ensure_role(connection: psycopg.Connection, name: str, login: str) -> None:
    if _truth(connection, ROLE_EXISTS, (name,)):
        return
    create = sql.SQL("CREATE ROLE {} " + login).format(sql.Identifier(name))
    try:
        with connection.transaction():
            connection.execute(create)
    except (errors.DuplicateObject, errors.UniqueViolation):
        # Roles belong to the whole cluster: a migration of another database was first.
        return


def _ensure_grant(connection: psycopg.Connection, role: str, member: str) -> None:
    # Two sessions that grant the same at once collide on the catalogue row; the loser looks again.
    quoted = tuple(sql.Identifier(name).as_string(connection) for name in (role, member))
    grant = sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(
        *map(sql.Identifier, (role, member))
    )
    for left in reversed(range(RETRIES_MAX)):
        if _truth(connection, GRANTED, quoted):
            return
        try:
            with connection.transaction():
                connection.execute(grant)
        except (errors.UniqueViolation, errors.InternalError_):
            if left == 0:
                raise


def _truth(connection: psycopg.Connection, query: str, parameters: tuple[str, ...]) -> bool:
    row = connection.execute(query.encode(), parameters).fetchone()
    return bool(row and row[0])

"""A tenant of its own for a test, on the serving role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg

from gemel.security.tenants import create_tenant
from gemel.store.database import Database
from support.postgres import Dsns

__all__ = ["make_tenant", "open_tenant"]


def make_tenant(dsns: Dsns) -> int:
    """Make a tenant with a name of its own; return its number."""
    with psycopg.connect(dsns.owner) as owner:
        return create_tenant(owner, f"t-{uuid4().hex[:12]}")


@asynccontextmanager
async def open_tenant(dsns: Dsns) -> AsyncIterator[tuple[Database, int]]:
    """Open the database for serving, with a fresh tenant."""
    db = Database(dsns.serve)
    await db.open()
    try:
        yield db, make_tenant(dsns)
    finally:
        await db.close()

"""A tenant with a source to be, and the other side of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from support.parts import open_parts
from support.postgres import Dsns
from support.sources import Peer, Workshop


@pytest.fixture
def play(database: Dsns) -> Callable[[Callable[[Workshop], Awaitable[None]]], None]:
    """Run a test's scene in a workshop of its own; other tenants' sources are stopped first."""

    def run(scene: Callable[[Workshop], Awaitable[None]]) -> None:
        async def whole() -> None:
            with psycopg.connect(database.owner, autocommit=True) as owner:
                owner.execute("DELETE FROM source")
                async with open_parts(database) as parts:
                    row = owner.execute(
                        "SELECT name FROM tenant WHERE tenant = %s", (parts.tenant,)
                    ).fetchone()
                    assert row is not None
                    await scene(Workshop(database, parts, Peer(), row[0]))

        asyncio.run(whole())

    return run

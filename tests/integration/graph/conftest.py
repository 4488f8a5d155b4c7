"""The fixture of graph tests: run an async test on a tenant of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from support.graph import Site, open_site
from support.postgres import Dsns

Work = Callable[[Site], Awaitable[None]]
Play = Callable[[Work], None]


@pytest.fixture
def play(database: Dsns) -> Play:
    """Run an async test on a fresh tenant that has support.graph.MODELS."""

    async def run(work: Work) -> None:
        async with open_site(database) as site:
            await work(site)

    return lambda work: asyncio.run(run(work))

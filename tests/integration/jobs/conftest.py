"""The fixture of job tests: run an async test on a tenant with jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.graph import open_site
from support.jobs import Workplace, open_workplace
from support.postgres import Dsns

Work = Callable[[Workplace], Awaitable[None]]
Play = Callable[[Work], None]


@pytest.fixture
def play(database: Dsns, tmp_path: Path) -> Play:
    """Run an async test on a fresh tenant that has support.graph.MODELS, and may call 127.0.0.1."""

    async def run(work: Work) -> None:
        async with open_site(database) as site, open_workplace(site, tmp_path, "127.0.0.1") as workplace:
            await work(workplace)

    return lambda work: asyncio.run(run(work))

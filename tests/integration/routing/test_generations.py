"""Ids of events over restores: none ever names two events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemel.store.backup import backup, restore
from gemel.store.binaries import locate
from gemel.store.migrate import migrate
from gemel.store.server import BundledServer
from support.http_peer import peer
from support.parts import TenantParts, event, open_parts, second_process
from support.postgres import Dsns, fresh_database
from support.routing import Receiver, add_route, delivering, hurry, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def databases(cluster: BundledServer, template: str) -> Iterator[tuple[Dsns, Dsns]]:
    """One that was in use, with a route; and an empty one beside it."""
    with fresh_database(cluster, template) as used, fresh_database(cluster) as empty:
        yield used, empty


async def tell(dsns: Dsns, parts: TenantParts, receiver: Receiver, values: list[float]) -> None:
    """Set t0's temperature to each value in a commit of its own, and wait until the receiver was told."""
    count = len(receiver.taken) + len(values)
    async with second_process(dsns, parts) as process, delivering(dsns, process):
        for value in values:
            time = f"2026-01-05T00:00:{int(value):02}Z"
            assert (await process.send([event(int(value), "t0", time, temperature=value)])).accepted == 1
        await until(lambda: len(receiver.taken) == count)


def brought(events: list[dict[str, Any]]) -> list[float]:
    return [each["data"]["patch"][0]["value"] for each in events]


def test_no_id_names_two_events_whatever_is_restored(databases: tuple[Dsns, Dsns], tmp_path: Path) -> None:
    used, copy = databases
    file, receiver = tmp_path / "b.gemel", Receiver()

    async def body() -> None:
        async with open_parts(used) as parts, peer(receiver) as there:
            await add_route(parts, "all", there.url)
            await tell(used, parts, receiver, [1.0, 2.0])
            backup(used.owner, locate(), tmp_path, file)
            # The server starts anew within one history.
            migrate(used.owner)
            await tell(used, parts, receiver, [3.0, 4.0])
            for replace, values in ((False, [5.0, 6.0]), (True, [7.0, 8.0])):
                restore(copy.owner, locate(), tmp_path, file, replace=replace)
                migrate(copy.owner)
                await tell(copy, parts, receiver, values)

    asyncio.run(body())
    taken = receiver.taken
    assert brought(taken) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert {each["source"] for each in taken} == {taken[0]["source"]}
    assert len(set(receiver.ids)) == 8
    # The change numbers do repeat, else this would show nothing.
    generations, numbers, _ = zip(*(each.split(".") for each in receiver.ids), strict=True)
    assert numbers[2:4] == numbers[4:6] == numbers[6:8]
    assert len(set(generations[:4])) == 1
    assert len(set(generations)) == 3
    sequences = [each["sequence"] for each in taken]
    assert sequences == sorted(sequences)

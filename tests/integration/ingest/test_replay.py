"""Replay beside what arrives meanwhile: nothing in quarantine is lost, and memory is bounded."""

from __future__ import annotations

import asyncio

import pytest

from gemel.graph.directory import create_missing
from gemel.ingest import quarantine
from gemel.ingest.selection import Selection
from gemel.store.database import ReadTransaction
from support.parts import MODEL, TenantParts, event, open_parts
from support.postgres import Dsns

NOW = "2026-11-01T00:00:00Z"


async def make(parts: TenantParts, twin: str) -> None:
    async with parts.db.write(parts.tenant) as tx:
        await create_missing(tx, parts.context, MODEL["@id"], {twin: 0})


@pytest.mark.parametrize("mended", [True, False])
def test_what_came_since_is_not_lost(database: Dsns, monkeypatch: pytest.MonkeyPatch, mended: bool) -> None:
    """An event of the same source and id is quarantined anew between the read of a replay and its commit."""

    async def main() -> None:
        async with open_parts(database) as parts:
            newer = event(1, "later", NOW, temperature="newer")
            await parts.send([event(1, "later", NOW, temperature=1.0)])
            if mended:
                await make(parts, "later")
            read = quarantine.read_held

            async def read_then_resend(tx: ReadTransaction, numbers: list[int]) -> list[quarantine.Held]:
                raws = await read(tx, numbers)
                assert (await parts.send([newer])).quarantined == 1
                return raws

            monkeypatch.setattr(quarantine, "read_held", read_then_resend)
            result = await parts.replay(Selection())
            assert (result.accepted, result.quarantined) == ((1, 0) if mended else (0, 1))
            async with parts.db.read(parts.tenant) as tx:
                listed = await quarantine.list_quarantine(tx)
                raws = [(await quarantine.show(tx, each.number)).raw or "" for each in listed]
            assert [("newer" in raw) for raw in raws] == ([True] if mended else [False, True])

    asyncio.run(main())


def test_large_events_are_replayed_in_portions(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            monkeypatch.setattr("gemel.ingest.replay.REPLAY_BYTES", 10_000)
            sizes: list[int] = []
            read = quarantine.read_held

            async def weighed(tx: ReadTransaction, numbers: list[int]) -> list[quarantine.Held]:
                raws = await read(tx, numbers)
                sizes.append(sum(len(each.raw) for each in raws))
                return raws

            monkeypatch.setattr(quarantine, "read_held", weighed)
            for number, length in enumerate([10, 9_000, 20_000, 10, 10]):
                time = f"2026-11-01T00:00:{number:02d}Z"
                await parts.send([event(number, "later", time, label="x" * length)])
            still = await parts.replay(Selection())
            assert [rejected.index for rejected in still.rejected] == [0, 1, 2, 3, 4]
            assert len(sizes) == 3
            await make(parts, "later")
            result = await parts.replay(Selection())
            assert (result.events, result.accepted, result.quarantined) == (5, 5, 0)
            async with parts.db.read(parts.tenant) as tx:
                assert await quarantine.list_quarantine(tx) == []

    asyncio.run(main())

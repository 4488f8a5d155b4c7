"""Retention beside writers: whoever writes is answered at all times, and nothing at or after the line is lost."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from gemel.history.retention import apply_retention
from support.history import SAMPLES
from support.parts import TenantParts, event, open_parts
from support.postgres import Dsns

NOW = datetime.now(UTC)
TURNS = 12
DAYS = 30


def stamps(turn: int) -> list[datetime]:
    """Times in many weeks, on both sides of the line, that no other turn has."""
    return [NOW - timedelta(days=3 * ago, microseconds=turn + 1) for ago in range(20)]


async def flood(parts: TenantParts, done: threading.Event) -> tuple[set[datetime], int]:
    taken, refused = set(), 0
    turn = 0
    while turn < TURNS or not done.is_set():
        times = stamps(turn)
        events = [event(turn, "t0", time.isoformat(), temperature=float(turn)) for time in times]
        result = await parts.send(events)
        assert {rejected.code for rejected in result.rejected} <= {"TimeBeforeRetention"}
        rejected = {times[rejected.index] for rejected in result.rejected}
        assert result.accepted + result.late + len(rejected) == len(times)
        taken |= set(times) - rejected
        refused += len(rejected)
        turn += 1
    return taken, refused


@pytest.mark.parametrize("everyone", [False, True])  # a line of all stays for tenants to come
def test_writers_are_answered_and_nothing_is_lost(database: Dsns, everyone: bool) -> None:
    async def main() -> None:
        async with open_parts(database) as parts, open_parts(database) as other:
            with psycopg.connect(database.owner) as owner:
                owner.execute(
                    "UPDATE tenant SET retention_days = %s WHERE tenant = %s",
                    (DAYS, 0 if everyone else parts.tenant),
                )
            done = threading.Event()
            floods = [asyncio.create_task(flood(one, done)) for one in (parts, other)]
            await asyncio.sleep(0.3)
            for later in range(3):
                await asyncio.to_thread(apply_retention, database.owner, now=NOW + timedelta(days=7 * later))
                await asyncio.sleep(0.1)
            done.set()
            for one, task in zip((parts, other), floods, strict=True):
                taken, refused = await task
                rows = await one.db.query(one.tenant, f"SELECT source_time FROM {SAMPLES} AS s")
                lines = await one.db.query(one.tenant, "SELECT retention_line FROM tenant_head")
                kept, line = {row[0] for row in rows}, lines[0][0]
                assert (refused > 0) == (everyone or one is parts)
                assert {time for time in taken if line is None or time >= line} <= kept
                assert kept <= taken
                if line is not None:
                    assert [time for time in kept if time < line] == [max(t for t in taken if t < line)]

    asyncio.run(main())

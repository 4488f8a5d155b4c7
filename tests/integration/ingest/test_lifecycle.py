"""Samples of twins whose lifecycle changes meanwhile, through two processes, against a simple model of it."""

from __future__ import annotations

import asyncio
import random

import pytest

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import InvalidError
from gemel.graph.directory import create_missing
from gemel.graph.lifecycles import TransitionRequest, change_lifecycle
from gemel.ingest.events import Event
from gemel.ingest.selection import Selection
from support.history import SAMPLES
from support.parts import AUDIT, MODEL, TenantParts, event, open_parts, second_process
from support.postgres import Dsns

STEP_US = 60_000_000
STEPS = 200
TWINS = ("a", "b", "c")
DECOMMISSIONED = Selection(code="TwinDecommissioned")
TAKEN = f"""
SELECT t.twin_id, (extract(epoch FROM s.source_time) * 1000000)::bigint FROM twin AS t
JOIN {SAMPLES} AS s ON s.tenant = t.tenant AND s.series >> 20 = t.twin_no WHERE t.tenant = current_tenant()"""
LATEST = """
SELECT t.twin_id, (extract(epoch FROM l.source_time) * 1000000)::bigint FROM twin AS t
JOIN latest AS l ON l.tenant = t.tenant AND l.series >> 20 = t.twin_no WHERE t.tenant = current_tenant()"""


class Walk:
    """Sends and transitions at random, and beside them what must come of it."""

    def __init__(self, processes: list[TenantParts], seed: int) -> None:
        self.processes = processes
        self.random = random.Random(seed)
        self.start_us = now_us() - (STEPS + 1) * STEP_US
        self.ends: dict[str, int] = dict.fromkeys(TWINS, STEPS + 1)
        self.kept: set[tuple[str, int]] = set()
        self.waiting: set[tuple[str, int]] = set()
        self.number = 0

    @property
    def parts(self) -> TenantParts:
        return self.random.choice(self.processes)

    async def turn(self, twin: str, state: str, step: int) -> None:
        request = TransitionRequest(state, "walk", "ann", self.start_us + step * STEP_US)
        parts = self.parts
        async with parts.db.write(parts.tenant) as tx:
            await change_lifecycle(tx, parts.context, twin, request)

    async def move_end(self) -> None:
        """Say that a twin was decommissioned at another time than was said, or never."""
        twin = self.random.choice(TWINS)
        if self.ends[twin] <= STEPS:
            await self.turn(twin, "active", self.ends[twin])
            self.ends[twin] = STEPS + 1
        if self.random.random() < 0.7:
            self.ends[twin] = self.random.randrange(1, STEPS)
            await self.turn(twin, "maintenance", max(self.ends[twin] - 20, 0))
            await self.turn(twin, "decommissioned", self.ends[twin])

    async def send(self) -> None:
        sent = [
            (self.random.choice(TWINS), self.random.randrange(STEPS))
            for _ in range(self.random.randint(1, 15))
        ]
        events = []
        for twin, step in sent:
            self.number += 1
            time = iso_us(self.start_us + step * STEP_US)
            events.append(event(self.number, twin, time, temperature=float(step)))
        result = await self.parts.send(events)
        wrong = {index for index, (twin, step) in enumerate(sent) if step >= self.ends[twin]}
        assert {rejected.index for rejected in result.rejected} == wrong
        assert {rejected.code for rejected in result.rejected} <= {"TwinDecommissioned"}
        for index, each in enumerate(sent):
            (self.waiting if index in wrong else self.kept).add(each)

    async def replay(self) -> None:
        result = await self.parts.replay(DECOMMISSIONED)
        taken = {each for each in self.waiting if each[1] < self.ends[each[0]]}
        self.waiting -= taken
        self.kept |= taken
        assert (result.quarantined == 0) == (not self.waiting)

    async def check(self) -> None:
        parts = self.parts
        found = {
            (twin, (time_us - self.start_us) // STEP_US)
            for twin, time_us in await parts.db.query(parts.tenant, TAKEN)
        }
        assert found == self.kept
        last = {
            twin: (time_us - self.start_us) // STEP_US
            for twin, time_us in await parts.db.query(parts.tenant, LATEST)
        }
        assert last == {twin: max(step for own, step in self.kept if own == twin) for twin, _ in self.kept}


@pytest.mark.parametrize("seed", range(3))
def test_each_sample_is_judged_by_what_is_known_of_its_time(database: Dsns, seed: int) -> None:
    print(f"seed {seed}")

    async def main() -> None:
        async with open_parts(database, twins=0) as parts, second_process(database, parts) as other:
            walk = Walk([parts, other], seed)
            async with parts.db.write(parts.tenant) as tx:
                await create_missing(tx, parts.context, MODEL["@id"], dict.fromkeys(TWINS, walk.start_us))
            for _ in range(40):
                await walk.random.choice([walk.send, walk.send, walk.move_end, walk.replay])()
                await walk.check()
            for twin in TWINS:
                if walk.ends[twin] <= STEPS:
                    await walk.turn(twin, "active", walk.ends[twin])
                    walk.ends[twin] = STEPS + 1
            await walk.replay()
            await walk.check()
            assert not walk.waiting

    asyncio.run(main())


def test_the_order_of_arrival_does_not_matter(database: Dsns) -> None:
    async def main() -> None:
        outcomes = []
        for seed in range(3):
            print(f"seed {seed}")
            async with open_parts(database, twins=0) as parts:
                walk = Walk([parts], 0)
                async with parts.db.write(parts.tenant) as tx:
                    await create_missing(tx, parts.context, MODEL["@id"], {"a": walk.start_us})
                await walk.turn("a", "decommissioned", 100)
                steps = list(range(0, STEPS, 7))
                random.Random(seed).shuffle(steps)
                for step in steps * 2:
                    time = iso_us(walk.start_us + step * STEP_US)
                    await parts.send([event(step, "a", time, temperature=float(step))])
                found = await parts.db.query(parts.tenant, TAKEN)
                waiting = await parts.db.query(parts.tenant, "SELECT event_id FROM quarantine")
                outcomes.append(
                    (
                        sorted((time_us - walk.start_us) // STEP_US for _, time_us in found),
                        sorted(int(row[0]) for row in waiting),
                    )
                )
        expected = (list(range(0, 100, 7)), list(range(105, STEPS, 7)))
        assert outcomes == [expected] * 3

    asyncio.run(main())


def test_telemetry_and_events_without_a_time_are_judged_by_now(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database, twins=0) as parts:
            walk = Walk([parts], 0)
            async with parts.db.write(parts.tenant) as tx:
                await create_missing(tx, parts.context, MODEL["@id"], {"a": walk.start_us})
            await walk.turn("a", "decommissioned", 100)
            result = await parts.send([event(1, "a", None, temperature=1.0)])
            assert [each.code for each in result.rejected] == ["TwinDecommissioned"]
            told = Event("m", "adt", "telemetry", "1.0", "a", {"pressure": 1.0})
            with pytest.raises(InvalidError) as caught:
                await parts.ingest.telemetry(parts.tenant, told, AUDIT)
            assert caught.value.details[0].code == "TwinDecommissioned"

    asyncio.run(main())

"""Patches, batches and re-deliveries on the same twins, from two processes at once: no deadlock, no regress."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from gemel.graph.patching import PatchRequest, TwinPatcher
from gemel.graph.twins import delete_twin, get_twin, put_twin
from support.history import LAST_SAMPLES, SAMPLES
from support.parts import AUDIT, MODEL, TenantParts, event, open_parts, second_process
from support.postgres import Dsns

TORN = f"""
SELECT count(*) FROM latest AS l LEFT JOIN {LAST_SAMPLES} AS s USING (tenant, series)
WHERE (l.source_time, l.num, l.kind) IS DISTINCT FROM (s.source_time, s.num, s.kind)"""


async def patches(parts: TenantParts, rng: random.Random, count: int) -> list[tuple[str, float]]:
    """Patch twins one after another; after each the value must be what was just acknowledged, or a later one."""
    patcher = TwinPatcher(parts.db, parts.context)
    written = []
    for _ in range(count):
        twin, value = f"t{rng.randrange(5)}", rng.uniform(100, 200)
        operations: list[Any] = [{"op": "add", "path": "/temperature", "value": value}]
        await patcher.submit(parts.tenant, PatchRequest(twin, None, operations, AUDIT))
        written.append((twin, value))
    return written


async def batches(parts: TenantParts, rng: random.Random, count: int) -> int:
    """Send batches of colliding events, each twice."""
    values = 0
    for _ in range(count):
        events = [
            event(
                rng.randrange(10**9),
                f"t{rng.randrange(5)}",
                f"2026-01-05T00:00:{rng.randrange(60):02d}Z",
                temperature=rng.uniform(0, 1),
                count=rng.randrange(3),
            )
            for _ in range(40)
        ]
        for _ in range(2):
            result = await parts.send(events)
            assert result.quarantined == 0
            values += result.accepted + result.late + result.corrected + result.duplicate
    return values


@pytest.mark.parametrize("seed", range(5))
def test_patches_and_batches_from_two_processes(database: Dsns, seed: int) -> None:
    async def main() -> None:
        async with open_parts(database) as one, second_process(database, one) as two:
            work = [
                process(parts, random.Random(seed * 100 + number), count)
                for number, (parts, process, count) in enumerate(
                    [(one, patches, 25), (two, patches, 25), (one, batches, 8), (two, batches, 8)] * 2
                )
            ]
            done = await asyncio.gather(*work)
            written = {pair for result in done if isinstance(result, list) for pair in result}
            async with one.db.read(one.tenant) as tx:
                assert await tx.rows(TORN) == [(0,)], f"seed {seed}: state is not the last sample"
                rows = await tx.rows(
                    f"SELECT t.twin_id, s.num FROM {SAMPLES} AS s JOIN twin t ON t.tenant = s.tenant "
                    "AND t.twin_no = s.series >> 20 WHERE s.num >= 100"
                )
                assert set(rows) == written, f"seed {seed}: a patch is lost, or doubled"
                assert len(rows) == len(written)
                for number in range(5):
                    own = [value for twin, value in written if twin == f"t{number}"]
                    body = (await get_twin(tx, one.context, f"t{number}")).body
                    assert body["temperature"] in own, f"seed {seed}: an old event regressed the state"

    asyncio.run(main())


def test_what_one_process_changes_the_other_sees_at_once(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as one, second_process(database, one) as two:
            assert (await two.send([event(1, "fresh", temperature=1.0)])).rejected[0].code == "TwinUnknown"
            async with one.db.write(one.tenant) as tx:
                await put_twin(tx, one.context, "fresh", {"$metadata": {"$model": MODEL["@id"]}})
            assert (
                await two.send([event(2, "fresh", "2026-11-01T00:00:00Z", temperature=1.0)])
            ).quarantined == 0
            async with one.db.write(one.tenant) as tx:
                await delete_twin(tx, one.context, "fresh")
            assert (await two.send([event(3, "fresh", temperature=2.0)])).rejected[0].code == "TwinUnknown"

    asyncio.run(main())

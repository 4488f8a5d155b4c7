"""What reads of frozen weeks ask is found by keys under row-level security, however much there is of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from gemel.base.clock import from_us
from gemel.history import cold
from gemel.history.weeks import MONDAY_US, WEEK_US
from gemel.store.columns import bigints
from gemel.store.database import Database, ReadTransaction
from support.postgres import Dsns
from support.tenants import make_tenant

START_US = MONDAY_US + 2500 * WEEK_US
SERIES, WEEKS = 20_000, 4
FILL = """
INSERT INTO cold_week (tenant, week, name, digest, samples, bytes, recorded)
SELECT %(tenant)s, %(start)s + n * interval '168 hours', 'f', 'd', 1, 1, now() FROM generate_series(0, 519) AS n;
INSERT INTO cold_thawed (tenant, week, series)
SELECT %(tenant)s, %(start)s + w * interval '168 hours', s << 20
FROM generate_series(1::bigint, %(series)s) AS s, generate_series(1, %(weeks)s) AS w;
INSERT INTO sample (tenant, series, source_time, recorded, num, revision, quality, kind)
SELECT %(tenant)s, s << 20, %(start)s + w * interval '168 hours' + i * interval '1 hour', now(), 1, 0, 0, 0
FROM generate_series(1::bigint, %(series)s) AS s, generate_series(1, %(weeks)s) AS w, generate_series(1, 2) AS i;
INSERT INTO latest (tenant, series, source_time, recorded, num, revision, quality, kind)
SELECT %(tenant)s, s << 20, now(), now(), 1, 0, 0, 0 FROM generate_series(1::bigint, %(series)s) AS s;
INSERT INTO latest_ended (tenant, series, source_time, recorded, num, revision, quality, kind)
SELECT %(tenant)s, (s << 20) + 1, now(), now(), 1, 0, 0, 0 FROM generate_series(1::bigint, %(series)s) AS s"""
MODES = ("force_custom_plan", "force_generic_plan")


@pytest.fixture(scope="module")
def tenant(database: Dsns) -> int:
    """A tenant with much that is frozen, beside another with as much."""
    tenants = make_tenant(database), make_tenant(database)
    with psycopg.connect(database.owner, autocommit=True) as owner, psycopg.ClientCursor(owner) as cursor:
        for week in range(1, WEEKS + 1):
            owner.execute("SELECT ensure_sample_week(%s::date)", (from_us(START_US + week * WEEK_US),))
        for each in tenants:
            cursor.execute(
                FILL, {"tenant": each, "start": from_us(START_US), "series": SERIES, "weeks": WEEKS}
            )
        owner.execute("VACUUM ANALYZE")
    return tenants[1]


def statements() -> Iterator[tuple[str, Any]]:
    numbers = bigints(np.arange(1, 11, dtype=np.int64) << 20)
    week, end = from_us(START_US + WEEK_US), from_us(START_US + 2 * WEEK_US)
    yield cold.WEEKS, (week, end)
    yield cold.THAWED, {"week": week}
    yield cold.THAWED_OF, {"week": week, "series": numbers}
    yield cold.AROUND, {"series": numbers, "week": week, "end": end, "low": week, "high": end}
    yield cold.SERIES, (numbers, bigints((np.arange(1, 11, dtype=np.int64) << 20) + (1 << 20)))


async def plan(tx: ReadTransaction, statement: str, given: Any) -> dict[str, Any]:
    cursor = tx.connection.cursor(binary=False)
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
    await cursor.execute(explain, given, prepare=True)
    (told,) = await cursor.fetchone() or ("",)
    tree = json.loads(told) if isinstance(told, str) else told
    found: dict[str, Any] = tree[0]["Plan"]
    return found


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for child in tree.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", range(5))
def test_nothing_is_scanned(database: Dsns, tenant: int, number: int, mode: str) -> None:
    statement, given = list(statements())[number]

    async def main() -> dict[str, Any]:
        db = Database(database.serve)
        await db.open()
        try:
            async with db.read(tenant) as tx:
                await tx.rows("SELECT set_config('plan_cache_mode', %s, true)", (mode,))
                return await plan(tx, statement, given)
        finally:
            await db.close()

    tree = asyncio.run(main())
    every = list(nodes(tree))
    print(json.dumps(tree, indent=1))
    assert not [node for node in every if node["Node Type"] == "Seq Scan" and node["Actual Loops"]]
    wasted = sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in every)
    assert wasted < 100, "rows are looked at that nobody asked for"

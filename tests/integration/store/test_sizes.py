"""What is stored of each tenant: exact for small tables, near it for large ones, and with the disk's own sum."""

from __future__ import annotations

import asyncio
import random

import psycopg
import pytest

from gemel.store import sizes
from gemel.store.database import Database
from gemel.store.sizes import Gauge, Stored, all_stored, keep_stored, read_stored, unowned_bytes
from support.postgres import Dsns
from support.tenants import make_tenant

WEEK = "2026-01-05"
FILL = """
INSERT INTO sample (series, source_time, recorded, num, tenant, revision, quality, kind)
SELECT n, timestamptz '2026-01-05 00:00+00' + n * interval '1 second', now(), n, {tenant}, 0, 0, 0
FROM generate_series(%s::int, %s::int) AS n"""


def fill(owner: psycopg.Connection, tenant: int, first: int, last: int) -> None:
    owner.execute(f"SELECT ensure_sample_week('{WEEK}')")
    owner.execute(FILL.format(tenant=tenant), (first, last))
    owner.execute("SELECT pg_stat_force_next_flush()")


@pytest.fixture
def owner(database: Dsns) -> psycopg.Connection:
    owner = psycopg.connect(database.owner, autocommit=True)
    owner.execute("TRUNCATE sample")
    owner.execute("SELECT pg_stat_force_next_flush()")
    return owner


def rows_of(gauge: Gauge, owner: psycopg.Connection, tenant: int) -> sizes.Size:
    found = gauge.measure(owner)
    assert found is not None
    return found.get((tenant, "rows"), sizes.Size(0, 0))


def test_shares_of_a_small_table_are_exact_and_make_up_the_whole(
    database: Dsns, owner: psycopg.Connection
) -> None:
    one, two = make_tenant(database), make_tenant(database)
    fill(owner, one, 1, 900)
    fill(owner, two, 1, 300)
    with owner:
        first, second = rows_of(Gauge(), owner, one), rows_of(Gauge(), owner, two)
        assert (first.samples, second.samples) == (900, 300)
        assert abs(first.bytes - 3 * second.bytes) <= 3
        (whole,) = owner.execute("SELECT pg_total_relation_size('sample_2026_01_05')").fetchone() or (0,)
        assert 0 <= whole - first.bytes - second.bytes <= 2


def test_a_large_table_is_looked_at_in_part(
    database: Dsns, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make_tenant(database), make_tenant(database)
    seed = 20_260_105
    print(f"seed {seed}")
    for at, width in enumerate(random.Random(seed).choices(range(1, 400), k=250)):
        fill(owner, one if at % 2 else two, at * 1000, at * 1000 + width)
    held = owner.execute("SELECT count(*) FROM sample WHERE tenant = %s", (one,)).fetchone()
    monkeypatch.setattr(sizes, "PAGES_MAX", 256)
    with owner:
        (pages,) = owner.execute("SELECT pg_relation_size('sample_2026_01_05') / 8192").fetchone() or (0,)
        assert pages > 300
        share = rows_of(Gauge(), owner, one).samples
    assert held is not None
    assert abs(share - held[0]) < 0.2 * held[0]
    assert share != held[0]


def test_what_did_not_change_is_not_read_again(
    database: Dsns, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, gauge, looked = make_tenant(database), Gauge(), []
    real = sizes._look

    def look(owner: psycopg.Connection, relation: sizes._Relation) -> list[sizes._Share]:
        looked.append(relation.name)
        return real(owner, relation)

    monkeypatch.setattr(sizes, "_look", look)
    fill(owner, tenant, 1, 10)
    with owner:
        assert rows_of(gauge, owner, tenant).samples == 10
        looked.clear()
        assert rows_of(gauge, owner, tenant).samples == 10
        assert "sample_2026_01_05" not in looked
        fill(owner, tenant, 11, 11)
        assert rows_of(gauge, owner, tenant).samples == 11
        assert looked == ["sample_2026_01_05"]
        assert gauge.measure(owner, lambda: True) is None


def test_every_table_with_a_tenant_counts_and_none_twice(database: Dsns, owner: psycopg.Connection) -> None:
    tenant = make_tenant(database)
    fill(owner, tenant, 1, 50)
    with owner:
        keep_stored(owner, Gauge().measure(owner) or {})
        assert unowned_bytes(owner) > 0
        stored = {each.tier: each for each in all_stored(owner)[tenant]}
        assert stored["rows"].samples == 50
        assert stored["other"].bytes > 0  # its row of tenant and of tenant_head
        tables = {
            name
            for (name,) in owner.execute("SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p')")
        }
        assert sizes.TIERS.keys() <= tables


def test_a_tenant_reads_its_own_and_what_is_gone_goes(database: Dsns, owner: psycopg.Connection) -> None:
    one, two = make_tenant(database), make_tenant(database)
    fill(owner, one, 1, 50)

    async def read(tenant: int) -> dict[str, Stored]:
        db = Database(database.serve)
        await db.open()
        try:
            async with db.read(tenant) as tx:
                return {each.tier: each for each in await read_stored(tx)}
        finally:
            await db.close()

    with owner:
        keep_stored(owner, Gauge().measure(owner) or {})
        before = asyncio.run(read(one))
        assert before["rows"].samples == 50
        assert "rows" not in asyncio.run(read(two))
        keep_stored(owner, Gauge().measure(owner) or {})
        assert asyncio.run(read(one))["rows"] == before["rows"]
        owner.execute("DELETE FROM sample WHERE tenant = %s", (one,))
        owner.execute("SELECT pg_stat_force_next_flush()")
        keep_stored(owner, Gauge().measure(owner) or {})
        assert "rows" not in asyncio.run(read(one))

"""Whatever was folded when: aggregates are those of the samples, and long ranges come from roll-ups."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gemel.history import heading, rollups
from gemel.history.corrections import Range, delete_samples
from gemel.history.moment import END_US
from gemel.history.packing import pack_heads
from gemel.history.read import AGGREGATES, Buckets, Window, read_buckets
from gemel.history.retention import apply_retention, retain
from gemel.history.rollups import fold_tenant
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded, encode
from gemel.history.weeks import Weeks
from gemel.history.write import copy_first_samples, pack_first_samples, tell_first_samples, write_samples
from gemel.store.database import Database, ReadTransaction
from support.postgres import Dsns
from support.tenants import open_tenant

START_US = 1_767_571_200_000_000  # Monday, 2026-01-05
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
SERIES = {(1 << 20) + 1: "a", (2 << 20) + 1: "b"}
AT_ONCE = -(10**17)
"""What is stale is folded again however young its mark is."""


@pytest.fixture(scope="module", params=["rows", "packed"], autouse=True)
def lying(request: pytest.FixtureRequest) -> Iterator[None]:
    """Samples lie in rows alone, folded day by day, or are packed wherever they can be, and folded by week."""
    with pytest.MonkeyPatch.context() as patch:
        least = 1 if request.param == "packed" else 1 << 40
        patch.setattr(heading, "BATCH_MIN", least)
        patch.setattr(heading, "BUCKET_MIN", 1)
        patch.setattr(heading, "BLOCK_MAX", 30)
        patch.setattr(rollups, "SPARSE", 0 if request.param == "packed" else rollups.CHUNK_MAX + 1)
        yield


class Site:
    """A tenant with two series; values are such that sums are exact."""

    def __init__(self, db: Database, tenant: int, dsns: Dsns) -> None:
        self.db, self.tenant, self.dsns = db, tenant, dsns
        self.weeks = Weeks(db)

    async def write(self, rows: list[Sample]) -> None:
        batch = SampleBatch.of(rows)
        await self.weeks.ensure(batch.time_us)
        async with self.db.write(self.tenant) as tx:
            batch.recorded_us[:] = tx.stamps(len(batch)) + np.arange(len(batch))
            await write_samples(tx, batch)

    async def delete(self, series: int, from_us: int, to_us: int) -> None:
        async with self.db.write(self.tenant) as tx:
            await delete_samples(tx, Range({series: ("x", "property")}, from_us, to_us))

    def fold(self, until_us: int) -> int:
        with psycopg.connect(self.dsns.owner, autocommit=True) as owner:
            pack_heads(owner, rows_max=2, age_s=HOUR)
        with psycopg.connect(self.dsns.owner, autocommit=True) as owner:
            return fold_tenant(owner, self.tenant, until_us + 10 * MINUTE, settle_us=AT_ONCE).rows

    async def rollups(self) -> dict[int, int]:
        rows = await self.db.query(self.tenant, "SELECT minutes, count(*) FROM rollup GROUP BY 1")
        return {row[0]: row[1] for row in rows}


def run_of(series: int, from_us: int, count: int, step_us: int, seed: int) -> list[Sample]:
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        value = Encoded(rng.randrange(-64, 64) / 4, 0, None)
        kind = rng.random()
        if kind < 0.03:
            value = encode(rng.choice(["open", True, {"x": 1}]), "json")
        elif kind < 0.05:
            value = encode(2**60, "json")
        quality = 2 if rng.random() < 0.05 else 0
        rows.append(Sample(series, from_us + number * step_us, value, rng.randrange(3), quality, 0))
    return rows


async def compare(tx: ReadTransaction, window: tuple[int, int], every_us: int) -> None:
    """Compare with what the samples alone say: so is read what was known at a moment, however late."""
    buckets = Buckets(every_us, AGGREGATES)
    found = await read_buckets(tx, SERIES, Window(*window), buckets, 100_000)
    expected = await read_buckets(tx, SERIES, Window(*window, END_US - 1), buckets, 100_000)
    assert [row[:2] for row in found.rows] == [row[:2] for row in expected.rows]
    for row, wanted in zip(found.rows, expected.rows, strict=True):
        mean, expected_mean = row.values.pop("mean"), wanted.values.pop("mean")
        assert mean == (expected_mean and pytest.approx(expected_mean, rel=1e-9))
        assert row == wanted


def run(database: Dsns, work: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_tenant(database) as (db, tenant):
            await work(Site(db, tenant, database))

    asyncio.run(main())


NUMBER = st.integers(0, 2**31)
WHICH = st.sampled_from(sorted(SERIES))
MINUTES = st.integers(0, 3 * 1440)
ACT = st.one_of(
    st.tuples(st.just("dense"), WHICH, MINUTES, st.integers(100, 900), NUMBER),
    st.tuples(st.just("sparse"), WHICH, MINUTES, st.integers(1, 12), NUMBER),
    st.tuples(st.just("delete"), WHICH, MINUTES, st.integers(1, 600), NUMBER),
    st.tuples(st.just("fold"), WHICH, MINUTES, st.integers(0, 0), NUMBER),
)
WINDOW = st.tuples(st.integers(-HOUR, 3 * DAY), st.integers(1, 4 * DAY))
DIVIDED = (7 * SECOND, MINUTE, 5 * MINUTE, 90 * MINUTE, HOUR, 6 * HOUR, DAY, 2 * DAY)
CUT = (
    25 * MINUTE + SECOND,
    173 * MINUTE,
    526 * MINUTE,
    7 * HOUR + 13 * SECOND,
    50 * HOUR,
    51 * HOUR + MINUTE,
)
"""Widths of buckets that lie in roll-ups which are narrower: whole ones, and others that they cut."""
EVERY = st.sampled_from([*DIVIDED, *CUT])


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(
    st.lists(ACT, min_size=4, max_size=9),
    st.lists(st.tuples(WINDOW, EVERY), min_size=2, max_size=3),
)
def test_aggregates_are_those_of_the_samples(database: Dsns, acts: list[Any], asks: list[Any]) -> None:
    async def work(site: Site) -> None:
        for name, series, minute, count, number in acts:
            at_us = START_US + minute * MINUTE + number % MINUTE
            if name == "fold":
                await asyncio.to_thread(site.fold, START_US + minute * MINUTE)
            elif name == "delete":
                await site.delete(series, at_us, at_us + count * MINUTE)
            else:
                step_us = 3 * SECOND if name == "dense" else 17 * MINUTE
                await site.write(run_of(series, at_us, count, step_us, number))
            async with site.db.read(site.tenant) as tx:
                for (from_us, length_us), every_us in asks:
                    await compare(tx, (START_US + from_us, START_US + from_us + length_us), every_us)

    run(database, work)


async def write_at_random(site: Site, rng: random.Random) -> None:
    for number in range(60):
        series, at_us = rng.choice(sorted(SERIES)), START_US + rng.randrange(36 * 60) * MINUTE
        if rng.random() < 0.3:
            await site.delete(series, at_us, at_us + 40 * MINUTE)
        else:
            count = rng.choice([1, 20, 700])
            await site.write(run_of(series, at_us, count, rng.choice([SECOND, 60 * SECOND]), number))


async def fold_on(site: Site, beside: asyncio.Task[None]) -> None:
    hour = 0
    while not beside.done():
        await asyncio.to_thread(site.fold, START_US + hour * HOUR)
        hour = min(hour + 1, 40)


async def compare_on(site: Site, beside: asyncio.Task[None]) -> int:
    compared = 0
    while not beside.done():
        async with site.db.read(site.tenant) as tx:
            for every_us in (MINUTE, HOUR, DAY):
                await compare(tx, (START_US, START_US + 3 * DAY), every_us)
                compared += 1
    return compared


@pytest.mark.parametrize("seed", range(3))
def test_aggregates_are_those_of_the_samples_while_folds_and_writes_go_on(database: Dsns, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)

    async def work(site: Site) -> None:
        for series in SERIES:
            await site.write(run_of(series, START_US, 1500, 60 * SECOND, seed))
        writing = asyncio.create_task(write_at_random(site, rng))
        folding = asyncio.create_task(fold_on(site, writing))
        reading = asyncio.create_task(compare_on(site, writing))
        await writing
        await folding
        assert await reading > 10
        assert (await site.rollups())[60] > 10

    run(database, work)


def test_days_are_read_without_their_samples(database: Dsns) -> None:
    async def work(site: Site) -> None:
        series = min(SERIES)
        rows = [
            Sample(series, START_US + n * 10 * SECOND, Encoded(float(n), 0, None), 0, 0, 0)
            for n in range(2 * 8640)
        ]
        await site.write(rows)
        assert site.fold(START_US + 2 * DAY) == 2 * (1440 + 24 + 1)
        with psycopg.connect(database.owner, autocommit=True) as owner:
            for table in ("sample", "sample_pack", "sample_head"):
                owner.execute(f"DELETE FROM {table} WHERE tenant = %s", (site.tenant,))
        for every_us, count in ((DAY, 2), (6 * HOUR, 8), (10 * MINUTE, 288)):
            async with site.db.read(site.tenant) as tx:
                buckets = Buckets(every_us, ("mean", "min", "max", "count"))
                page = await read_buckets(tx, SERIES, Window(START_US, START_US + 2 * DAY), buckets, 1000)
            own = every_us // (10 * SECOND)
            assert [row.values for row in page.rows] == [
                {
                    "mean": first + (own - 1) / 2,
                    "min": float(first),
                    "max": float(first + own - 1),
                    "count": own,
                }
                for first in range(0, count * own, own)
            ]

    run(database, work)


@pytest.mark.parametrize("every_us", [7 * MINUTE, 173 * MINUTE, 7 * HOUR, 25 * HOUR + MINUTE])
def test_buckets_that_cut_wide_roll_ups_are_read_without_samples(database: Dsns, every_us: int) -> None:
    async def work(site: Site) -> None:
        series = min(SERIES)
        await site.write(run_of(series, START_US, 3 * 8640, 10 * SECOND, 5))
        site.fold(START_US + 3 * DAY)
        window = Window(START_US + 7 * MINUTE, START_US + 3 * DAY - 5 * MINUTE)
        buckets = Buckets(every_us, ("mean", "min", "max", "count"))
        async with site.db.read(site.tenant) as tx:
            await compare(tx, window[:2], every_us)
            before = await read_buckets(tx, SERIES, window, buckets, 1000)
        with psycopg.connect(database.owner, autocommit=True) as owner:
            for table in ("sample", "sample_pack", "sample_head"):
                owner.execute(f"DELETE FROM {table} WHERE tenant = %s", (site.tenant,))
        async with site.db.read(site.tenant) as tx:
            assert await read_buckets(tx, SERIES, window, buckets, 1000) == before
        assert len(before.rows) > 2

    run(database, work)


def test_what_is_written_in_bulk_marks_days_for_all_series(database: Dsns) -> None:
    async def work(site: Site) -> None:
        await site.write(run_of(min(SERIES), START_US, 100, MINUTE, 1))
        site.fold(START_US + DAY)
        late = [Sample((n << 20) + 1, START_US + HOUR, Encoded(1.0, 0, None), 0, 0, 0) for n in range(3, 700)]
        await site.write(late)
        marks = await site.db.query(site.tenant, "SELECT series FROM rollup_stale")
        assert marks == [(-1,)]
        site.fold(START_US + DAY)
        assert await site.db.query(site.tenant, "SELECT series FROM rollup_stale") == []

    run(database, work)


def test_first_samples_of_a_series_mark_their_day(database: Dsns) -> None:
    async def work(site: Site) -> None:
        await site.write(run_of(min(SERIES), START_US, 100, MINUTE, 1))
        site.fold(START_US + DAY)
        series = (3 << 20) + 1
        batch = SampleBatch.of([Sample(series, START_US + HOUR, Encoded(1.0, 0, None), 0, 0, 0)])
        async with site.db.write(site.tenant) as tx:
            batch.recorded_us[:] = tx.recorded_us
            first = pack_first_samples(batch, tx.recorded_us)
            await copy_first_samples(tx, first, tx.recorded_us)
            await tell_first_samples(tx, first, tx.recorded_us)
        assert await site.db.query(site.tenant, "SELECT series FROM rollup_stale") == [(series,)]

    run(database, work)


def test_what_comes_last_marks_nothing(database: Dsns) -> None:
    async def work(site: Site) -> None:
        await site.write(run_of(min(SERIES), START_US, 100, MINUTE, 1))
        site.fold(START_US + 2 * HOUR)
        await site.write(run_of(min(SERIES), START_US + 2 * HOUR, 50, MINUTE, 1))
        assert await site.db.query(site.tenant, "SELECT series FROM rollup_stale") == []

    run(database, work)


def test_numbers_too_great_to_be_summed_up_are_left_to_their_samples(database: Dsns) -> None:
    async def work(site: Site) -> None:
        rows = run_of(min(SERIES), START_US, 600, 6 * SECOND, 1)
        rows[5] = rows[5]._replace(value=Encoded(-1.7e308, 0, None), quality=0)
        await site.write(rows)
        site.fold(START_US + DAY)
        assert await site.rollups() == {}

    run(database, work)


def test_retention_takes_roll_ups_too(database: Dsns) -> None:
    async def work(site: Site) -> None:
        now_us = START_US + 14 * DAY
        for day in (0, 8):
            await site.write(run_of(min(SERIES), START_US + day * DAY, 600, 60 * SECOND, 1))
        site.fold(now_us)
        with psycopg.connect(database.owner) as owner:
            name = owner.execute("SELECT name FROM tenant WHERE tenant = %s", (site.tenant,)).fetchone()
        assert name is not None
        before = await site.rollups()
        await asyncio.to_thread(retain, database.owner, 1, name[0])
        await asyncio.to_thread(apply_retention, database.owner)
        left = await site.db.query(site.tenant, "SELECT count(*) FROM rollup")
        assert before
        assert left == [(0,)]
        async with site.db.read(site.tenant) as tx:
            await compare(tx, (START_US, now_us), DAY)

    run(database, work)


def test_what_is_written_while_it_is_folded_stays_marked(
    database: Dsns, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = rollups._Fold._fold

    def fold_and_mark(self: rollups._Fold, series: list[int], start_us: int, end_us: int) -> None:
        fold(self, series, start_us, end_us)
        with psycopg.connect(database.owner) as owner:
            owner.execute("UPDATE rollup_stale SET mark = mark + 1")

    async def work(site: Site) -> None:
        await site.write(run_of(min(SERIES), START_US, 100, MINUTE, 1))
        site.fold(START_US + DAY)
        await site.write(run_of(min(SERIES), START_US + 2 * HOUR, 1, MINUTE, 1))
        with monkeypatch.context() as patch:
            patch.setattr(rollups._Fold, "_fold", fold_and_mark)
            site.fold(START_US + DAY)
        assert len(await site.db.query(site.tenant, "SELECT series FROM rollup_stale")) == 1
        site.fold(START_US + DAY)
        assert await site.db.query(site.tenant, "SELECT series FROM rollup_stale") == []

    run(database, work)

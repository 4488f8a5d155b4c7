"""What is packed reads as what lies in rows does, whatever is late, corrected, packed and unpacked between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from gemel.base.clock import from_us, now_us
from gemel.history import heading, packing
from gemel.history.merging import merge_packs
from gemel.history.moment import Moment
from gemel.history.moves import Stretch, read_last, read_moves
from gemel.history.packing import pack_heads
from gemel.history.read import Buckets, Cursor, Window, read_buckets, read_raw
from gemel.history.retention import apply_retention
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded, canonical_json
from gemel.history.weeks import MONDAY_US, WEEK_US, Weeks
from gemel.history.write import write_samples
from gemel.store.database import Database, ReadTransaction
from support.history import SAMPLES
from support.postgres import Dsns
from support.tenants import make_tenant

SERIES = [(1 << 20) + 1, (1 << 20) + 2, (3 << 20) + 1, (40 << 20) + 1]
PATHS = {series: f"p{series}" for series in SERIES}
KEYS = {series: (path, "telemetry") for series, path in PATHS.items()}
START_US = MONDAY_US + 2500 * WEEK_US
RECORDED_US = 1_700_000_000_000_000
ALL = f"SELECT series, source_time, recorded, num, kind, doc, revision, quality, late FROM {SAMPLES} AS s"
LYING = """
SELECT (SELECT count(*) FROM sample), (SELECT count(*) FROM sample_head), (SELECT count(*) FROM sample_pack)"""

OVERLAPPING = """
SELECT p.* FROM (
    SELECT *, lead(first_time) OVER (PARTITION BY tenant, series ORDER BY first_time) AS following
    FROM sample_pack) AS p
WHERE last_time >= following OR cardinality(source_times) <> cardinality(recorded_times)
    OR cardinality(source_times) <> cardinality(nums) OR source_times[1] <> first_time
    OR source_times[cardinality(source_times)] <> last_time OR cardinality(source_times) > 144"""


def drawn(rng: random.Random, count: int) -> list[Sample]:
    """Draw samples of some series over three weeks, most newer than those before, some late, odd or corrections."""
    samples: list[Sample] = []
    now_us = START_US
    for index in range(count):
        now_us += rng.choice((1, 60_000_000, WEEK_US // 40))
        back_us = rng.randrange(WEEK_US // 10) if rng.random() < 0.1 else 0
        value = (
            Encoded(None, 2, canonical_json(rng.choice(["a", 2**60])))
            if rng.random() < 0.05
            else Encoded(float(rng.randrange(9)), rng.choice((0, 0, 0, 1)), None)
        )
        sample = Sample(rng.choice(SERIES), max(START_US, now_us - back_us), value, 0, 0, RECORDED_US + index)
        if samples and rng.random() < 0.08:
            sample = rng.choice(samples)._replace(recorded_us=RECORDED_US + index)
            if rng.random() < 0.7:
                sample = sample._replace(value=Encoded(100.0 + index, 0, None))
        samples.append(sample)
    return samples


class Pair:
    """The same samples in two tenants: in one rows alone, in the other packed wherever they can be."""

    def __init__(self, db: Database, dsns: Dsns, patch: pytest.MonkeyPatch) -> None:
        self.db, self.dsns, self.patch = db, dsns, patch
        self.rows, self.packed = make_tenant(dsns), make_tenant(dsns)

    async def write(self, samples: Sequence[Sample]) -> None:
        outcomes = []
        for tenant, least in ((self.rows, 1 << 40), (self.packed, 1)):
            self.patch.setattr(heading, "BATCH_MIN", least)
            self.patch.setattr(heading, "BUCKET_MIN", 1)
            self.patch.setattr(heading, "BLOCK_MAX", 3)
            batch = SampleBatch.of(samples)
            await Weeks(self.db).ensure(batch.time_us)
            async with self.db.write(tenant) as tx:
                outcomes.append((await write_samples(tx, batch)).tolist())
        assert outcomes[0] == outcomes[1]

    def pack(self, rows_max: int) -> None:
        with psycopg.connect(self.dsns.owner, autocommit=True) as owner:
            pack_heads(owner, rows_max, 3600)

    def tidy(self) -> None:
        """Pack and merge what other tests left, of other tenants."""
        self.pack(1)
        self.merge(2)

    def merge(self, waiting: int) -> int:
        with psycopg.connect(self.dsns.owner, autocommit=True) as owner:
            merged = merge_packs(owner, waiting)
            assert owner.execute(OVERLAPPING).fetchall() == []
        return merged

    async def lying(self) -> tuple[int, int, int]:
        rows, heads, packs = (await self.db.query(self.packed, LYING))[0]
        return rows, heads, packs

    async def both(self, read: Any) -> Any:
        """Return what a read gives, which must be the same of both."""
        found = []
        for tenant in (self.rows, self.packed):
            async with self.db.read(tenant) as tx:
                found.append(await read(tx))
        assert found[0] == found[1]
        return found[0]


@asynccontextmanager
async def pair(dsns: Dsns, patch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    db = Database(dsns.serve)
    await db.open()
    try:
        yield Pair(db, dsns, patch)
    finally:
        await db.close()


async def everything(tx: ReadTransaction) -> set[str]:
    return {repr(row) for row in await tx.rows(ALL)}


async def compare(rng: random.Random, two: Pair, samples: Sequence[Sample]) -> None:
    """Read a random stretch, as known at a random time, in every way that there is."""
    low_us, high_us = sorted(rng.choice(samples).time_us + rng.randrange(-2, 3) for _ in range(2))
    known_us = rng.choice((RECORDED_US + rng.randrange(len(samples)), 9_214_646_400_000_000))
    window = Window(low_us, high_us, known_us)
    series = dict(rng.sample(sorted(PATHS.items()), rng.randrange(1, 4)))
    keys = {number: KEYS[number] for number in series}
    limit = rng.choice((1, 3, 1000))
    after = rng.choice((None, Cursor(rng.choice(samples).time_us, rng.choice(SERIES))))
    buckets = Buckets(
        rng.choice((3_600_000_000, WEEK_US)), ["mean", "first", "last", "count"], rng.random() < 0.5
    )
    stretch = Stretch(low_us, high_us, newest_first=rng.random() < 0.5, known_at_us=known_us)
    await two.both(lambda tx: read_raw(tx, series, window, limit, after))
    await two.both(lambda tx: read_buckets(tx, series, window, buckets, 50))
    await two.both(lambda tx: read_moves(tx, keys, stretch, limit))
    await two.both(lambda tx: read_last(tx, keys, Moment(high_us, known_us)))


@pytest.mark.parametrize("seed", range(6))
def test_packed_reads_as_rows_do(database: Dsns, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = random.Random(seed)
    samples = drawn(rng, 400)

    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            rest, were = list(samples), set()
            while rest:
                size = rng.randrange(1, 60)
                part, rest = rest[:size], rest[size:]
                await two.write(part)
                if rng.random() < 0.5:
                    two.pack(rng.choice((1, 2, 4)))
                if rng.random() < 0.3:
                    two.merge(rng.choice((2, 4)))
                were.add(tuple(count > 0 for count in await two.lying()))
                await two.both(everything)
                await compare(rng, two, samples)
            assert (True, True, True) in were, "the test looks at all places at once"

    asyncio.run(main())


async def write_slowly(two: Pair, count: int, start_us: int = START_US) -> list[Sample]:
    """Write a sample a minute, each packed by itself."""
    samples = [
        Sample(SERIES[0], start_us + n * 60_000_000, Encoded(float(n), n % 2, None), 0, 0, RECORDED_US + n)
        for n in range(count)
    ]
    for sample in samples:
        await two.write([sample])
        two.pack(1)
    return samples


def test_small_packs_become_large_ones(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            two.tidy()
            ahead_us = now_us() // WEEK_US * WEEK_US + WEEK_US + MONDAY_US
            samples = await write_slowly(two, 15, ahead_us)
            assert two.merge(16) == 0, "too few of a week that is not over"
            samples += await write_slowly(two, 1, ahead_us + 3_600_000_000)
            assert await two.lying() == (0, 0, 16)
            assert two.merge(16) == 16
            assert await two.lying() == (0, 0, 1)
            assert two.merge(2) == 0, "one has no neighbour"
            assert len(await two.both(everything)) == 16
            await two.write([samples[3]._replace(value=Encoded(99.0, 0, None), recorded_us=RECORDED_US + 99)])
            assert await two.lying() == (16, 0, 0)
            await two.both(everything)

    asyncio.run(main())


def test_what_lies_between_small_packs_is_cut_with_them(
    database: Dsns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            two.tidy()
            await write_slowly(two, 2)
            many = [
                Sample(
                    SERIES[0], START_US + 600_000_000 + n, Encoded(1.0, 0, None), 0, 0, RECORDED_US + 50 + n
                )
                for n in range(150)
            ]
            await two.write(many)
            two.pack(1)
            await write_slowly(two, 2, START_US + 1_200_000_000)
            assert await two.lying() == (0, 0, 6), "150 are two packs"
            assert two.merge(16) == 4, "of a week that is long over, few are enough"
            assert await two.lying() == (0, 0, 2)
            assert two.merge(2) == 0
            assert len(await two.both(everything)) == 154

    asyncio.run(main())


def test_a_merge_gives_way_to_who_writes(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            two.tidy()
            samples = await write_slowly(two, 3)
            changed = samples[1]._replace(value=Encoded(2.5, 0, None), recorded_us=RECORDED_US + 9)
            async with two.db.write(two.packed) as tx:
                assert await asyncio.to_thread(two.merge, 2) == 0
                await write_samples(tx, SampleBatch.of([changed]))
            assert await two.lying() == (1, 0, 2)
            assert two.merge(2) == 2
            assert await two.lying() == (1, 0, 1)

    asyncio.run(main())


def test_a_merge_leaves_to_retention_what_is_before_the_line(
    database: Dsns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            two.tidy()
            await write_slowly(two, 3)
            with psycopg.connect(database.owner, autocommit=True) as owner:
                owner.execute(
                    "UPDATE tenant_head SET retention_line = %s WHERE tenant = %s",
                    (from_us(START_US + WEEK_US), two.packed),
                )
            assert two.merge(2) == 0
            assert await two.lying() == (0, 0, 3)

    asyncio.run(main())


def test_a_correction_makes_rows_of_what_is_packed(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            samples = [
                Sample(SERIES[0], START_US + n, Encoded(float(n), 0, None), 0, 0, RECORDED_US + n)
                for n in range(9)
            ]
            await two.write(samples[:6])
            two.pack(1)
            await two.write(samples[6:])
            assert await two.lying() == (0, 1, 1)
            await two.write([samples[2], samples[7]])
            assert await two.lying() == (0, 1, 1), "a duplicate changes nothing"
            await two.write([samples[2]._replace(value=Encoded(99.0, 0, None), recorded_us=RECORDED_US + 20)])
            assert await two.lying() == (6, 1, 0)
            await two.write([samples[7]._replace(value=Encoded(98.0, 0, None), recorded_us=RECORDED_US + 21)])
            assert await two.lying() == (9, 0, 0)
            await two.both(everything)

    asyncio.run(main())


def test_the_packer_passes_over_what_another_is_changing(
    database: Dsns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "SLICE_SAMPLES", 1)

    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            samples = [
                Sample(series, START_US + n, Encoded(1.0, 0, None), 0, 0, RECORDED_US)
                for n, series in enumerate((SERIES[0], SERIES[3]))
            ]
            await two.write(samples)
            changed = samples[0]._replace(value=Encoded(2.0, 0, None), recorded_us=RECORDED_US + 1)
            async with two.db.write(two.packed) as tx:
                await write_samples(tx, SampleBatch.of([changed]))
                await asyncio.to_thread(two.pack, 1)
            assert await two.lying() == (1, 0, 1)

    asyncio.run(main())


def test_retention_keeps_the_last_before_the_line(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    samples = drawn(rng, 300)

    async def main() -> None:
        async with pair(database, monkeypatch) as two:
            for start in range(0, 300, 50):
                await two.write(samples[start : start + 50])
                if start < 200:
                    two.pack(1)
            assert all(count > 0 for count in await two.lying())
            with psycopg.connect(database.owner, autocommit=True) as owner:
                owner.execute(
                    "UPDATE tenant SET retention_days = 7 WHERE tenant = ANY(%s)", ([two.rows, two.packed],)
                )
            at = from_us(START_US + 3 * WEEK_US)
            retained = apply_retention(database.owner, now=at)
            assert len(set(retained.deleted.values())) == 1, "as many of both"
            assert next(iter(retained.deleted.values())) > 0
            left = await two.both(everything)
            assert 0 < len(left) < 300

    asyncio.run(main())


def test_nobody_writes_the_head_of_another(database: Dsns) -> None:
    """The tenant of what is copied comes from the transaction; naming it, or reading the leaf, is refused."""

    async def main() -> None:
        db = Database(database.serve)
        await db.open()
        try:
            tenant = make_tenant(database)
            for sql in (
                "COPY sample_head_leaf (tenant, bucket) FROM STDIN",
                "COPY sample_head_leaf TO STDOUT",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    async with db.write(tenant) as tx:
                        await tx.copy(sql, b"", "gemel_copy")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await db.query(tenant, "SELECT * FROM sample_head_leaf")
        finally:
            await db.close()

    asyncio.run(main())

"""What is frozen reads as what lies in rows does, whatever is late, corrected, deleted, thawed and frozen again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gemel.base.clock import from_us
from gemel.history import cold, cold_file, freezing, heading
from gemel.history.cold import EveryTwin, stage_last, stage_state
from gemel.history.cold_weeks import freeze, sweep
from gemel.history.corrections import Range, cut_range, delete_samples, highest_revision
from gemel.history.freezing import Frozen
from gemel.history.moment import END_US, Moment
from gemel.history.moves import Stretch, read_last, read_moves
from gemel.history.packing import pack_heads
from gemel.history.read import Buckets, Cursor, Window, read_buckets, read_raw
from gemel.history.retention import apply_retention
from gemel.history.rollups import fold_tenant
from gemel.history.samples import Sample, SampleBatch
from gemel.history.state import state_of
from gemel.history.values import Encoded, canonical_json
from gemel.history.weeks import MONDAY_US, WEEK_US, Weeks
from gemel.history.write import foresee_samples, write_samples
from gemel.store.blobs import open_blobs
from gemel.store.database import Database, ReadTransaction, Row
from gemel.store.sizes import SAMPLED, Gauge
from support.postgres import Dsns
from support.s3 import s3_server
from support.tenants import make_tenant

SERIES = [(1 << 20) + 1, (1 << 20) + 2, (3 << 20) + 1, (40 << 20) + 1]
PATHS = {series: f"p{series}" for series in SERIES}
KEYS = {series: (path, "telemetry") for series, path in PATHS.items()}
START_US = MONDAY_US + 2500 * WEEK_US
RECORDED_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000
PACKED = "SELECT sum(cardinality(source_times)) FROM sample_pack"


def drawn(rng: random.Random, count: int) -> list[Sample]:
    """Draw samples of some series over about four weeks: some late, bad, odd or corrections."""
    samples: list[Sample] = []
    now_us = START_US
    for index in range(count):
        now_us += rng.choice((1, 60_000_000, WEEK_US // 40))
        back_us = rng.randrange(2 * WEEK_US) if rng.random() < 0.1 else 0
        value = (
            Encoded(None, 2, canonical_json(rng.choice(['a"\\', 2**40, {"b": [1, None]}])))
            if rng.random() < 0.1
            else Encoded(float(rng.randrange(9)) / 8, rng.choice((0, 0, 0, 1)), None)
        )
        quality = rng.choice((0, 0, 0, 0, 1, 2))
        time_us = max(START_US, now_us - back_us)
        sample = Sample(
            rng.choice(SERIES), time_us, value, rng.choice((0, 0, 0, 1)), quality, RECORDED_US + index
        )
        if samples and rng.random() < 0.08:
            sample = rng.choice(samples)._replace(recorded_us=RECORDED_US + index)
            if rng.random() < 0.7:
                sample = sample._replace(value=Encoded(100.0 + index, 0, None))
        samples.append(sample)
    return samples


class Pair:
    """The same samples in two tenants: in one in the database alone, in the other frozen wherever they can be."""

    def __init__(self, db: Database, dsns: Dsns, folder: Path | str) -> None:
        self.db, self.dsns, self.blobs = db, dsns, open_blobs(str(folder))
        self.rows, self.cold = make_tenant(dsns), make_tenant(dsns)
        with psycopg.connect(dsns.owner, autocommit=True) as owner:
            owner.execute("UPDATE tenant_head SET rolled = %s", (from_us(START_US + 100 * WEEK_US),))

    async def write(self, samples: Sequence[Sample]) -> None:
        batch = SampleBatch.of(samples)
        await Weeks(self.db).ensure(batch.time_us)

        async def foreseen(tx: ReadTransaction) -> list[int]:
            return list(map(int, await foresee_samples(tx, batch)))

        expected = await self.both(foreseen)
        outcomes = []
        for tenant in (self.rows, self.cold):
            async with self.db.write(tenant) as tx:
                outcomes.append((await write_samples(tx, batch)).tolist())
        assert outcomes[0] == outcomes[1] == expected

    async def delete(self, low_us: int, high_us: int, series: int) -> None:
        wanted = Range({series: KEYS[series]}, low_us, high_us)
        await self.both(lambda tx: cut_range(tx, wanted, 3))
        await self.both(lambda tx: highest_revision(tx, wanted))
        counts = []
        for tenant in (self.rows, self.cold):
            async with self.db.write(tenant) as tx:
                tx._recorded_us = RECORDED_US + 5_000
                counts.append(await delete_samples(tx, wanted))
        assert counts[0] == counts[1]

    def freeze(self, weeks: int) -> list[Frozen]:
        with psycopg.connect(self.dsns.owner, autocommit=True) as owner:
            pack_heads(owner, 1, 0)
        return freeze(self.dsns.owner, self.blobs, self.cold, from_us(START_US + weeks * WEEK_US))

    async def both(self, read: Any) -> Any:
        """Return what a read gives, which must be the same of both."""
        found = []
        for tenant in (self.rows, self.cold):
            async with self.db.read(tenant) as tx:
                found.append(await read(tx))
        assert found[0] == found[1]
        return found[0]

    def check_counts(self) -> None:
        """See that as many samples are told of both, wherever they lie."""
        with psycopg.connect(self.dsns.owner, autocommit=True) as owner:
            measured = Gauge().measure(owner)
        assert measured is not None
        told = [
            sum(size.samples for (of, tier), size in measured.items() if of == tenant and tier in SAMPLED)
            for tenant in (self.rows, self.cold)
        ]
        assert told[0] == told[1]

    async def count(self, table: str) -> int:
        return int((await self.db.query(self.cold, f"SELECT count(*) FROM {table}"))[0][0])


@asynccontextmanager
async def pair(dsns: Dsns, folder: Path | str) -> AsyncIterator[Pair]:
    db = Database(dsns.serve, cold_url=str(folder))
    await db.open()
    try:
        yield Pair(db, dsns, folder)
    finally:
        await db.close()


async def compare(rng: random.Random, two: Pair, samples: Sequence[Sample]) -> None:
    """Read a random stretch, as known at a random time, in every way that there is."""
    low_us, high_us = sorted(rng.choice(samples).time_us + rng.randrange(-2, 3) for _ in range(2))
    known_us = rng.choice((RECORDED_US + rng.randrange(len(samples)), END_US))
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
    all_of = rng.random() < 0.5
    await two.both(lambda tx: states(tx, Moment(high_us, known_us), all_of=all_of))


async def states(tx: ReadTransaction, moment: Moment, *, all_of: bool) -> list[Row]:
    """Return the state of the twins at a moment, staged for all series there are, or for theirs."""
    twin_nos = sorted({series >> 20 for series in SERIES})
    if all_of:
        await stage_last(tx, EveryTwin(None), *moment)
    else:
        await stage_state(tx, twin_nos, moment)
    return await tx.rows(state_of("%(nos)s::int[]", moment), moment.parameters | {"nos": twin_nos})


@pytest.mark.parametrize("seed", range(8))
def test_frozen_reads_as_rows_do(
    database: Dsns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    samples = drawn(rng, 400)
    monkeypatch.setattr(heading, "BATCH_MIN", 1)
    monkeypatch.setattr(heading, "BUCKET_MIN", 1)
    monkeypatch.setattr(freezing, "KEPT_MIN", rng.choice((3, 3, 16)))
    monkeypatch.setattr(freezing, "SLICE_SAMPLES", rng.choice((1, 20)))
    monkeypatch.setattr(freezing, "FETCH_ROWS", rng.choice((5, 1000)))
    monkeypatch.setattr(cold_file, "GROUP_ROWS", 7)

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            rest, frozen, thawed = list(samples), 0, 0
            while rest:
                size = rng.randrange(1, 60)
                part, rest = rest[:size], rest[size:]
                await two.write(part)
                thawed += await two.count("cold_thawed")
                if rng.random() < 0.6:
                    frozen += sum(week.samples for week in two.freeze(rng.randrange(1, 5)))
                if rng.random() < 0.15:
                    low_us = rng.choice(samples).time_us
                    await two.delete(low_us, low_us + rng.choice((1, DAY_US, WEEK_US)), rng.choice(SERIES))
                two.check_counts()
                for _ in range(3):
                    await compare(rng, two, samples)
            assert frozen > 0
            assert thawed > 0

    asyncio.run(main())


def test_what_ends_before_the_commit_leaves_the_rows(
    database: Dsns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples = [
        Sample(SERIES[0], START_US + n, Encoded(float(n), 0, None), 0, 0, RECORDED_US + n) for n in range(40)
    ]
    window = Window(START_US, START_US + DAY_US)

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            await two.write(samples)

            def end(*_: object) -> bool:
                raise KeyboardInterrupt

            with monkeypatch.context() as patch:
                patch.setattr(freezing, "_name", end)
                with pytest.raises(KeyboardInterrupt):
                    two.freeze(1)
            assert await two.count("sample") == 40
            assert await two.count("cold_week") == 0
            orphan = two.blobs.names("")
            assert len(orphan) == 1
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 100))).rows) == 40
            assert sweep(database.owner, two.blobs) == [], "who reads still may read it"
            assert sweep(database.owner, two.blobs, older_s=0) == orphan
            frozen = two.freeze(1)
            assert [week.samples for week in frozen] == [37]
            assert await two.count("sample") == 3
            assert sweep(database.owner, two.blobs, older_s=0) == []
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 100))).rows) == 40

    asyncio.run(main())


def spread(count: int) -> list[Sample]:
    """Return samples of all series, in turn, within a week."""
    return [
        Sample(SERIES[n % 4], START_US + n, Encoded(float(n), 0, None), 0, 0, RECORDED_US + n)
        for n in range(count)
    ]


@pytest.mark.parametrize("ending", range(6))
def test_what_ends_midway_is_whole_and_goes_on(
    database: Dsns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: int
) -> None:
    samples = spread(160)
    window = Window(START_US, START_US + DAY_US)
    monkeypatch.setattr(freezing, "SLICE_SAMPLES", 1)
    monkeypatch.setattr(freezing, "MARKS", 1)

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            await two.write(samples)
            left = iter(range(ending))
            begun = freezing._one

            def end(owner: Any, statement: str, place: Any) -> bool:
                if statement is freezing.HINDERED and next(left, None) is None:
                    raise KeyboardInterrupt
                return begun(owner, statement, place)

            with monkeypatch.context() as patch:
                patch.setattr(freezing, "_one", end)
                if ending < 4:
                    with pytest.raises(KeyboardInterrupt):
                        two.freeze(1)
                else:
                    two.freeze(1)
            assert await two.count("cold_week") == 1
            assert await two.count("cold_thawed") == max(0, 4 - ending)
            two.check_counts()
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 200))).rows) == 160
            await two.write(
                [samples[9]._replace(value=Encoded(-1.0, 0, None), recorded_us=RECORDED_US + 500)]
            )
            await two.both(lambda tx: read_raw(tx, PATHS, window, 200))
            two.check_counts()
            two.freeze(1)
            assert await two.count("cold_thawed") == 0
            assert await two.count("sample") == 13, "three bounds of each, and what was corrected"
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 200))).rows) == 160

    asyncio.run(main())


def test_what_is_written_meanwhile_stays_until_the_next_time(
    database: Dsns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples = spread(160)
    window = Window(START_US, START_US + DAY_US)

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            await two.write(samples[:10] + samples[11:])
            move = freezing._move

            def late(*given: Any) -> int:
                asyncio.run_coroutine_threadsafe(two.write([samples[10]]), loop).result(30)
                return move(*given)

            loop = asyncio.get_running_loop()
            with monkeypatch.context() as patch:
                patch.setattr(freezing, "_move", late)
                (week,) = await asyncio.to_thread(two.freeze, 1)
            assert (week.samples, week.behind, week.left) == (147, 1, None)
            assert await two.count("sample") == 9 + 40
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 200))).rows) == 160
            assert [(week.samples, week.behind) for week in two.freeze(1)] == [(148, 0)]
            assert await two.count("sample") == 12
            assert two.freeze(1) == []
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 200))).rows) == 160

    asyncio.run(main())


def test_much_that_comes_back_does_so_in_parts_and_ahead(
    database: Dsns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples = spread(160)
    late = [
        each._replace(time_us=each.time_us + 1000, recorded_us=each.recorded_us + 1000)
        for each in samples[:4]
    ]
    batch = SampleBatch.of(late)
    window = Window(START_US, START_US + DAY_US)
    monkeypatch.setattr(cold, "THAWED_SAMPLES", 50)

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            await two.write(samples)
            two.freeze(1)
            commits: list[int] = []
            thawing = cold.thaw

            async def counted(tx: Any, series: Any, low_us: Any, high_us: Any) -> None:
                commits.append(len(series))
                await thawing(tx, series, low_us, high_us)

            monkeypatch.setattr(cold, "thaw", counted)
            await cold.thaw_ahead(two.db, two.cold, batch.series, batch.time_us)
            assert commits == [1, 1, 2]
            assert await two.count("cold_thawed") == 4
            assert (await two.db.query(two.cold, PACKED))[0][0] == 148
            await cold.thaw_ahead(two.db, two.cold, batch.series, batch.time_us)
            assert len(commits) == 3, "nothing is left to come back"
            await two.both(lambda tx: read_raw(tx, PATHS, window, 200))
            await two.write(late)
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 200))).rows) == 164
            assert [week.samples for week in two.freeze(1)] == [152]
            assert await two.count("sample_pack") == 0
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 200))).rows) == 164

    asyncio.run(main())


def test_a_file_is_of_one_tenant_and_named_to_it_alone(database: Dsns, tmp_path: Path) -> None:
    samples = [
        Sample(SERIES[0], START_US + n, Encoded(float(n), 0, None), 0, 0, RECORDED_US + n) for n in range(40)
    ]

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            await two.write(samples)
            two.freeze(1)
            assert await two.count("cold_week") == 1
            assert await two.db.query(two.rows, "SELECT * FROM cold_week") == []
            for statement in (
                "DELETE FROM cold_week",
                "UPDATE cold_week SET name = ''",
                "DELETE FROM cold_thawed",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await two.db.query(two.cold, statement, read_only=False)

    asyncio.run(main())


def test_retention_forgets_frozen_weeks_and_keeps_the_last(database: Dsns, tmp_path: Path) -> None:
    samples = [
        Sample(SERIES[n % 2], START_US + n * WEEK_US // 40, Encoded(float(n), 0, None), 0, 0, RECORDED_US + n)
        for n in range(120)
    ]

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            await two.write(samples)
            assert len(two.freeze(2)) == 2
            with psycopg.connect(database.owner, autocommit=True) as owner:
                owner.execute(
                    "UPDATE tenant SET retention_days = 7 WHERE tenant = ANY(%s)", ([two.rows, two.cold],)
                )
            retained = apply_retention(database.owner, now=from_us(START_US + 3 * WEEK_US))
            assert len(set(retained.deleted.values())) == 1, retained
            assert await two.count("cold_week") == 0
            assert len(sweep(database.owner, two.blobs, older_s=0)) == 2
            window = Window(START_US, START_US + 3 * WEEK_US)
            left = await two.both(lambda tx: read_raw(tx, PATHS, window, 1000))
            assert len(left.rows) == 42
            with psycopg.connect(database.owner, autocommit=True) as owner:
                owner.execute("UPDATE tenant SET retention_days = NULL")

    asyncio.run(main())


def test_roll_ups_of_frozen_weeks_stay_and_are_corrected(database: Dsns, tmp_path: Path) -> None:
    every_us = 60_000_000
    samples = [
        Sample(SERIES[n % 2], START_US + n * every_us, Encoded(float(n % 8), 0, None), 0, 0, RECORDED_US + n)
        for n in range(1000)
    ]
    buckets = Buckets(3_600_000_000, ["mean", "min", "max", "first", "last", "count"])
    window = Window(START_US, START_US + DAY_US)

    async def main() -> None:
        async with pair(database, tmp_path) as two:
            await two.write(samples)
            fold(database, two, START_US + 4 * WEEK_US)
            assert len(two.freeze(1)) == 1
            read = lambda tx: read_buckets(tx, PATHS, window, buckets, 1000)  # noqa: E731
            before = await two.both(read)
            late = samples[100]._replace(value=Encoded(99.0, 0, None), recorded_us=RECORDED_US + 9000)
            await two.write([late])
            assert await two.count("cold_thawed") == 1
            after = await two.both(read)
            assert after != before
            fold(database, two, START_US + 4 * WEEK_US)
            assert await two.both(read) == after

    asyncio.run(main())


def fold(dsns: Dsns, two: Pair, now_us: int) -> None:
    with psycopg.connect(dsns.owner, autocommit=True) as owner:
        owner.execute("UPDATE tenant_head SET rolled = NULL WHERE rolling IS NULL")
        for tenant in (two.rows, two.cold):
            fold_tenant(owner, tenant, now_us, settle_us=-(10**18))


def test_a_bucket_holds_weeks_as_a_folder_does(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    samples = [
        Sample(SERIES[0], START_US + n, Encoded(float(n), 0, None), 0, 0, RECORDED_US + n) for n in range(40)
    ]
    window = Window(START_US, START_US + DAY_US)

    async def main(url: str) -> None:
        async with pair(database, url) as two:
            await two.write(samples)
            assert [week.samples for week in two.freeze(1)] == [37]
            assert len((await two.both(lambda tx: read_raw(tx, PATHS, window, 100))).rows) == 40

    with s3_server("plant") as endpoint:
        asyncio.run(main(f"s3://plant/cold?region=us-east-1&endpoint={endpoint}"))

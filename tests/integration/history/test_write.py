"""What is stored for samples equals a model of the time rules, whatever the order, repetition or grouping."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gemel.history.ordering import OUTCOMES
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded, canonical_json, rank
from gemel.history.weeks import Weeks
from gemel.history.write import write_samples
from gemel.store.database import Database
from support.history import SAMPLES
from support.postgres import Dsns
from support.tenants import open_tenant

WEEK_US = 7 * 86_400_000_000
START_US = 1_580_000_000_000_000

STATE = "SELECT series, (extract(epoch FROM source_time)*1000000)::bigint, num, kind, doc, revision, quality FROM {}"

Row = tuple[Any, ...]


def random_samples(rng: random.Random, count: int) -> list[Sample]:
    """Draw samples that collide on few series and times, of all kinds of values."""
    samples = []
    for _ in range(count):
        value = rng.choice(
            [
                Encoded(float(rng.randrange(4)), 0, None),
                Encoded(float(rng.randrange(3)), 1, None),
                Encoded(None, 2, canonical_json(rng.choice(["a", "b", True, {"x": [1, 2]}, 2**60]))),
                Encoded(None, 3, None),
            ]
        )
        time_us = START_US + rng.randrange(6) * (WEEK_US // 2)
        samples.append(Sample(rng.randrange(1, 6), time_us, value, rng.randrange(2), rng.randrange(3), 0))
    return samples


def expected(samples: Sequence[Sample]) -> tuple[set[Row], set[Row], set[Row]]:
    """Return what state, history and superseded must hold, by the rules alone."""
    by_key: dict[tuple[int, int], dict[Any, Row]] = {}
    for sample in samples:
        row = (sample.series, sample.time_us, *sample.value, sample.revision, sample.quality)
        by_key.setdefault(row[:2], {})[rank(sample.revision, sample.value, sample.quality)] = row
    winners = {values[max(values)] for values in by_key.values()}
    losers = {row for values in by_key.values() for row in values.values()} - winners
    newest: dict[int, Row] = {}
    for row in winners:
        if row[0] not in newest or newest[row[0]][1] < row[1]:
            newest[row[0]] = row
    return set(newest.values()), winners, losers


async def stored(db: Database, tenant: int, table: str) -> set[Row]:
    rows = await db.query(tenant, STATE.format(table))
    plain = [(*row[:4], None if row[3] != 2 else canonical_json(row[4]), *row[5:]) for row in rows]
    assert len(set(plain)) == len(plain), f"{table} holds a row twice"
    return set(plain)


async def write_all(db: Database, tenant: int, samples: Sequence[Sample], rng: random.Random) -> list[int]:
    """Write samples in random parts; return how many had each outcome."""
    weeks, counts = Weeks(db), [0, 0, 0, 0]
    rest = list(samples)
    while rest:
        size = rng.randrange(1, 40)
        part, rest = rest[:size], rest[size:]
        batch = SampleBatch.of(part)
        await weeks.ensure(batch.time_us)
        async with db.write(tenant) as tx:
            batch.recorded_us[:] = tx.stamps(len(batch)) + np.arange(len(batch))
            outcomes = await write_samples(tx, batch)
        for outcome in outcomes:
            counts[outcome] += 1
    return counts


@pytest.mark.parametrize("seed", range(12))
def test_stored_equals_model_under_permutation_and_repetition(database: Dsns, seed: int) -> None:
    rng = random.Random(seed)
    samples = random_samples(rng, 150)
    state, history, superseded = expected(samples)

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            arrivals = samples + rng.sample(samples, 60)
            rng.shuffle(arrivals)
            counts = await write_all(db, tenant, arrivals, rng)
            assert sum(counts) == len(arrivals), f"seed {seed}"
            assert await stored(db, tenant, "latest") == state, f"seed {seed}"
            assert await stored(db, tenant, f"{SAMPLES} AS s") == history, f"seed {seed}"
            assert await stored(db, tenant, "sample_superseded") == superseded, f"seed {seed}"
            again = await write_all(db, tenant, samples, rng)
            assert again == [0, 0, len(samples), 0], f"seed {seed}: {dict(zip(OUTCOMES, again, strict=True))}"

    asyncio.run(run())


def test_outcomes_by_arrival(database: Dsns) -> None:
    def at(offset: int, value: float) -> Sample:
        return Sample(7 << 20, START_US + offset, Encoded(value, 0, None), 0, 0, 0)

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            batch = SampleBatch.of([at(0, 1.0), at(5, 2.0), at(3, 3.0), at(5, 2.0), at(5, 4.0)])
            await Weeks(db).ensure(batch.time_us)
            async with db.write(tenant) as tx:
                batch.recorded_us[:] = tx.stamps(len(batch)) + np.arange(len(batch))
                outcomes = await write_samples(tx, batch)
            assert [OUTCOMES[o] for o in outcomes] == [
                "accepted",
                "accepted",
                "late",
                "duplicate",
                "corrected",
            ]

    asyncio.run(run())


def test_copy_cannot_write_for_another_tenant(database: Dsns) -> None:
    """The leaf's tenant comes from the transaction; naming it, or reading a leaf, is refused."""

    async def run() -> None:
        async with open_tenant(database) as (db, tenant):
            weeks = Weeks(db)
            await weeks.ensure(np.array([START_US]))
            leaf = (await db.query(0, "SELECT relid::text FROM pg_partition_tree('sample') WHERE isleaf"))[0][
                0
            ]
            for sql in (
                f"COPY {leaf} (tenant, series) FROM STDIN",
                f"COPY {leaf} TO STDOUT",
            ):
                with pytest.raises(Exception, match="permission denied"):
                    await copy_as_copier(db, tenant, sql)
            with pytest.raises(Exception, match="permission denied"):
                await db.query(tenant, f"SELECT * FROM {leaf}")

    asyncio.run(run())


async def copy_as_copier(db: Database, tenant: int, sql: str) -> None:
    async with db.write(tenant) as tx:
        await tx.execute("SET LOCAL ROLE gemel_copy")
        async with tx.connection.cursor().copy(sql.encode()):
            pass


def test_many_make_the_same_week_at_once(database: Dsns) -> None:
    async def run() -> None:
        async with open_tenant(database) as (db, _):
            for turn in range(5):
                week = np.array([START_US + (100 + turn) * WEEK_US])
                await asyncio.gather(*(Weeks(db).ensure(week) for _ in range(12)))

    asyncio.run(run())

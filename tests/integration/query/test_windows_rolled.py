"""LAST over windows that roll-ups reach into answers as over the samples themselves, whatever became stale."""

from __future__ import annotations

import asyncio
import random
from copy import deepcopy
from typing import Any

import numpy as np
import psycopg
import pytest

from gemel.base.clock import from_us, iso_us, now_us
from gemel.history import summed
from gemel.history.moment import Moment
from gemel.history.rollups import fold_tenant
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded
from gemel.history.write import write_samples
from gemel.query import Ask, run_query
from support.graph import Site, open_site
from support.postgres import Dsns

HOUR_US = 3_600_000_000
DAYS = 4
TWINS = ["p1", "p2", "p3"]
FUNCTIONS = ["count", "sum", "avg", "min", "max"]


def drawn(rng: random.Random, series: list[int], now: int, count: int) -> list[tuple[int, int, Encoded, int]]:
    """Draw samples of the last days: whole numbers, so that sums are exact in any order, some bad, odd or removed."""
    found = {}
    for _ in range(count):
        kind = rng.random()
        value = (
            Encoded(None, 3, None)
            if kind < 0.02
            else Encoded(None, 2, '"text"')
            if kind < 0.05
            else Encoded(float(rng.randrange(-9, 99)), 0, None)
        )
        which = rng.choice([series[0], *series])
        found[which, now - rng.randrange(1, DAYS * 24 * HOUR_US)] = (value, 2 if rng.random() < 0.05 else 0)
    return [(*key, *rest) for key, rest in found.items()]


async def write(site: Site, rows: list[tuple[int, int, Encoded, int]]) -> None:
    async with site.db.write(site.tenant) as tx:
        batch = [Sample(series, at, value, 0, quality, tx.stamp()) for series, at, value, quality in rows]
        await write_samples(tx, SampleBatch.of(batch))


async def asked(site: Site, span: str, moment: Moment) -> list[dict[str, Any]]:
    calls = ", ".join(f"LAST(T.flow, '{span}', '{each}') AS {each}" for each in FUNCTIONS)
    async with site.db.read(site.tenant) as tx:
        text = f"SELECT T.$dtId AS id, {calls} FROM digitaltwins T"
        page = await run_query(tx, site.context, Ask(text, None, None, moment))
    return page.items


@pytest.mark.parametrize("seed", range(4))
def test_a_rolled_window_is_as_its_samples(
    database: Dsns, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        async with open_site(database) as site:
            now = now_us()
            start: dict[str, Any] = {"$metadata": {"$validFrom": iso_us(now - 6 * 24 * HOUR_US)}}
            for twin in TWINS:
                await site.put(twin, **deepcopy(start))
            async with site.db.write(site.tenant) as tx:
                numbers: dict[str, int] = dict(await tx.rows("SELECT twin_id, twin_no FROM twin"))
                paths = await site.context.paths.ensure(tx, [("flow", "telemetry")])
            series = [numbers[twin] << 20 | paths["flow", "telemetry"] for twin in TWINS]
            await site.context.weeks.ensure(np.array([now, now - 7 * 24 * HOUR_US], np.int64))
            with psycopg.connect(database.owner, autocommit=True) as owner:
                for turn in range(4):
                    await write(site, drawn(rng, series, now, 600))
                    if turn in (0, 2):
                        fold_tenant(owner, site.tenant, now, settle_us=0)
                    await compare(rng, site, now, monkeypatch)
                rolled = owner.execute("SELECT count(*) FROM rollup WHERE tenant = %s", (site.tenant,))
                assert (rolled.fetchone() or (0,))[0] > 20, "there is something to be read from"

    asyncio.run(main())


async def compare(rng: random.Random, site: Site, now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        span = rng.choice(["7h", "25h", "2d", "3d", "10d"])
        moment = rng.choice([Moment(), Moment(now - rng.randrange(30 * HOUR_US))])
        moment = rng.choice([moment, moment._replace(known_at_us=now_us())])
        monkeypatch.setattr(summed, "BUCKETS_MIN", 1)
        # The window ends when it is asked: no sample is so near to its ends that this could tell.
        rolled = await asked(site, span, moment)
        monkeypatch.setattr(summed, "BUCKETS_MIN", 1 << 40)
        plain = await asked(site, span, moment)
        assert rolled == plain, f"{span} at {from_us(min(moment.as_of_us, now))}"


def test_explain_shows_the_rollups(database: Dsns) -> None:
    async def main() -> None:
        async with open_site(database) as site:
            await site.put("p1")
            async with site.db.write(site.tenant) as tx:
                await site.context.paths.ensure(tx, [("flow", "telemetry")])
            async with site.db.read(site.tenant) as tx:
                for span, shown in (("30d", True), ("30m", False)):
                    text = f"EXPLAIN SELECT LAST(T.flow, '{span}', 'avg') AS v FROM digitaltwins T"
                    page = await run_query(tx, site.context, Ask(text))
                    assert ("FROM rollup" in str(page.items)) is shown

    asyncio.run(main())

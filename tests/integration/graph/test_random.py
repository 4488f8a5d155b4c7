"""Random puts, patches and ingested samples: what was answered is what is stored, and state follows history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import GemelError
from gemel.history.paths import series_of
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import encode
from gemel.history.write import write_samples
from support.graph import ASSET, PUMP, PUMP2, Site
from support.history import LAST_SAMPLES

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

PROPERTIES: dict[str, dict[str, list[Any]]] = {
    PUMP: {"head": [0.0, 1.0, 2.0], "count": [0, 1], "label": ["x", "y"], "limits": [{"low": 1.0}, {}]},
    PUMP2: {"head": [0.0, 1.0, 2.0], "power": [5.0], "label": ["x", "y"]},
    ASSET: {"label": ["x", "y"]},
}
BACK_US = 1000


class Walk:
    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.base_us = now_us() + 1_000_000

    def time(self) -> str | None:
        offset = self.random.randrange(-BACK_US, BACK_US, 200)
        return iso_us(self.base_us + offset) if self.random.random() < 0.5 else None

    async def put(self) -> None:
        model = self.random.choice([PUMP, PUMP, PUMP2])
        values = {
            name: self.random.choice(of)
            for name, of in PROPERTIES[model].items()
            if self.random.random() < 0.6
        }
        times = {name: {"sourceTime": time} for name in values if (time := self.time())}
        made = await self.site.put("t", model, **{"$metadata": dict(times), **values})
        assert await self.site.get("t") == made

    async def patches(self) -> None:
        model = (await self.site.get("t")).body["$metadata"]["$model"]
        asked = [self.site.patch("t", *self.operations(model)) for _ in range(self.random.randint(1, 5))]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            assert isinstance(answer, str | GemelError), answer
        tags = [answer for answer in answers if isinstance(answer, str)]
        if tags:
            assert (await self.site.get("t")).etag == tags[-1]

    def operations(self, model: str) -> list[dict[str, Any]]:
        name = self.random.choice(list(PROPERTIES[model]))
        if self.random.random() < 0.2:
            return [{"op": "remove", "path": f"/{name}"}]
        value = self.random.choice(PROPERTIES[model][name])
        found: list[dict[str, Any]] = [{"op": "add", "path": f"/{name}", "value": value}]
        time = self.time()
        if time is not None:
            found.append({"op": "add", "path": f"/$metadata/{name}/sourceTime", "value": time})
        return found

    async def ingest(self) -> None:
        """Write as ingest does: several samples, with revisions, some under keys that are taken."""
        async with self.site.db.write(self.site.tenant) as tx:
            view = await self.site.directory.resolve(tx, ["t"])
            twin = view.twins["t"]
            rows = []
            for _ in range(self.random.randint(1, 4)):
                name = self.random.choice(list(PROPERTIES[twin.twin_type.twin_type.model]))
                slot = twin.twin_type.slots[name]
                value = encode(
                    self.random.choice(PROPERTIES[twin.twin_type.twin_type.model][name]), slot.slot.storage
                )
                time_us = self.base_us + self.random.randrange(-BACK_US, BACK_US, 200)
                series = series_of(twin.twin_no, slot.path_no)
                rows.append(Sample(series, time_us, value, self.random.randint(0, 2), 0, tx.stamp()))
            await write_samples(tx, SampleBatch.of(rows))


@pytest.mark.parametrize("seed", range(3))
def test_state_follows_history(play: Play, seed: int) -> None:
    print(f"seed {seed}")

    async def work(site: Site) -> None:
        walk = Walk(site, seed)
        await walk.put()
        tags = set()
        for _ in range(60):
            before = await site.get("t")
            await walk.random.choice([walk.put, walk.patches, walk.patches, walk.ingest])()
            after = await site.get("t")
            assert (after.etag == before.etag) == (after.body == before.body)
            tags.add(after.etag)
        assert len(tags) > 20
        odd = await site.rows(
            f"""
            SELECT count(*) FROM latest AS l LEFT JOIN {LAST_SAMPLES} AS s USING (tenant, series)
            WHERE (l.source_time, l.kind, l.num, l.doc, l.recorded)
                IS DISTINCT FROM (s.source_time, s.kind, s.num, s.doc, s.recorded)"""
        )
        assert odd == [(0,)]
        spans = await site.rows(
            """
            SELECT count(*) FILTER (WHERE valid_to = 'infinity'), count(*) FROM (
                SELECT valid_to, lead(valid_from) OVER (ORDER BY valid_from) AS next FROM twin_span
                WHERE recorded_to = 'infinity') AS s
            WHERE next IS NULL OR next = valid_to"""
        )
        total = await site.rows("SELECT count(*) FROM twin_span WHERE recorded_to = 'infinity'")
        assert spans == [(1, total[0][0])]

    play(work)

"""Applying what differs between two moments to the state of the first gives the state of the second."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from gemel.base.clock import from_us, iso_us, now_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.graph import relationships
from gemel.graph.differences import Between
from gemel.graph.loading import read_twins
from gemel.graph.relationship_reading import get_relationship, list_relationships
from gemel.history.moment import Moment
from gemel.history.paths import series_of
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import encode
from gemel.history.write import write_samples
from gemel.past import diff as diffs
from gemel.past.diff import DiffItem, DiffWanted, read_diff
from gemel.store.database import ReadTransaction
from support.graph import ASSET, PUMP, PUMP2, Site, open_site
from support.postgres import Dsns

TWINS = ("a", "b", "c", "d")
VALUES: dict[str, dict[str, list[Any]]] = {
    PUMP: {"head": [0.0, 1.0, 2.0], "count": [0, 1], "label": ["x", "y"], "running": [True, False]},
    PUMP2: {"head": [0.0, 1.0, 2.0], "power": [5.0, 6.0], "label": ["x", "y"]},
    ASSET: {"label": ["x", "y"]},
}

Twins = dict[str, tuple[dict[str, Any], dict[str, Any]]]
Links = dict[tuple[str, str], dict[str, Any]]


class Walk:
    """Random acts on a few twins; `moments` has every time that something was so from."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.start_us = now_us()
        self.moments: set[int] = set()

    def time_us(self) -> int:
        time_us = self.start_us + self.random.randrange(-1000, 1000, 100)
        self.moments.add(time_us)
        return time_us

    async def put(self) -> None:
        twin, model = self.random.choice(TWINS), self.random.choice(list(VALUES))
        values = {n: self.random.choice(of) for n, of in VALUES[model].items() if self.random.random() < 0.5}
        times = {n: {"sourceTime": iso_us(self.time_us())} for n in values if self.random.random() < 0.3}
        await self.site.put(twin, model, **{"$metadata": dict(times), **values})

    async def patch(self) -> None:
        twin = self.random.choice(TWINS)
        model = (await self.site.get(twin)).body["$metadata"]["$model"]
        name = self.random.choice(list(VALUES[model]))
        if self.random.random() < 0.2:
            await self.site.patch(twin, {"op": "remove", "path": f"/{name}"})
        else:
            value = self.random.choice(VALUES[model][name])
            await self.site.patch(twin, {"op": "add", "path": f"/{name}", "value": value})

    async def ingest(self) -> None:
        """Write late samples, and several for one time."""
        twin_id = self.random.choice(TWINS)
        async with self.site.db.write(self.site.tenant) as tx:
            twin = (await self.site.directory.resolve(tx, [twin_id])).twins.get(twin_id)
            if twin is None:
                return
            rows = []
            for _ in range(self.random.randint(1, 4)):
                name = self.random.choice(list(VALUES[twin.twin_type.twin_type.model]))
                slot = twin.twin_type.slots[name]
                value = encode(
                    self.random.choice(VALUES[twin.twin_type.twin_type.model][name]), slot.slot.storage
                )
                time_us = max(self.time_us(), twin.valid_from_us)
                series = series_of(twin.twin_no, slot.path_no)
                rows.append(Sample(series, time_us, value, self.random.randint(0, 2), 0, tx.stamp()))
            await write_samples(tx, SampleBatch.of(rows))

    async def relate(self) -> None:
        source, target = self.random.sample(TWINS, 2)
        await self.site.relate(
            source, self.random.choice("rq"), target, diameter=float(self.random.randrange(3))
        )

    async def unrelate(self) -> None:
        async with self.site.db.write(self.site.tenant) as tx:
            await relationships.delete_relationship(tx, self.random.choice(TWINS), self.random.choice("rq"))

    async def delete(self) -> None:
        twin = self.random.choice(TWINS)
        async with self.site.db.write(self.site.tenant) as tx:
            for source in TWINS:
                for relationship in "rq":
                    try:
                        found = await get_relationship(tx, source, relationship)
                    except NotFoundError:
                        continue
                    if twin in (source, found.body["$targetId"]):
                        await relationships.delete_relationship(tx, source, relationship)
        await self.site.delete(twin)

    async def play(self, steps: int) -> None:
        acts = [self.put, self.patch, self.ingest, self.relate, self.unrelate, self.delete]
        for _ in range(steps):
            act = self.random.choices(acts, [3, 6, 6, 5, 2, 1])[0]
            with suppress(InvalidError, NotFoundError):
                await act()
            self.moments.add(now_us())

    def pair(self) -> Between:
        moments = self.random.sample(sorted(self.moments), 2)
        return Between(*sorted(moment + self.random.choice([0, 0, 1, -1]) for moment in moments))


async def state(site: Site, tx: ReadTransaction, at_us: int) -> tuple[Twins, Links]:
    """Return all that was so at a moment, as GET with asOf reads it."""
    moment = Moment(as_of_us=at_us)
    twins: Twins = {}
    links: Links = {}
    for twin_id, twin in (await read_twins(tx, site.context, TWINS, moment)).items():
        values = {path: held.value for path, held in twin.properties.items() if not held.removed}
        twins[twin_id] = ({"model": twin.row.model_id, "lifecycle": twin.row.lifecycle}, values)
        page = await list_relationships(tx, twin_id, moment=moment)
        for body in page.items:
            kept = {
                key: value
                for key, value in body.items()
                if key not in {"$relationshipId", "$sourceId", "$etag"}
            }
            links[twin_id, body["$relationshipId"]] = kept
    return twins, links


def applied(before: tuple[Twins, Links], items: Sequence[DiffItem]) -> tuple[Twins, Links]:
    """Apply differences, each of which must be one."""
    twins = {twin: (standing, dict(values)) for twin, (standing, values) in before[0].items()}
    links = dict(before[1])
    for item in items:
        assert item.change == (
            "added" if item.before is None else "removed" if item.after is None else "changed"
        )
        if item.relationship is not None:
            assert item.before != item.after
            assert links.pop((item.twin, item.relationship), None) == item.before
            if item.after is not None:
                links[item.twin, item.relationship] = item.after
            continue
        standing, values = twins.pop(item.twin, (None, {}))
        assert standing == item.before
        assert item.before != item.after or item.values
        for each in item.values:
            assert each.before != each.after or type(each.before) is not type(each.after)
            assert values.pop(each.path, None) == each.before
            if each.after is not None:
                values[each.path] = each.after
        if item.after is not None:
            twins[item.twin] = (item.after, values)
        else:
            assert not values
    return twins, links


async def pages(site: Site, tx: ReadTransaction, wanted: DiffWanted, limit: int) -> list[DiffItem]:
    found: list[DiffItem] = []
    after = None
    while True:
        page = await read_diff(tx, site.context.paths, wanted, limit, after)
        assert len(page.items) <= limit
        assert (page.from_, page.to) == tuple(map(iso_us, wanted.between[:2]))
        found += page.items
        after = page.after
        if after is None:
            return found


def run(database: Dsns, work: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_site(database) as site:
            await work(site)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(6))
def test_the_difference_leads_from_one_state_to_the_other(
    database: Dsns, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {seed}")
    monkeypatch.setattr(diffs, "PART_TWINS", 2)
    monkeypatch.setattr(diffs, "PARTS_MAX", 2)

    async def work(site: Site) -> None:
        walk = Walk(site, seed)
        await walk.play(150)
        differing = 0
        async with site.db.read(site.tenant) as tx:
            for _ in range(25):
                between = walk.pair()
                before, after = [await state(site, tx, at_us) for at_us in between[:2]]
                whole = await pages(site, tx, DiffWanted(between), walk.random.choice([1, 2, 5, 100]))
                assert applied(before, whole) == after, between
                differing += bool(whole)
                await check_scopes(site, tx, whole, between, (before, after))
        assert differing > 10

    run(database, work)


async def check_scopes(
    site: Site,
    tx: ReadTransaction,
    whole: Sequence[DiffItem],
    between: Between,
    states: Sequence[tuple[Twins, Links]],
) -> None:
    """Check that a twin's and a neighbourhood's differences are those of the whole that concern them."""
    ends = {(s, link["$targetId"]) for _, links in states for (s, _), link in links.items()}
    for twin in TWINS:
        if not await site.rows("SELECT 1 FROM twin_span WHERE twin_id = %s LIMIT 1", twin):
            continue
        reached = {twin}
        for depth in range(3):
            found = await pages(site, tx, DiffWanted(between, twin, depth), 3)
            expected = [item for item in whole if concerns(item, reached)]
            assert sorted(map(repr, found)) == sorted(map(repr, expected)), (twin, depth)
            reached |= {b for pair in ends for a, b in (pair, pair[::-1]) if a in reached}


def concerns(item: DiffItem, twins: set[str]) -> bool:
    ends = {item.twin} | {
        content["$targetId"] for content in (item.before, item.after) if content and item.relationship
    }
    return bool(ends & twins)


def test_a_twin_that_was_made_and_deleted_between_is_no_difference(database: Dsns) -> None:
    async def work(site: Site) -> None:
        start_us = now_us() - 1
        await site.put("a", PUMP, head=1.0)
        await site.delete("a")
        async with site.db.read(site.tenant) as tx:
            between = Between(start_us, now_us())
            assert await pages(site, tx, DiffWanted(between), 10) == []
            assert await pages(site, tx, DiffWanted(between, "a"), 10) == []
            with pytest.raises(NotFoundError):
                await pages(site, tx, DiffWanted(between, "never"), 10)

    run(database, work)


def test_telemetry_is_told_where_it_is_asked_for(database: Dsns) -> None:
    async def work(site: Site) -> None:
        await site.put("a", PUMP, head=1.0)
        start_us = now_us()
        async with site.db.write(site.tenant) as tx:
            twin = (await site.directory.resolve(tx, ["a"])).twins["a"]
            series = series_of(twin.twin_no, twin.twin_type.slots["flow"].path_no)
            row = Sample(series, start_us + 1, encode(2.0, "double"), 0, 0, tx.stamp())
            await write_samples(tx, SampleBatch.of([row]))
        async with site.db.read(site.tenant) as tx:
            between = Between(start_us, now_us() + 10)
            assert await pages(site, tx, DiffWanted(between), 10) == []
            (item,) = await pages(site, tx, DiffWanted(between, telemetry=True), 10)
        assert [(v.path, v.role, v.before, v.after) for v in item.values] == [
            ("flow", "telemetry", None, 2.0)
        ]

    run(database, work)


def test_bounds(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(site: Site) -> None:
        for number in range(4):
            await site.put(f"n{number}", ASSET)
        for number in range(1, 4):
            await site.relate("n0", f"r{number}", f"n{number}")
        line_us = now_us()
        with_line = "UPDATE tenant_head SET retention_line = %s WHERE tenant = current_tenant()"
        async with site.db.read(site.tenant) as tx:
            monkeypatch.setattr("gemel.graph.differences.SCOPE_MAX", 3)
            with pytest.raises(InvalidError, match="more than 3 twins"):
                await pages(site, tx, DiffWanted(Between(0, now_us()), "n0", 1), 10)
        async with site.db.write(site.tenant) as tx:
            await tx.execute(with_line, (from_us(line_us),))
        async with site.db.read(site.tenant) as tx:
            with pytest.raises(InvalidError) as refused:
                await pages(site, tx, DiffWanted(Between(line_us - 1, now_us())), 10)
            assert refused.value.code == "MomentBeforeRetention"

    run(database, work)

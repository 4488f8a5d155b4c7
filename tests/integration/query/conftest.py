"""A tenant with twins of several models, for queries that only read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from gemel.query import Ask, QueryPage, run_query
from support.graph import ASSET, PUMP, PUMP2, ROOM, Site, interface, open_site, prop
from support.postgres import Dsns

T = TypeVar("T")

KINDS = "dtmi:t:Kinds;1"
KINDS_MODEL = interface(
    KINDS,
    prop("serial", "long"),
    prop("count", "double"),
    prop("labels", {"@type": "Array", "elementSchema": "string"}),
    prop("numbers", {"@type": "Array", "elementSchema": "long"}),
    prop("motor", {"@type": "Object", "fields": [{"name": "speed", "schema": "double"}]}),
    prop(
        "deep",
        {
            "@type": "Map",
            "mapKey": {"name": "k", "schema": "string"},
            "mapValue": {"name": "v", "schema": "long"},
        },
    ),
    extends=ASSET,
)


@dataclass(frozen=True)
class World:
    """A site, and the loop that it lives on."""

    site: Site
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def page(
        self, text: str | None = None, token: str | None = None, page_size: int | None = None, **options: Any
    ) -> QueryPage:
        async def work() -> QueryPage:
            async with self.site.db.read(self.site.tenant) as tx:
                return await run_query(tx, self.site.context, Ask(text, token, page_size), **options)

        return self.run(work())

    def rows(self, text: str, page_size: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of all pages."""
        page = self.page(text, page_size=page_size)
        rows = page.items
        while page.token is not None:
            page = self.page(token=page.token, page_size=page_size)
            assert page.items
            rows += page.items
        return rows

    def ids(self, text: str, page_size: int | None = None) -> list[str]:
        return [row["$dtId"] for row in self.rows(text, page_size)]


@pytest.fixture(scope="module")
def world(database: Dsns) -> Iterator[World]:
    with asyncio.Runner() as runner:
        opening = open_site(database)
        site = runner.run(opening.__aenter__())
        runner.run(_fill(site))
        yield World(site, runner)
        runner.run(opening.__aexit__(None, None, None))


async def _fill(site: Site) -> None:
    await site.add_models([KINDS_MODEL])
    await site.put(
        "p1",
        label="one",
        count=3,
        head=2.5,
        running=True,
        limits={"low": 1, "high": 2.5},
        tags={"a": "b", "x": "p1"},
    )
    await site.put(
        "p2",
        label="two",
        count=-1,
        head=0.1,
        running=False,
        limits={"low": -7.5},
        motor={"$metadata": {}, "speed": 10},
    )
    await site.put("p3", label="", count=0, running=True, tags={}, motor={"$metadata": {}, "speed": -2.5})
    await site.put("p4", label="Zürich 'x' \\ %s {} $1 €", head=1e300, limits={"high": 0})
    await site.put("p5", **{"$lifecycle": "maintenance"})
    await site.put("q1", PUMP2, label="one", head=-0.0, power=2.0)
    await site.put("q2", PUMP2, head=2.5, power=2.0**53)
    await site.put("r1", ROOM, area=12.5, **{"$lifecycle": "decommissioned"})
    await site.put(
        "k1", KINDS, serial=2**53 + 1, count=3, labels=["a", "b'"], numbers=[1, 2**60], motor={"speed": 10}
    )
    await site.put("k2", KINDS, serial=2**53, count=2.5, labels=[], deep={"a": 1, "b": 2**53 + 1}, motor={})
    await site.put("k3", KINDS, serial=-(2**63), labels=["one"], numbers=[], label="two")
    await site.put("k4", KINDS, serial=3, numbers=[3, 3], deep={}, label="b")
    await site.patch("p1", {"op": "remove", "path": "/head"})
    await site.patch("k3", {"op": "remove", "path": "/label"})
    await site.relate("p1", "f1", "p2", diameter=2.5, note="thick")
    await site.relate("p1", "f2", "q1", diameter=1.0)
    await site.relate("p2", "f1", "k1", note="thin")
    await site.relate("r1", "c1", "p1", "contains")


MODELS_OF = {"p": PUMP, "q": PUMP2, "r": ROOM, "k": KINDS}

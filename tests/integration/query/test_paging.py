from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from gemel.base.errors import InvalidError
from gemel.query import Ask, QueryPage, run_query
from support.graph import ROOM, Site, open_site
from support.postgres import Dsns

ALL = "SELECT * FROM digitaltwins"
LARGE = "SELECT T.$dtId FROM digitaltwins T WHERE T.area >= 10"


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


async def page(
    site: Site, text: str | None = None, token: str | None = None, timeout_s: float = 60
) -> QueryPage:
    async with site.db.read(site.tenant) as tx:
        return await run_query(tx, site.context, Ask(text, token, 3), timeout_s=timeout_s)


def test_rows_that_stay_are_seen_once_whatever_else_changes(database: Dsns, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            for number in range(20):
                await site.put(f"r{number}", ROOM, area=float(number))
            first = await page(site, LARGE)
            assert [row["$dtId"] for row in first.items] == ["r10", "r11", "r12"]
            await site.delete("r12")
            await site.delete("r14")
            await site.put("r12", ROOM, area=1.0)
            await site.patch("r3", {"op": "replace", "path": "/area", "value": 50})
            await site.patch("r13", {"op": "replace", "path": "/area", "value": 51})
            second = await page(site, token=first.token)
            assert [row["$dtId"] for row in second.items] == ["r13", "r15", "r16"]
            await site.put("r99", ROOM, area=99.0)
            third = await page(site, token=second.token)
            assert [row["$dtId"] for row in third.items] == ["r17", "r18", "r19"]
            fourth = await page(site, token=third.token)
            assert [row["$dtId"] for row in fourth.items] == ["r99"]
            assert fourth.token is None
            # A token can be used again.
            assert (await page(site, token=third.token)).items == fourth.items

    runner.run(work())


def test_a_read_sees_what_was_acknowledged_just_before(database: Dsns, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            await site.put("r", ROOM, area=0.0)
            for number in range(1, 30):
                await site.patch("r", {"op": "replace", "path": "/area", "value": number})
                found = await page(site, f"SELECT COUNT() FROM digitaltwins T WHERE T.area = {number}")
                assert found.items == [{"COUNT": 1}]

    runner.run(work())


def test_a_query_that_takes_too_long_is_stopped(database: Dsns, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            await site.put("r", ROOM, area=10.0)
            with psycopg.connect(database.owner) as other:
                other.execute("LOCK TABLE latest IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(InvalidError) as error:
                    await page(site, LARGE, timeout_s=0.2)
            assert error.value.code == "TimeoutError"
            assert "0.2 s" in error.value.message
            assert (await page(site, LARGE, timeout_s=0.2)).items == [{"$dtId": "r"}]
            # The limit ends with its transaction: the connection is back in the pool without it.
            row = await site.db.query(site.tenant, "SHOW statement_timeout")
            assert row == [("0",)]

    runner.run(work())

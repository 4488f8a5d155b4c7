from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import psycopg

from gemel.graph.indexes import add_index
from gemel.query import Ask, run_query
from gemel.query.bind import Catalog
from gemel.query.compiler import analyse, compile_query
from gemel.query.statement import Window
from gemel.query.tables import LIVE
from support.graph import Site, interface, open_site, prop
from support.postgres import Dsns

VALVE = "dtmi:t:Valve;1"
MODELS = [
    interface(
        VALVE,
        prop("open", "boolean"),
        prop("level", "double"),
        prop("count", "long"),
        prop("state", "string"),
        {"@type": "Relationship", "name": "feeds"},
    )
]
VALUES: dict[str, list[Any]] = {
    "open": [True, False],
    "level": [-1.5, 0.0, 2.5, 1e300],
    "count": [-7, 0, 2**53, 2**53 + 1, 2**62],
    "state": ["", "a", "aa", "ab", "b", "ä", "a" * 600, "a" * 600 + "b"],
}
OPERATORS = ["=", "!=", "<", "<=", ">", ">="]


def written(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def condition(chance: random.Random) -> str:
    path = chance.choice(list(VALUES))
    value = written(chance.choice(VALUES[path]))
    match chance.randrange(4):
        case 0 if path == "state":
            return f"STARTSWITH(T.{path}, {value})"
        case 1:
            return f"T.{path} IN [{', '.join(written(each) for each in chance.sample(VALUES[path], 2))}]"
        case 2:
            return f"NOT T.{path} {chance.choice(OPERATORS)} {value}"
        case _:
            return f"T.{path} {chance.choice(OPERATORS)} {value}"


async def answer(site: Site, text: str) -> list[str]:
    async with site.db.read(site.tenant) as tx:
        page = await run_query(tx, site.context, Ask(text, page_size=1000))
        return [row.get("$dtId") or f"{row['a']} {row['b']}" for row in page.items]


def test_answers_are_the_same_with_an_index_and_without(database: Dsns) -> None:
    async def work() -> None:
        seed = random.randrange(2**32)
        print("seed", seed)
        chance = random.Random(seed)
        async with open_site(database) as site:
            await site.add_models(MODELS)
            for number in range(60):
                names = chance.sample(list(VALUES), chance.randrange(5))
                await site.put(f"v{number}", VALVE, **{name: chance.choice(VALUES[name]) for name in names})
            for number in range(80):
                ends = chance.sample(range(60), 2)
                await site.relate(f"v{ends[0]}", f"r{number}", f"v{ends[1]}", "feeds")
            conditions = [
                " AND ".join(condition(chance) for _ in range(chance.choice([1, 1, 2]))) for _ in range(80)
            ]
            texts = [f"SELECT * FROM digitaltwins T WHERE {each}" for each in conditions]
            texts += [
                f"SELECT a.$dtId AS a, T.$dtId AS b FROM digitaltwins MATCH (a)-[:feeds]->(T) WHERE {each}"
                for each in conditions
            ]
            before = {text: sorted(await answer(site, text)) for text in texts}
            assert any(before.values())
            async with site.db.write(site.tenant) as tx:
                for path in VALUES:
                    await add_index(tx, site.context, VALVE, path)
            for text in texts:
                assert sorted(await answer(site, text)) == before[text], text

    asyncio.run(work())


def test_many_twins_are_not_scanned_under_row_level_security(database: Dsns) -> None:
    async def work() -> None:
        async with open_site(database) as site:
            await site.add_models(MODELS)
            await site.put("first", VALVE, level=-1.0)
            async with site.db.write(site.tenant) as tx:
                await add_index(tx, site.context, VALVE, "level")
                path_no = tx.promoted[0]
            _fill(database, site.tenant, path_no, 20_000)
            catalog = Catalog({"level": path_no}, {}, promoted=frozenset({path_no}))
            text = "SELECT * FROM digitaltwins T WHERE T.level = 777"
            statement = compile_query(analyse(text), catalog, Window(None, 101), LIVE).statement
            async with site.db.read(site.tenant) as tx:
                plan = await tx.rows(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.parameters)
            used = json.dumps(plan[0][0])
            assert "promoted_num" in used, used
            assert "Seq Scan" not in used, used
            assert await answer(site, text) == ["t777"]

    asyncio.run(work())


def _fill(database: Dsns, tenant: int, path_no: int, count: int) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO twin (tenant, twin_no, twin_id, model_id, valid_from, created, recorded) "
            "SELECT %s, 1000000 + n, 't' || n, %s, now(), now(), now() FROM generate_series(1, %s) AS n",
            (tenant, VALVE, count),
        )
        owner.execute(
            "INSERT INTO latest (tenant, series, source_time, recorded, num, revision, quality, kind) "
            "SELECT %s, (1000000 + n)::bigint << 20 | %s, now(), now(), n, 0, 0, 0 FROM generate_series(1, %s) AS n",
            (tenant, path_no, count),
        )
        owner.execute(
            "INSERT INTO promoted_value (tenant, path_no, twin_no, num) "
            "SELECT %s, %s, 1000000 + n, n FROM generate_series(1, %s) AS n",
            (tenant, path_no, count),
        )
        owner.execute("ANALYZE twin, latest, promoted_value")

"""The same samples as JSON events and as Arrow streams: the same state, history, quarantine and counts."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from gemel.base.clock import now_us
from gemel.history.origins import read_origins
from gemel.ingest.arrow import ARROW
from gemel.ingest.bodies import decode_any, weigh_any
from gemel.ingest.events import LINES, Decoded
from gemel.ingest.replay import Replayer, Wanted
from gemel.ingest.requests import IngestRequest, IngestResult
from gemel.ingest.selection import Selection
from support.arrow import Row, json_lines, stream_of, table_of
from support.history import SAMPLES
from support.parts import AUDIT, MODEL, TenantParts, open_parts
from support.postgres import Dsns

START_US = 1_767_571_200_000_000  # 2026-01-05
RECEIVED_US = now_us()  # the same for both: it stands in messages
VALUES: dict[str, Any] = {
    "temperature": float,
    "pressure": float,
    "count": int,
    "serial": lambda digits: 2**60 + int(digits),
    "label": lambda digits: f"l{digits:.0f}",
    "on": lambda digits: digits > 2,
}
STORED = """
SELECT t.twin_id, p.path, s.source_time, s.num, s.kind, s.doc::text, s.revision, s.quality {late}
FROM {table} AS s JOIN twin AS t ON t.tenant = s.tenant AND t.twin_no = s.series >> 20
JOIN path AS p ON p.tenant = s.tenant AND p.path_no = s.series & 1048575 ORDER BY 1, 2, 3, 4, 6, 7, 8"""
HELD = "SELECT code, message, place, event_id, source, subject, seen FROM quarantine ORDER BY event_id, code, seen"


async def taken(
    parts: TenantParts, body: bytes, media_type: str, received_us: int = RECEIVED_US, **options: Any
) -> IngestResult:
    def request_of(decoded: Decoded) -> IngestRequest:
        return IngestRequest(decoded, received_us, AUDIT, **options)

    return await parts.ingest.receive(
        parts.tenant,
        body,
        lambda held: decode_any(held, media_type),
        request_of,
        lambda held: weigh_any(held, media_type),
    )


def some_rows(rng: random.Random, wide: bool) -> list[Row]:
    rows = []
    for _ in range(rng.choice([1, 40, 300])):
        paths = rng.sample(sorted(VALUES), rng.randrange(1, 4) if wide else 1)
        values = {path: VALUES[path](float(rng.randrange(5))) for path in paths}
        if rng.random() < 0.05:
            values[paths[0]] = {float: "warm", int: 1.5, str: 3.0, bool: "on"}[type(values[paths[0]])]
        twin = rng.choice(
            ["t0", "t1", "t2", "t3", "t4", "t4", "nobody"] if rng.random() < 0.1 else ["t0", "t1"]
        )
        time_us = START_US + rng.randrange(30) * 1_000_000
        if rng.random() < 0.03:
            time_us = 2 * START_US
        rows.append(Row(twin, time_us, values, rng.choice([0, 0, 0, 1]), rng.choice(["good", "good", "bad"])))
    return rows


def of_one_type(rows: list[Row]) -> list[Row]:
    """Leave out of a wide table what a column of its type cannot hold."""
    kinds = {"temperature": float, "pressure": float, "count": int, "serial": int, "label": str, "on": bool}
    return [
        row._replace(values={path: value for path, value in row.values.items() if type(value) is kinds[path]})
        for row in rows
    ]


async def stored(parts: TenantParts) -> list[Any]:
    found = []
    for table, late in (("latest", ""), (SAMPLES, ", s.late"), ("sample_superseded", "")):
        found.append(await parts.db.query(parts.tenant, STORED.format(table=table, late=late)))
    return [*found, await parts.db.query(parts.tenant, HELD)]


@pytest.mark.parametrize("seed", range(8))
def test_json_and_arrow_end_alike(database: Dsns, seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        async with open_parts(database) as json_parts, open_parts(database) as arrow_parts:
            for number in range(6):
                wide = rng.random() < 0.5
                rows = some_rows(rng, wide)
                rows = of_one_type(rows) if wide else rows
                table = table_of(rows, wide=wide, name=f"b{number}")
                order = table.column_names
                own = [
                    row._replace(values={path: row.values[path] for path in order if path in row.values})
                    if wide
                    else row
                    for row in rows
                ]
                stream = stream_of(table, rng.choice([None, "lz4", "zstd"]), rng.choice([None, 7]))
                for _ in range(rng.choice([1, 2])):
                    one = await taken(json_parts, json_lines(own, f"b{number}"), LINES)
                    other = await taken(arrow_parts, stream, ARROW)
                    told = [(each.index, each.code, each.message) for each in one.rejected]
                    assert told == [(each.index, each.code, each.message) for each in other.rejected]
                    one.rejected = other.rejected = []
                    assert one == other
            one_end, other_end = await stored(json_parts), await stored(arrow_parts)
            assert one_end == other_end
            assert all(one_end[:2]), seed

    asyncio.run(main())


def test_rows_without_a_time_are_taken_once(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            rows = [Row("t0", None, {"temperature": float(n)}) for n in range(3)]
            stream = stream_of(table_of(rows, wide=True))
            assert (await taken(parts, stream, ARROW)).accepted == 3
            assert (await taken(parts, stream, ARROW)).duplicate == 3
            again = stream_of(table_of(rows, wide=True, name="c"))
            assert (await taken(parts, again, ARROW, RECEIVED_US + 10)).accepted == 3

    asyncio.run(main())


def test_values_lead_to_their_rows(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            rows = [Row("t0", START_US + n, {"temperature": float(n)}) for n in range(200)]
            rows[7] = Row("nobody", START_US, {"temperature": 7.0})
            await taken(parts, stream_of(table_of(rows, wide=True)), ARROW)
            sql = f"SELECT num, (extract(epoch FROM recorded) * 1000000)::bigint FROM {SAMPLES} AS s"
            found = await parts.db.query(parts.tenant, sql)
            async with parts.db.read(parts.tenant) as tx:
                origins = await read_origins(tx, [recorded_us for _, recorded_us in found])
            assert len(found) == 199
            for value, recorded_us in found:
                origin = origins[recorded_us]
                assert (origin.id, origin.source, origin.type) == (f"b-{value:.0f}", "/test", "t")
                assert (origin.place, origin.timed) == (value, True)

    asyncio.run(main())


def test_a_bad_row_is_mended_and_replayed_as_json(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database, twins=1) as parts:
            rows = [Row("t0", START_US, {"temperature": 1.0}), Row("t9", START_US, {"temperature": 2.0})]
            result = await taken(parts, stream_of(table_of(rows, wide=False)), ARROW)
            assert (result.accepted, result.quarantined) == (1, 1)
            wanted = Wanted(Selection())
            assert (
                await Replayer(parts.db, parts.ingest).replay(parts.tenant, wanted, AUDIT)
            ).quarantined == 1
            made = await taken(
                parts,
                stream_of(table_of([Row("t9", START_US + 1, {"count": 1})], wide=True)),
                ARROW,
                create_model=MODEL["@id"],
            )
            assert made.accepted == 1
            assert (await Replayer(parts.db, parts.ingest).replay(parts.tenant, wanted, AUDIT)).accepted == 1

    asyncio.run(main())

"""The pipeline on a real database: counts, quarantine, bad input, replay, positions, concurrency."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from gemel.base.errors import GemelError, InvalidError, NotFoundError
from gemel.ingest import quarantine
from gemel.ingest.events import Event
from gemel.ingest.positions import Position, read_position
from gemel.ingest.selection import Selection
from gemel.store.database import Row
from support.history import SAMPLES
from support.parts import AUDIT, MODEL, TenantParts, event, open_parts
from support.postgres import Dsns


def run(database: Dsns, work: Callable[[TenantParts], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await work(parts)

    asyncio.run(main())


async def history(parts: TenantParts) -> set[Row]:
    rows = await parts.db.query(
        parts.tenant, f"SELECT series, source_time, num, doc::text FROM {SAMPLES} AS s"
    )
    assert len(set(rows)) == len(rows)
    return set(rows)


def test_counts_and_every_kind_of_value(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        values: dict[str, Any] = {
            "temperature": 21,
            "pressure": 1.5,
            "count": 7,
            "serial": 2**60,
            "label": "ä\u2028",
            "on": True,
        }
        first = await parts.send([event(1, **values, place={"x": 1, "y": 2.5})])
        assert (first.events, first.accepted, first.quarantined) == (1, 7, 0)
        again = await parts.send([event(2, **values, place={"y": 2.5, "x": 1.0})])
        assert (again.duplicate, again.accepted) == (7, 0)
        other = await parts.send([event(3, temperature=22.0), event(4, time="2026-01-04T00:00:00Z", count=1)])
        assert (other.corrected, other.late) == (1, 1)

    run(database, work)


BAD: Sequence[tuple[str | bytes, str]] = [
    ("{nope", "EventMalformed"),
    ("[1, 2]", "EventMalformed"),
    (json.dumps({**event(1, temperature=1.0), "specversion": "0.3"}), "EventMalformed"),
    (json.dumps({**event(1, temperature=1.0), "id": ""}), "EventMalformed"),
    (json.dumps({k: v for k, v in event(1, temperature=1.0).items() if k != "subject"}), "SubjectMissing"),
    (json.dumps(event(1)), "EventEmpty"),
    (json.dumps({**event(1), "data": [1]}), "EventEmpty"),
    (json.dumps(event(1, "nobody", temperature=1.0)), "TwinUnknown"),
    (json.dumps(event(1, "no\u0000body", temperature=1.0)), "EventMalformed"),
    (json.dumps(event(1, humidity=1.0)), "PathNotInModel"),
    (json.dumps(event(1, temperature="warm")), "WrongType"),
    (json.dumps(event(1, temperature=True)), "WrongType"),
    (json.dumps(event(1, temperature=None)), "WrongType"),
    (json.dumps(event(1, count=2**31)), "WrongType"),
    (json.dumps(event(1, count=1.5)), "WrongType"),
    (json.dumps(event(1, serial=2**63)), "ValueOutOfRange"),
    (json.dumps(event(1, temperature=10**400)), "ValueOutOfRange"),
    (json.dumps(event(1, temperature=float("nan"))), "ValueNotFinite"),
    (json.dumps(event(1, temperature=float("inf"))), "ValueNotFinite"),
    (json.dumps(event(1, temperature=1.0)).replace("1.0}", "1e999}"), "ValueNotFinite"),
    (json.dumps(event(1, label="a\u0000b")), "ValueOutOfRange"),
    (json.dumps(event(1, label="\ud800")), "ValueOutOfRange"),
    (json.dumps(event(1, place={"x": "far"})), "WrongType"),
    (json.dumps(event(1, time="2099-01-01T00:00:00Z", temperature=1.0)), "TimeInFuture"),
    (json.dumps(event(1, time="2026-01-05T00:00:00", temperature=1.0)), "TimeNaive"),
    (json.dumps(event(1, time="yesterday", temperature=1.0)), "TimeMalformed"),
    (json.dumps(event(1, time="1969-12-31T23:59:59Z", temperature=1.0)), "TimeOutOfRange"),
    (json.dumps({**event(1, temperature=1.0), "revision": -1}), "RevisionInvalid"),
    (json.dumps({**event(1, temperature=1.0), "revision": 2**31}), "RevisionInvalid"),
    (json.dumps({**event(1, temperature=1.0), "quality": "great"}), "QualityInvalid"),
    (
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"t0","data":{"label":"\xff"}}',
        "EventMalformed",
    ),
    ('{"a":' * 3000 + "1" + "}" * 3000, "EventMalformed"),
    (
        json.dumps(event(1)).replace('"data": {}', '"data": {"label": ' + "[" * 500 + "]" * 500 + "}"),
        "EventMalformed",
    ),
]


def test_each_bad_event_has_its_code_and_the_good_rest_lands(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        lines: list[dict[str, Any] | str | bytes] = []
        for number, (line, _) in enumerate(BAD):
            text = line if isinstance(line, bytes) else line.encode()
            lines.append(text.replace(b'"id": "1"', b'"id": "bad-%d"' % number))
            lines.append(event(1000 + number, "t1", f"2026-01-05T00:00:{number:02d}Z", temperature=1.0))
        result = await parts.send(lines)
        found = {rejected.index // 2: rejected.code for rejected in result.rejected}
        assert found == {number: code for number, (_, code) in enumerate(BAD)}
        assert result.accepted == len(BAD)
        assert len(await history(parts)) == len(BAD)
        async with parts.db.read(parts.tenant) as tx:
            kept = await quarantine.list_quarantine(tx, limit=1000)
            shown = await quarantine.show(tx, kept[0].number)
        assert len(kept) == len(BAD)
        assert shown.raw == "{nope"
        again = await parts.send(lines)
        assert (again.accepted, again.duplicate, again.quarantined) == (0, len(BAD), len(BAD))
        async with parts.db.read(parts.tenant) as tx:
            assert [entry.seen for entry in await quarantine.list_quarantine(tx, limit=1000)] == [2] * len(
                BAD
            )

    run(database, work)


def test_ten_thousand_bad_events_in_one_batch(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        bad = [event(n, "nobody", temperature=1.0) for n in range(10_000)]
        result = await parts.send([*bad, event(99_999, temperature=1.0)])
        assert (result.quarantined, result.accepted, len(result.rejected)) == (10_000, 1, 10_000)

    run(database, work)


def test_an_event_with_one_bad_value_is_not_half_applied(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        result = await parts.send([event(1, count=1, label="x", temperature="warm")])
        assert (result.accepted, result.quarantined) == (0, 1)
        assert await history(parts) == set()

    run(database, work)


def test_events_without_time_are_recognised_by_source_and_id(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        first = await parts.send([event(n, time=None, temperature=float(n)) for n in range(5)])
        assert first.accepted == 5
        again = await parts.send([event(n, time=None, temperature=float(n), count=1) for n in (3, 4, 5, 5)])
        assert (again.accepted, again.duplicate) == (2, 6)
        bad = await parts.send([event(7, "later", time=None, temperature=1.0)])
        assert bad.quarantined == 1

    run(database, work)


def test_replay_takes_what_is_mended(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(1, "late-twin", temperature=1.0), event(2, humidity=1.0)])
        still = await parts.replay(Selection())
        assert (still.events, still.quarantined) == (2, 2)
        await parts.send(
            [event(3, "late-twin", "2026-01-06T00:00:00Z", temperature=2.0)], create_model=MODEL["@id"]
        )
        done = await parts.replay(Selection(code="TwinUnknown"))
        assert (done.events, done.late, done.quarantined) == (1, 1, 0)
        async with parts.db.write(parts.tenant) as tx:
            assert await quarantine.discard(tx, Selection()) == 1
            assert await quarantine.list_quarantine(tx) == []

    run(database, work)


def test_create_model_makes_missing_twins_and_a_bad_one_refuses_its_request_alone(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        good, bad, plain = await asyncio.gather(
            parts.send([event(1, "new-1", temperature=1.0)], create_model=MODEL["@id"]),
            parts.send([event(2, "new-2", temperature=1.0)], create_model="dtmi:none;1"),
            parts.send([event(3, temperature=1.0)]),
            return_exceptions=True,
        )
        assert not isinstance(good, BaseException)
        assert good.accepted == 1
        assert isinstance(bad, GemelError)
        assert not isinstance(plain, BaseException)
        assert plain.accepted == 1

    run(database, work)


def test_position_is_kept_with_the_batch(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(1, temperature=1.0)], positions=[Position("file:a", "17")])
        async with parts.db.read(parts.tenant) as tx:
            assert await read_position(tx, "file:a") == "17"
            assert await read_position(tx, "file:b") is None

    run(database, work)


def test_telemetry_raises_in_place_of_quarantine(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        def telemetry(twin: str, **data: object) -> Event:
            return Event("m1", "adt", "telemetry", "1.0", twin, dict(data))

        await parts.ingest.telemetry(parts.tenant, telemetry("t0", pressure=2.0), AUDIT)
        with pytest.raises(NotFoundError, match="DigitalTwinNotFound"):
            await parts.ingest.telemetry(parts.tenant, telemetry("nobody", pressure=2.0), AUDIT)
        with pytest.raises(InvalidError, match="ValidationFailed"):
            await parts.ingest.telemetry(parts.tenant, telemetry("t0", pressure="high"), AUDIT)

    run(database, work)


@pytest.mark.parametrize("seed", range(4))
def test_concurrent_redeliveries_end_the_same(database: Dsns, seed: int) -> None:
    rng = random.Random(seed)

    async def work(parts: TenantParts) -> None:
        events = [
            event(
                n, f"t{rng.randrange(5)}", f"2026-01-05T00:{rng.randrange(60):02d}:00Z", temperature=float(n)
            )
            for n in range(300)
        ]
        batches = [rng.sample(events, 60) for _ in range(20)] + [events]
        results = await asyncio.gather(*(parts.send(batch) for batch in batches))
        assert sum(r.accepted + r.late + r.duplicate + r.corrected for r in results) == sum(map(len, batches))
        winners: dict[tuple[str, str], float] = {}
        for e in events:
            key = (e["subject"], e["time"])
            winners[key] = max(winners.get(key, -1.0), e["data"]["temperature"])
        assert {row[2] for row in await history(parts)} == set(winners.values()), f"seed {seed}"

    run(database, work)

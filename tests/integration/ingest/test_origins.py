"""Every value that is kept leads by its recorded time to the one event that brought it, and to who sent it."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from gemel.base.clock import now_us
from gemel.history.origins import EventOrigin, Sending, read_origins
from gemel.ingest.events import LINES, Event, decode_body
from gemel.ingest.replay import Replayer, Wanted
from gemel.ingest.requests import IngestRequest
from gemel.ingest.selection import Selection
from gemel.security.acts import read_acts
from gemel.security.audit import AuditEntry
from support.history import SAMPLES
from support.parts import MODEL, TenantParts, event, open_parts
from support.postgres import Dsns

STORED = """
SELECT num, (extract(epoch FROM recorded) * 1000000)::bigint FROM {} WHERE num IS NOT NULL"""


def run(database: Dsns, work: Callable[[TenantParts], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await work(parts)

    asyncio.run(main())


def request_of(events: list[Any], trace: str = "0" * 32, **options: Any) -> IngestRequest:
    lines = b"\n".join(e if isinstance(e, bytes) else json.dumps(e).encode() for e in events)
    entry = AuditEntry("key:press", "k1", "events.ingest", "/line", "ok", trace)
    return IngestRequest(decode_body(lines, LINES), now_us(), entry, **options)


async def origins(parts: TenantParts, table: str = f"{SAMPLES} AS s") -> list[tuple[float, EventOrigin]]:
    """Return each stored number with the event that its recorded time leads to."""
    rows = await parts.db.query(parts.tenant, STORED.format(table))
    async with parts.db.read(parts.tenant) as tx:
        found = await read_origins(tx, [row[1] for row in rows])
        acts = await read_acts(tx, [row[1] for row in rows])
    assert {act.actor for act in acts.values()} <= {"key:press", "test"}
    assert acts.keys() == {row[1] for row in rows}
    return [(row[0], found[row[1]]) for row in rows]


@pytest.mark.parametrize("seed", range(4))
def test_each_value_leads_to_its_event(database: Dsns, seed: int) -> None:
    """Each event's id is its value, so whatever wins, loses, comes late or twice, the two must be equal."""

    async def work(parts: TenantParts) -> None:
        rng = random.Random(seed)
        number = 0
        requests = []
        for _ in range(12):
            events: list[Any] = []
            for _ in range(rng.choice([1, 3, 60])):
                number += 1
                time = f"2026-01-05T00:00:{rng.randrange(20):02}Z" if rng.random() < 0.9 else None
                sent = event(number, f"t{rng.randrange(4)}", time, temperature=float(number))
                sent["source"] = rng.choice(["/a", "/b"])
                events.append(rng.choice([sent, sent, sent, b"{broken", event(number, "nobody", count=1)]))
                if rng.random() < 0.2:
                    events.append(sent)
            requests.append(request_of(events))
        for start in range(0, len(requests), 4):
            await asyncio.gather(*(parts.ingest.submit(parts.tenant, r) for r in requests[start : start + 4]))
        for table in (f"{SAMPLES} AS s", "sample_superseded", "latest"):
            found = await origins(parts, table)
            assert found, f"seed {seed}"
            assert all(str(int(value)) == origin.id for value, origin in found), f"seed {seed}"
            assert {origin.source for _, origin in found} == {"/a", "/b"}, f"seed {seed}"

    run(database, work)


def test_what_the_request_says_and_its_place(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        sending = Sending("file:1", "1:2:3", "röhre.csv", "rig.yaml@12ab")
        events = [event(1, temperature=1.0), event(2, "t1", None, temperature=2.0)]
        await parts.ingest.submit(parts.tenant, request_of(events, sending=sending))
        found = dict(await origins(parts))
        assert found == {
            1.0: EventOrigin("1", "/test", "t", 0, True, sending),
            2.0: EventOrigin("2", "/test", "t", 1, False, sending),
        }

    run(database, work)


def test_repeats_keep_the_first_origin_and_no_row(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        for trace in ("a" * 32, "b" * 32):
            await parts.ingest.submit(parts.tenant, request_of([event(1, temperature=1.0)], trace))
        assert await parts.db.query(parts.tenant, "SELECT count(*) FROM origin") == [(1,)]
        (recorded,) = [row[1] for row in await parts.db.query(parts.tenant, STORED.format("latest"))]
        async with parts.db.read(parts.tenant) as tx:
            assert (await read_acts(tx, [recorded]))[recorded].trace_id == "a" * 32

    run(database, work)


def test_requests_that_share_a_commit_and_create_twins_stay_apart(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        requests = [
            request_of([event(n, f"new{n}", temperature=float(n))], f"{n:032}", create_model=MODEL["@id"])
            for n in range(1, 9)
        ]
        await asyncio.gather(*(parts.ingest.submit(parts.tenant, each) for each in requests))
        spans = await parts.db.query(
            parts.tenant,
            "SELECT twin_id, (extract(epoch FROM min(recorded_from)) * 1000000)::bigint FROM twin_span "
            "WHERE twin_id LIKE 'new%%' GROUP BY twin_id",
        )
        async with parts.db.read(parts.tenant) as tx:
            acts = await read_acts(tx, [row[1] for row in spans])
        assert {twin: int(acts[us].trace_id) for twin, us in spans} == {f"new{n}": n for n in range(1, 9)}

    run(database, work)


def test_replayed_and_single_telemetry_have_their_origin(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(7, "t9", temperature=7.0)])
        replay = AuditEntry("key:op", "k2", "quarantine.replay", "{}", "ok", "c" * 32)
        await parts.ingest.submit(
            parts.tenant, request_of([event(1, "t9", temperature=1.0)], create_model=MODEL["@id"])
        )
        replayer = Replayer(parts.db, parts.ingest)
        assert (
            await replayer.replay(parts.tenant, Wanted(Selection(code="TwinUnknown")), replay)
        ).corrected == 1
        message = Event("m-1", "adt", "telemetry", "1.0", "t0", {"pressure": 5.0})
        await parts.ingest.telemetry(
            parts.tenant, message, AuditEntry("a", "k3", "twin.telemetry", "t0", "ok", "d")
        )
        rows = await parts.db.query(parts.tenant, STORED.format("latest"))
        async with parts.db.read(parts.tenant) as tx:
            found = await read_origins(tx, [row[1] for row in rows])
            acts = await read_acts(tx, [row[1] for row in rows])
        told = {value: (found[us].id, acts[us].action, acts[us].key_id) for value, us in rows}
        assert told == {7.0: ("7", "quarantine.replay", "k2"), 5.0: ("m-1", "twin.telemetry", "k3")}

    run(database, work)


def test_acts_never_overlap(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        for number in range(3):
            await asyncio.gather(
                *(
                    parts.ingest.submit(
                        parts.tenant,
                        request_of([event(n, f"x{n}", temperature=float(number))], create_model=MODEL["@id"]),
                    )
                    for n in range(6)
                )
            )
        with psycopg.connect(database.owner) as owner:
            rows = owner.execute(
                "SELECT recorded_from, recorded_to FROM audit WHERE tenant = %s AND recorded_to IS NOT NULL "
                "ORDER BY recorded_from",
                (parts.tenant,),
            ).fetchall()
        assert len(rows) == 18
        assert all(before[1] < after[0] for before, after in itertools.pairwise(rows))

    run(database, work)

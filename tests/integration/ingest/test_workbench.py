"""Quarantine as a workbench: groups, patches, dry runs, pages, and expiry; nothing lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.base.clock import now_us
from gemel.base.errors import Detail
from gemel.graph.directory import create_missing
from gemel.graph.jsonpatch import parse_operations
from gemel.graph.library import add_models
from gemel.history.origins import Sending
from gemel.ingest import expiry, quarantine, steps
from gemel.ingest.events import Event
from gemel.ingest.groups import count_groups
from gemel.ingest.mending import patched
from gemel.ingest.replay import Replayed
from gemel.ingest.selection import Selection
from support.history import SAMPLES
from support.parts import MODEL, TenantParts, event, open_parts
from support.postgres import Dsns

ALL = Selection()
TO_T0 = patched(parse_operations([{"op": "replace", "path": "/subject", "value": "t0"}]))
DAY_US = 86_400_000_000


def run(database: Dsns, work: Callable[[TenantParts], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await work(parts)

    asyncio.run(main())


async def held(parts: TenantParts) -> list[quarantine.Quarantined]:
    async with parts.db.read(parts.tenant) as tx:
        return await quarantine.list_quarantine(tx, ALL, 10_000)


async def samples(parts: TenantParts) -> set[Any]:
    rows = await parts.db.query(
        parts.tenant, f"SELECT series, source_time, recorded, num FROM {SAMPLES} AS s"
    )
    return set(rows)


async def make(parts: TenantParts, *twins: str) -> None:
    async with parts.db.write(parts.tenant) as tx:
        await create_missing(tx, parts.context, MODEL["@id"], dict.fromkeys(twins, 0))


def test_each_fault_names_its_place_and_mapping(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        rows: list[tuple[dict[str, Any] | str, str | None]] = [
            (event(1, "later", temperature=1.0), "/subject"),
            (event(2, temperature="warm"), "/data/temperature"),
            ({**event(3), "data": {"a/b~c": 1.0}}, "/data/a~1b~0c"),
            (event(4), "/data"),
            (event(5, time="2026-01-05T00:00:00", temperature=1.0), "/time"),
            ({**event(6, temperature=1.0), "quality": "fine"}, "/quality"),
            ({**event(7, temperature=1.0), "specversion": "2"}, "/specversion"),
            ("{nope", None),
        ]
        await parts.send([row for row, _ in rows], sending=Sending(mapping="line@3"))
        found = await held(parts)
        assert [each.place for each in found] == [place for _, place in rows]
        assert {each.mapping for each in found} == {"line@3"}
        await parts.replay()
        assert {each.mapping for each in await held(parts)} == {"line@3"}, "a replay keeps what is known"

    run(database, work)


def test_groups_count_what_the_list_shows(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        other = {**event(9, "later", temperature=2.0), "source": "/other"}
        bad = [event(n, "later", temperature=float(n)) for n in range(3)] + [other]
        await parts.send([*bad, event(20, humidity=1.0)])
        await parts.send(bad[:2])
        async with parts.db.read(parts.tenant) as tx:
            by = await count_groups(tx, ALL, ["code", "source"], 100)
            assert {(g["code"], g["source"], g["events"], g["seen"]) for g in by} == {
                ("TwinUnknown", "/test", 3, 5),
                ("TwinUnknown", "/other", 1, 1),
                ("PathNotInModel", "/test", 1, 1),
            }
            assert by[0]["events"] == 3, "the largest first"
            whole = await count_groups(tx, ALL, [], 100)
            assert (whole[0]["events"], whole[0]["seen"]) == (5, 7)
            days = await count_groups(tx, ALL, ["day"], 100)
            assert [day["events"] for day in days] == [5]
            now = now_us()
            assert await count_groups(tx, Selection(to_us=now - DAY_US), [], 100) == []
            recent = Selection(from_us=now - DAY_US, to_us=now + DAY_US, source="/other")
            assert [each.id for each in await quarantine.list_quarantine(tx, recent)] == ["9"]

    run(database, work)


def test_what_brought_an_event_is_kept_beside_the_source_that_it_names(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        bad = [event(n, "later", temperature=float(n)) for n in range(3)]
        await parts.send([bad[0]])
        await parts.send([bad[1], "{nope"], sending=Sending("kA", "7"))
        await parts.send([bad[2]], sending=Sending("kB"))
        # Who brings the same bytes later is not who brought them; of what named nothing it is.
        await parts.send([bad[0], bad[1]], sending=Sending("kC"))
        expected = [("/test", "kC"), ("/test", "kA"), (None, "kA"), ("/test", "kB")]
        assert [(each.source, each.read_from) for each in await held(parts)] == expected
        await parts.replay()
        assert [(each.source, each.read_from) for each in await held(parts)] == expected, "a replay keeps it"
        of_ka = Selection(read_from="kA")
        async with parts.db.read(parts.tenant) as tx:
            assert [each.id for each in await quarantine.list_quarantine(tx, of_ka)] == ["1", None]
            assert await quarantine.list_quarantine(tx, Selection(source="kA")) == []
            both = Selection(read_from="kA", source="/test")
            assert [each.id for each in await quarantine.list_quarantine(tx, both)] == ["1"]
            groups = await count_groups(tx, ALL, ["readFrom"], 100)
            assert [(g["readFrom"], g["events"]) for g in groups] == [("kA", 2), ("kC", 1), ("kB", 1)]
        async with parts.db.write(parts.tenant) as tx:
            assert await quarantine.discard(tx, of_ka) == 2
        assert [each.read_from for each in await held(parts)] == ["kC", "kB"]

    run(database, work)


def test_a_patch_mends_and_what_it_does_not_mend_stays_as_it_came(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(1, "T0", temperature=1.0), event(2, "T0", humidity=1.0), "{nope"])
        before = await held(parts)
        dry = await parts.replay(mend=TO_T0, dry_run=True)
        assert [(fate.code, fate.accepted) for fate in dry.fates] == [
            (None, 1),
            ("PathNotInModel", 0),
            ("JsonPatchInvalid", 0),
        ]
        assert (await held(parts), await samples(parts)) == (before, set()), "a dry run writes nothing"
        done = await parts.replay(mend=TO_T0)
        assert (done.events, done.accepted, done.quarantined) == (3, 1, 2)
        assert [each.quarantine for each in done.rejected] == [each.number for each in before[1:]]
        assert await held(parts) == before[1:]
        whole = patched(
            parse_operations(
                [{"op": "add", "path": "", "value": event(3, temperature=3.0, time="2026-01-06T00:00:00Z")}]
            )
        )
        last = await parts.replay(Selection(code="EventMalformed"), mend=whole)
        assert (last.accepted, last.quarantined) == (1, 0)

    run(database, work)


def test_an_event_without_a_time_keeps_that_of_its_receipt(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(n, "later", None, temperature=float(n)) for n in range(3)])
        await asyncio.sleep(0.01)
        await make(parts, "later")
        between_us = now_us()
        await parts.send([event(9, "later", None, temperature=9.0)])
        done = await parts.replay()
        assert (done.events, done.late, done.quarantined) == (3, 3, 0), (
            "each at a time of its own, in the past"
        )
        rows = await parts.db.query(
            parts.tenant,
            f"SELECT num, (extract(epoch FROM source_time) * 1000000)::bigint FROM {SAMPLES} AS s ORDER BY 2",
        )
        assert [row[0] for row in rows] == [0.0, 1.0, 2.0, 9.0]
        assert rows[2][1] < between_us <= rows[3][1]
        again = await parts.send([event(1, "later", None, temperature=1.0)])
        assert (again.accepted, again.duplicate) == (0, 1), "redelivered, it is known by its id"

    run(database, work)


def test_pages_are_resumable_and_count_each_event_once(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send(
            [
                event(n, "later" if n % 3 else "never", f"2026-01-05T00:00:{n:02d}Z", temperature=1.0)
                for n in range(10)
            ]
        )
        await make(parts, "later")
        pages: list[Replayed] = []
        after: int | None = 0
        while after is not None:
            pages.append(await parts.replay(Selection(after=after), limit=4))
            after = pages[-1].next
        assert [page.looked for page in pages] == [4, 4, 2]
        assert sum(page.late + page.accepted for page in pages) == 6
        assert sum(page.quarantined for page in pages) == len(await held(parts)) == 4
        again = await parts.replay(limit=4)
        assert (again.looked, again.next, again.quarantined) == (4, None, 4)
        assert {each.seen for each in await held(parts)} == {1}, "a replay is no arrival"

    run(database, work)


def test_two_replays_at_once_take_each_event_once(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(n, "later", None, temperature=float(n)) for n in range(20)])
        await make(parts, "later")
        results = await asyncio.gather(*(parts.replay() for _ in range(3)))
        assert sum(result.events for result in results) == 20
        assert sum(result.accepted + result.late for result in results) == 20
        assert sum(result.duplicate for result in results) == 0
        assert len(await samples(parts)) == 20
        assert await held(parts) == []

    run(database, work)


def test_what_is_discarded_during_a_replay_does_not_come_back(
    database: Dsns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(n, "later", temperature=float(n)) for n in range(3)])
        read = quarantine.read_held

        async def read_then_discard(tx: Any, numbers: list[int]) -> list[quarantine.Held]:
            found = await read(tx, numbers)
            async with parts.db.write(parts.tenant) as other:
                await quarantine.discard(other, Selection(numbers[:2]))
            return found

        monkeypatch.setattr(quarantine, "read_held", read_then_discard)
        done = await parts.replay()
        assert (done.events, done.quarantined) == (1, 1)
        assert [each.id for each in await held(parts)] == ["2"]

    run(database, work)


@pytest.mark.parametrize("step", range(len(steps.STEPS)))
def test_a_replay_that_dies_in_a_commit_leaves_each_event_taken_or_waiting(
    database: Dsns, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(n, "later", f"2026-01-05T00:00:0{n}Z", temperature=1.0) for n in range(6)])
        await make(parts, "later")
        first = await parts.replay(limit=2)
        assert first.next is not None

        async def die(*_: Any) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr("gemel.ingest.pipeline.STEPS", (*steps.STEPS[: step + 1], die))
            with pytest.raises(RuntimeError):
                await parts.replay(Selection(after=first.next))
        assert (len(await samples(parts)), len(await held(parts))) == (2, 4)
        await parts.replay()
        assert (len(await samples(parts)), len(await held(parts))) == (6, 0)

    run(database, work)


def test_a_dry_run_sees_twins_as_if_they_were_upgraded(database: Dsns) -> None:
    newer = {
        **MODEL,
        "@id": "dtmi:gemel:test:Sensor;2",
        "contents": [*MODEL["contents"], {"@type": "Property", "name": "humidity", "schema": "double"}],
    }

    async def work(parts: TenantParts) -> None:
        async with parts.db.write(parts.tenant) as tx:
            await add_models(tx, parts.context.library, [newer])
        await parts.send([event(1, humidity=1.0), event(2, humidity="wet")])
        before = await held(parts)
        now = await parts.replay(dry_run=True)
        assert [fate.code for fate in now.fates] == ["PathNotInModel"] * 2
        then = await parts.replay(dry_run=True, models={MODEL["@id"]: newer["@id"]})
        assert [fate.code for fate in then.fates] == [None, "WrongType"]
        assert await held(parts) == before

    run(database, work)


def without_x(each: quarantine.Held) -> Sequence[Event | Detail]:
    """Mend a subject that ends in x."""
    subject = json.loads(each.raw)["subject"].removesuffix("x")
    return patched(parse_operations([{"op": "replace", "path": "/subject", "value": subject}]))(each)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["t0", "t1", "later"]),
        st.sampled_from([None, "2026-01-05T00:00:01Z", "2026-01-05T00:00:02Z", "2026-01-05T00:00:03Z"]),
        st.sampled_from(["1", "2"]),
        st.sampled_from([1.0, 2.0, "warm"]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(EVENTS, EVENTS)
def test_a_dry_run_foretells_the_replay(database: Dsns, sent: list[Any], waiting: list[Any]) -> None:
    """What is said of each is what becomes of it alone; all together, what is taken and what stays is the same."""

    async def work(parts: TenantParts) -> None:
        await parts.send([event(int(i), t, time, temperature=v) for t, time, i, v in sent])
        await parts.send([event(int(i), f"{t}x", time, temperature=v) for t, time, i, v in waiting])
        dry = await parts.replay(mend=without_x, dry_run=True)
        done = await parts.replay(mend=without_x)
        told = {fate.number for fate in dry.fates if fate.code is not None}
        assert told == {each.quarantine for each in done.rejected}
        for name in ("events", "accepted", "late", "duplicate", "corrected", "quarantined"):
            assert getattr(dry, name) == getattr(done, name), name
        assert {each.number for each in await held(parts)} >= told

    run(database, work)


def test_what_is_due_is_given_up_and_audited(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send(
            [event(n, "later", temperature=float(n)) for n in range(3)] + [event(9, humidity=1.0)]
        )
        now = now_us()
        async with parts.db.write(parts.tenant) as tx:
            await expiry.set_expiry_days(tx, 30)
            assert await expiry.count_due(tx, 30, now) == {}
            assert await expiry.count_due(tx, 30, now + 31 * DAY_US) == {
                "PathNotInModel": 1,
                "TwinUnknown": 3,
            }
        with psycopg.connect(database.owner, autocommit=True) as owner:
            assert expiry.apply_expiry(owner) == {}
            owner.execute(
                "UPDATE quarantine SET received = received - interval '31 days' WHERE tenant = %s AND event_id <> '1'",
                (parts.tenant,),
            )
            assert expiry.apply_expiry(owner) == {parts.tenant: {"PathNotInModel": 1, "TwinUnknown": 2}}
            assert expiry.apply_expiry(owner) == {}
            trail = owner.execute(
                "SELECT actor, target FROM audit WHERE tenant = %s AND action = 'quarantine.expire'",
                (parts.tenant,),
            ).fetchall()
        assert trail == [("system", "older than 30 d: 1 PathNotInModel, 2 TwinUnknown")]
        assert [each.id for each in await held(parts)] == ["1"]
        async with parts.db.write(parts.tenant) as tx:
            await expiry.set_expiry_days(tx, None)
            assert await expiry.expiry_days(tx) is None
            assert await expiry.expire(tx, 1, now_us() + 2 * DAY_US) == {"TwinUnknown": 1}

    run(database, work)

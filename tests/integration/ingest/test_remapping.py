"""Messages that wait in quarantine, mended by a corrected mapping: in order, whole or not at all, counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.base.clock import now_us
from gemel.history.ordering import OUTCOMES
from gemel.history.origins import Sending
from gemel.ingest import quarantine
from gemel.ingest.replay import Replayed
from gemel.ingest.requests import IngestRequest, IngestResult
from gemel.ingest.selection import Selection
from gemel.mapping.mapper import Mapper
from gemel.mapping.mending import remapped
from gemel.mapping.payload import parse_payload_mapping
from gemel.mapping.scene import Message
from support.parts import AUDIT, TenantParts, event, open_parts
from support.postgres import Dsns

START_S = 1_767_571_200
# By the twins' ids: tenants need not number theirs alike.
VALUES = """
SELECT num FROM sample JOIN twin ON twin_no = series >> 20 ORDER BY twin_id, source_time"""


def mapper(path: str, each: str = "r", **keys: Any) -> Mapper:
    rule = {
        "twin": "{$payload.twin}",
        "each": each,
        "values": {"temperature": {"path": path, "type": "number"}},
    }
    whole = {
        "version": 2,
        "source": "plant",
        "time": {"path": "at", "format": "unix_s"},
        "twins": [rule | keys],
    }
    return Mapper(parse_payload_mapping(msgspec.json.encode(whole), "plant.yaml"))


WRONG, RIGHT = mapper("value", "readings"), mapper("v")


async def push(parts: TenantParts, by: Mapper, *payloads: Any) -> IngestResult:
    messages = [Message(msgspec.json.encode(each), now_us(), f"log/{n}") for n, each in enumerate(payloads)]
    decoded = await asyncio.to_thread(lambda: by.run(messages).decoded(b""))
    sending = Sending(mapping=by.mapping.label)
    return await parts.ingest.submit(parts.tenant, IngestRequest(decoded, now_us(), AUDIT, sending=sending))


async def mend(parts: TenantParts, by: Mapper, **options: Any) -> Replayed:
    return await parts.replay(mend=remapped(by), mapping=by.mapping.label, **options)


async def waiting(parts: TenantParts) -> list[quarantine.Quarantined]:
    async with parts.db.read(parts.tenant) as tx:
        return await quarantine.list_quarantine(tx, limit=1000)


async def values(parts: TenantParts) -> list[tuple[float, ...]]:
    rows = await parts.db.query(parts.tenant, VALUES)
    return [tuple(row) for row in rows]


def reading(number: int, value: Any) -> dict[str, Any]:
    return {"at": START_S + number, "v": value}


def play(database: Dsns, work: Callable[[TenantParts], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await work(parts)

    asyncio.run(main())


def test_messages_of_many_samples_are_mapped_anew_in_order_and_once(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        payloads = [
            {"twin": "t0", "r": [reading(2 * n, float(n)), reading(2 * n + 1, -1.0)]} for n in range(30)
        ]
        assert (await push(parts, WRONG, *payloads)).quarantined == 30
        before = await waiting(parts)
        foreseen = await mend(parts, RIGHT, dry_run=True, limit=1000)
        assert (foreseen.looked, foreseen.events, foreseen.accepted, foreseen.quarantined) == (30, 60, 60, 0)
        assert await waiting(parts) == before
        done = 0
        after: int | None = 0
        while after is not None:
            page = await mend(parts, RIGHT, selection=Selection(after=after), limit=7)
            done += page.accepted
            after = page.next
        assert done == 60
        assert await waiting(parts) == []
        assert len(await values(parts)) == 60
        # All again: what is there is a duplicate, and counted as one.
        again = await push(parts, RIGHT, *payloads)
        assert (again.accepted, again.duplicate) == (0, 60)
        labels = await parts.db.query(parts.tenant, "SELECT count(*) FROM origin")
        assert labels[0][0] > 0

    play(database, work)


def test_a_message_is_taken_whole_or_stays_as_it_came(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        late = {"at": -5, "v": 3.0}
        payloads = [
            {"twin": "t0", "r": [reading(0, 1.0), late]},
            {"twin": "nobody", "r": [reading(0, 1.0), reading(1, 1.0)]},
            {"twin": "t1", "r": [reading(0, 5.0), reading(1, 6.0)]},
            {"twin": "t1", "r": [reading(2, 5.0), reading(3, "hot")]},
        ]
        await push(parts, WRONG, *payloads)
        before = await waiting(parts)
        found = await mend(parts, RIGHT)
        assert (found.looked, found.accepted) == (4, 2)
        assert [(each.index, each.quarantine) for each in found.rejected] == [
            (0, before[0].number), (1, before[1].number), (3, before[3].number),
        ]  # fmt: skip
        assert [each.code for each in found.rejected] == ["TimeOutOfRange", "TwinUnknown", "MappingFailed"]
        assert await waiting(parts) == [before[0], before[1], before[3]]
        assert len(await values(parts)) == 2

    play(database, work)


def test_what_is_no_message_is_offered_as_it_is(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        await parts.send([event(1, temperature="hot")])
        found = await mend(parts, RIGHT)
        assert [each.code for each in found.rejected] == ["WrongType"]

    play(database, work)


def test_those_who_mend_at_once_count_nothing_twice(database: Dsns) -> None:
    async def work(parts: TenantParts) -> None:
        payloads = [{"twin": "t0", "r": [reading(2 * n, 1.0), reading(2 * n + 1, 2.0)]} for n in range(50)]
        await push(parts, WRONG, *payloads)
        found = await asyncio.gather(*(mend(parts, RIGHT) for _ in range(4)))
        assert sum(each.accepted for each in found) == 100
        assert sum(each.duplicate for each in found) == 0
        assert await waiting(parts) == []

    play(database, work)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["t0", "t1", "nobody"]),
        st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1.0, 2.0, "hot"])), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=6,
)


@given(MESSAGES, st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_whatever_waits_ends_as_if_it_had_come_through_the_right_mapping(
    database: Dsns, messages: list[tuple[str, list[tuple[int, Any]]]], times: int
) -> None:
    payloads = [{"twin": twin, "r": [reading(*each) for each in readings]} for twin, readings in messages]

    def whole(payload: dict[str, Any]) -> bool:
        return payload["twin"] != "nobody" and all(isinstance(each["v"], float) for each in payload["r"])

    async def work(parts: TenantParts) -> None:
        await push(parts, WRONG, *payloads)
        found = [await mend(parts, RIGHT) for _ in range(times)]
        counted = sum(getattr(each, name) for each in found for name in OUTCOMES)
        assert counted == sum(len(each["r"]) for each in payloads if whole(each))
        assert len(await waiting(parts)) == len(
            {msgspec.json.encode([n, p]) for n, p in enumerate(payloads) if not whole(p)}
        )
        mended = await values(parts)
        async with open_parts(database) as other:
            for payload in payloads:
                if whole(payload):
                    await push(other, RIGHT, payload)
            assert await values(other) == mended

    play(database, work)

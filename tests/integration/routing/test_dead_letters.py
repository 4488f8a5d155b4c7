"""Dead letters: what a receiver will not have steps aside, is kept whole, and is sent again with the id it had."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest

from gemel.observe.traffic import Traffic
from gemel.outbound import Outbound, OutboundPolicy
from gemel.routing.letters import DeadLetter, LetterChoice, discard_letters, list_letters, show_letter
from gemel.routing.replaying import LetterReplay, ReplayParts, replay_letters
from gemel.routing.signing import signed_headers
from gemel.routing.webhooks import WebhookSender
from support.http_peer import Reply, peer
from support.parts import AUDIT, TenantParts, event, open_parts
from support.postgres import Dsns
from support.routing import SEALER, Receiver, add_route, delivering, hurry, status, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch, database: Dsns) -> Iterator[None]:
    hurry(monkeypatch)
    yield
    with psycopg.connect(database.owner) as owner:
        owner.execute("DELETE FROM event_route")


def with_parts(database: Dsns, body: Callable[[TenantParts], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await body(parts)

    asyncio.run(main())


def refusing(poison: set[float], code: int = 422) -> Callable[[list[dict[str, Any]]], Reply]:
    """Return a receiver's answer that refuses batches with some temperatures in them."""

    def answer(events: list[dict[str, Any]]) -> Reply:
        values = {step["value"] for each in events for step in each["data"]["patch"]}
        return Reply(code, body=b"not this one") if values & poison else Reply(204)

    return answer


async def set_values(parts: TenantParts, values: range) -> None:
    for value in values:
        time = f"2026-01-05T00:00:{value:02}Z"
        await parts.send([event(value, "t0", time, temperature=float(value))])


async def waiting(parts: TenantParts) -> list[DeadLetter]:
    async with parts.db.read(parts.tenant) as tx:
        return await list_letters(tx, LetterChoice(), 0, 100)


async def replayed(parts: TenantParts, choice: LetterChoice) -> LetterReplay:
    outbound = Outbound(OutboundPolicy.parse("127.0.0.1"))
    senders = {"webhook": WebhookSender(outbound, lambda _, text: text)}
    try:
        return await replay_letters(
            ReplayParts(parts.db, SEALER, senders, Traffic()), parts.tenant, "test", choice, AUDIT
        )
    finally:
        await outbound.aclose()


def test_what_is_refused_alone_and_often_steps_aside_and_the_others_arrive(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        poison = {3.0, 7.0}
        receiver = Receiver(refusing(poison))
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url, deadLetterAfter=9)
            await set_values(parts, range(10))
            await until(lambda: len(receiver.taken) == 8)
            letters = await waiting(parts)
            assert [(each.route, each.twin, each.tries) for each in letters] == [("all", "t0", 9)] * 2
            assert "422: not this one" in letters[0].error
            async with parts.db.read(parts.tenant) as tx:
                shown = await show_letter(tx, letters[0].number)
            assert shown.event["data"]["patch"][0]["value"] == 3.0
            failed = await replayed(parts, LetterChoice("all"))
            assert (failed.delivered, failed.failed) == (0, 2)
            assert [each.tries for each in await waiting(parts)] == [10, 10]
            poison.clear()
            told = await replayed(parts, LetterChoice(numbers=[letters[0].number]))
            assert (told.delivered, told.failed, told.errors) == (1, 0, [])
            told = await replayed(parts, LetterChoice("all"))
            assert told.delivered == 1
        assert await waiting(parts) == []
        # Each has the id that it had when it was refused, so that a receiver knows what it has already.
        refused = {each["id"] for batch in receiver.came if len(batch) == 1 for each in batch}
        assert {each.id for each in letters} <= refused
        assert sorted(receiver.ids) == sorted(set(receiver.ids))
        assert len(receiver.ids) == 10

    with_parts(database, body)


@pytest.mark.parametrize(("code", "after"), [(503, 3), (401, 3), (422, 0)])
def test_an_outage_and_a_setting_of_never_put_nothing_aside(database: Dsns, code: int, after: int) -> None:
    async def body(parts: TenantParts) -> None:
        bad = {0.0}
        receiver = Receiver(refusing(bad, code))
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url, deadLetterAfter=after)
            await set_values(parts, range(3))
            await until(lambda: _failures(parts, 12))
            assert await waiting(parts) == []
            bad.clear()
            await until(lambda: len(receiver.taken) == 3)

    with_parts(database, body)


def test_dead_letters_are_discarded_by_choice_and_go_with_their_route(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver(refusing({0.0, 1.0, 2.0}))
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url, deadLetterAfter=1)
            await set_values(parts, range(3))
            await until(lambda: _count(parts, 3))
            first, *_ = await waiting(parts)
            async with parts.db.write(parts.tenant) as tx:
                assert await discard_letters(tx, LetterChoice("other")) == 0
                assert await discard_letters(tx, LetterChoice("all", [first.number])) == 1
            assert await _count(parts, 2)
            with psycopg.connect(database.owner) as owner:
                owner.execute("DELETE FROM event_route")
            assert await waiting(parts) == []

    with_parts(database, body)


def test_a_signing_secret_may_be_a_reference(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINK_SECRET", "whsec_" + base64.b64encode(b"k" * 32).decode())

    async def body(parts: TenantParts) -> None:
        async with peer(Receiver()) as there, delivering(database, parts):
            await add_route(parts, "all", there.url, secret="${env:SINK_SECRET}")
            await set_values(parts, range(1))
            await until(lambda: there.received)
        request = there.received[0]
        named = (request.headers["webhook-id"], int(request.headers["webhook-timestamp"]))
        assert (
            request.headers["webhook-signature"]
            == signed_headers(b"k" * 32, *named, request.body)["webhook-signature"]
        )

    with_parts(database, body)


async def _failures(parts: TenantParts, count: int) -> bool:
    return (await status(parts, "all")).failures >= count


async def _count(parts: TenantParts, count: int) -> bool:
    return len(await waiting(parts)) == count

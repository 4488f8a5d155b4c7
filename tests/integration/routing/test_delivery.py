"""Deliveries to a real receiver: at least once, in order, whatever the receiver and the processes do."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from gemel.routing.endpoints import endpoint_of, put_endpoint
from gemel.routing.routes import delete_route, put_route, route_request
from gemel.routing.signing import signed_headers
from gemel.routing.skipping import skip
from support.http_peer import Received, Reply, peer
from support.parts import TenantParts, event, second_process
from support.postgres import Dsns
from support.routing import (
    SEALER,
    Receiver,
    add_route,
    delivering,
    hurry,
    set_values,
    status,
    until,
    with_parts,
)

UPDATE = "Microsoft.DigitalTwins.Twin.Update"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch, database: Dsns) -> Iterator[None]:
    hurry(monkeypatch)
    yield
    with psycopg.connect(database.owner) as owner:
        # Routes of one test must not go on in the next.
        owner.execute("DELETE FROM event_route")


def told(receiver: Receiver, twin: str = "t0") -> list[Any]:
    """Return the temperatures of a twin as its notifications told them."""
    return [
        step["value"]
        for each in receiver.taken
        if each["type"] == UPDATE and each["subject"] == twin
        for step in each["data"]["patch"]
        if step["path"] == "/temperature"
    ]


async def _failing(parts: TenantParts) -> bool:
    return (await status(parts, "all")).failures > 0


async def _even(parts: TenantParts, route_id: str) -> bool:
    return (await status(parts, route_id)).lag_changes == 0


def test_a_route_starts_with_the_next_change_and_sends_each_once_in_order(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver()
        await set_values(parts, [0.0])
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url)
            await set_values(parts, [1.0, 2.0, 3.0], first=1)
            await until(lambda: len(receiver.taken) == 3)
            await set_values(parts, [4.0], first=4)
            await until(lambda: len(receiver.taken) == 4)
            assert told(receiver) == [1.0, 2.0, 3.0, 4.0]
            assert len(set(receiver.ids)) == 4
            assert [each["sequence"] for each in receiver.taken] == sorted(
                each["sequence"] for each in receiver.taken
            )
            await until(lambda: _even(parts, "all"))
            now = await status(parts, "all")
            assert (now.state, now.delivered, now.failures) == ("delivering", 4, 0)

    with_parts(database, body)


def test_deliveries_are_signed_and_carry_the_headers(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
        async with peer(Receiver()) as there, delivering(database, parts):
            await add_route(parts, "all", there.url, secret=secret, headers={"X-Token": "abc"})
            await set_values(parts, [1.0])
            await until(lambda: there.received)
        request = there.received[0]
        assert request.headers["content-type"] == "application/cloudevents-batch+json"
        assert request.headers["x-token"] == "abc"
        message_id, timestamp = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        expected = signed_headers(b"k" * 32, message_id, timestamp, request.body)
        assert request.headers["webhook-signature"] == expected["webhook-signature"]

    with_parts(database, body)


@pytest.mark.parametrize("trouble", ["500", "timeout", "closed", "redirect", "302", "refused"])
def test_what_goes_wrong_is_tried_again_and_nothing_is_lost(database: Dsns, trouble: str) -> None:
    replies = {
        "500": Reply(500, body=b"out\nof order"),
        "timeout": Reply(200, body=b"x", delay_s=2.0),
        "closed": Reply(200, {"Content-Length": "100"}, b"half"),
        "redirect": Reply(307, {"Location": "http://10.1.2.3/elsewhere"}),
        "302": Reply(302, {"Location": "/elsewhere"}),
        "refused": Reply(413),
    }

    async def body(parts: TenantParts) -> None:
        bad = True
        receiver = Receiver(lambda events: replies[trouble] if bad else Reply(204))
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url)
            await set_values(parts, [float(n) for n in range(5)])
            await until(lambda: len(receiver.came) >= 2)
            await until(lambda: _failing(parts))
            now = await status(parts, "all")
            assert now.state == "retrying"
            assert now.error
            assert now.next_try_us
            assert now.lag_changes == 5
            assert {"500": "500: out of order", "redirect": "10.1.2.3", "302": "302", "refused": "413"}.get(
                trouble, "could not be called"
            ) in now.error
            bad = False
            receiver.taken.clear()
            await until(lambda: len(told(receiver)) == 5)
            assert told(receiver) == [0.0, 1.0, 2.0, 3.0, 4.0]
            await until(lambda: _even(parts, "all"))
            now = await status(parts, "all")
            assert (now.error, now.failures, now.next_try_us, now.delivered) == (None, 0, None, 5)

    with_parts(database, body)


def test_a_slow_receiver_slows_no_other_route_and_no_write(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        slow, fast = Receiver(lambda events: Reply(204, {"Content-Length": "1"}, delay_s=60)), Receiver()
        async with peer(slow) as there, peer(fast) as here, delivering(database, parts):
            await add_route(parts, "slow", there.url)
            await add_route(parts, "fast", here.url)
            await set_values(parts, [float(n) for n in range(20)])
            await until(lambda: told(fast) == [float(n) for n in range(20)])

    with_parts(database, body)


def test_a_notification_that_is_never_taken_ends_up_alone_and_can_be_skipped(database: Dsns) -> None:
    def answer(events: list[dict[str, Any]]) -> Reply:
        poison = any(step["value"] == 7.0 for each in events for step in each["data"]["patch"])
        return Reply(422) if poison else Reply(204)

    async def body(parts: TenantParts) -> None:
        receiver = Receiver(answer)
        async with peer(receiver) as there:
            await add_route(parts, "all", there.url)
            await set_values(parts, [float(n) for n in range(12)])
            async with delivering(database, parts) as running:
                await until(lambda: len(receiver.taken) == 7 and len(receiver.came[-1]) == 1)
                await until(lambda: _failing(parts))
                async with parts.db.write(parts.tenant) as tx:
                    skipped = await skip(tx, running._parts.reader, parts.context, "all", "test/x")
                await until(lambda: len(receiver.taken) == 11)
            assert told(receiver) == [float(n) for n in range(12) if n != 7]
            assert skipped not in receiver.ids

    with_parts(database, body)


def test_gone_stops_a_route_until_its_endpoint_is_put_again(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        gone = True
        receiver = Receiver(lambda events: Reply(410) if gone else Reply(204))
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url)
            await set_values(parts, [1.0])
            await until(lambda: _stopped(parts))
            came = len(receiver.came)
            await set_values(parts, [2.0], first=1)
            await asyncio.sleep(0.2)
            assert len(receiver.came) == came == 1
            gone = False
            async with parts.db.write(parts.tenant) as tx:
                await put_endpoint(tx, SEALER, "all", endpoint_of({"url": there.url}))
            await until(lambda: told(receiver) == [1.0, 2.0])

    async def _stopped(parts: TenantParts) -> bool:
        return (await status(parts, "all")).stopped == "gone"

    with_parts(database, body)


def test_changes_that_were_forgotten_are_said_and_not_passed_over(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver()
        async with peer(receiver) as there:
            await add_route(parts, "all", there.url)
            await set_values(parts, [1.0, 2.0, 3.0])
            with psycopg.connect(database.owner) as owner:
                owner.execute(
                    "DELETE FROM change WHERE tenant = %s AND change_no < (SELECT max(change_no) FROM change "
                    "WHERE tenant = %s)",
                    (parts.tenant, parts.tenant),
                )
            async with delivering(database, parts):
                await until(lambda: _stopped(parts))
                now = await status(parts, "all")
                assert now.error is not None
                assert "forgotten" in now.error
                assert receiver.came == []
                async with parts.db.write(parts.tenant) as tx:
                    await put_route(tx, "all", route_request({"endpointName": "all", "filter": "true"}))
                await set_values(parts, [4.0], first=3)
                await until(lambda: told(receiver) == [4.0])

    async def _stopped(parts: TenantParts) -> bool:
        return (await status(parts, "all")).stopped == "forgotten"

    with_parts(database, body)


def test_all_changes_forgotten_is_said_too(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        async with peer(Receiver()) as there:
            await add_route(parts, "all", there.url)
            await set_values(parts, [1.0])
            with psycopg.connect(database.owner) as owner:
                owner.execute("DELETE FROM change WHERE tenant = %s", (parts.tenant,))
            async with delivering(database, parts):
                await until(lambda: _stopped(parts))

    async def _stopped(parts: TenantParts) -> bool:
        return (await status(parts, "all")).stopped == "forgotten"

    with_parts(database, body)


def test_filters_choose_and_what_they_leave_out_moves_the_cursor(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver()
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(
                parts, "some", there.url, "type = 'microsoft.iot.telemetry' AND $body.pressure > 2"
            )
            await add_route(parts, "none", there.url, "false")
            await set_values(parts, [float(n) for n in range(10)])
            await parts.send(
                [event(90 + n, "t1", f"2026-01-06T00:00:0{n}Z", pressure=float(n)) for n in range(5)]
            )
            await until(lambda: len(receiver.taken) == 2)
            assert [each["data"] for each in receiver.taken] == [{"pressure": 3.0}, {"pressure": 4.0}]
            await set_values(parts, [1.0], "t2")
            await until(lambda: _even(parts, "some"))
            off = await status(parts, "none")
            assert (off.state, off.delivered) == ("disabled", 0)
            # Put in use, a route starts with the next change.
            async with parts.db.write(parts.tenant) as tx:
                await put_route(
                    tx, "none", route_request({"endpointName": "none", "filter": "subject = 't3'"})
                )
            await set_values(parts, [5.0], "t3")
            await until(lambda: told(receiver, "t3") == [5.0])

    with_parts(database, body)


def test_a_large_commit_goes_in_batches_and_goes_on_within_it(database: Dsns) -> None:
    seed = 20260131
    print("seed", seed)
    rng = random.Random(seed)

    def answer(events: list[dict[str, Any]]) -> Reply:
        return Reply(503, {"Retry-After": "0"}) if rng.random() < 0.2 else Reply(204)

    async def body(parts: TenantParts) -> None:
        receiver = Receiver(answer)
        sent = [
            event(n, f"t{n % 5}", f"2026-01-05T00:{n // 60:02}:{n % 60:02}Z", temperature=float(n))
            for n in range(1500)
        ]
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url)
            assert (await parts.send(sent)).accepted == 1500
            await until(lambda: len(receiver.taken) >= 1500)
        assert len(receiver.ids) == len(set(receiver.ids)) == 1500
        for twin in range(5):
            assert told(receiver, f"t{twin}") == [float(n) for n in range(twin, 1500, 5)]
        assert max(map(len, receiver.came)) == 100

    with_parts(database, body)


def test_of_several_processes_one_delivers_and_another_takes_over(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver()
        async with (
            peer(receiver) as there,
            second_process(database, parts) as other,
            AsyncExitStack() as first,
        ):
            await first.enter_async_context(delivering(database, parts))
            await until(lambda: _led(database))
            async with delivering(database, other):
                await add_route(parts, "all", there.url)
                await set_values(parts, [float(n) for n in range(10)])
                await until(lambda: len(receiver.taken) == 10)
                await first.aclose()
                await set_values(parts, [10.0], first=10)
                await until(lambda: len(receiver.taken) == 11)
        assert told(receiver) == [float(n) for n in range(11)]
        assert len(set(receiver.ids)) == 11

    with_parts(database, body)


def _led(database: Dsns) -> bool:
    with psycopg.connect(database.owner) as owner:
        sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        return owner.execute(sql).fetchone() == (1,)


def test_who_loses_the_lead_stops_and_what_was_being_sent_is_sent_again(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver()
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url)
            for first in range(0, 50, 10):
                await set_values(parts, [float(n) for n in range(first, first + 10)], first=first)
                with psycopg.connect(database.owner, autocommit=True) as owner:
                    owner.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    )
            await until(lambda: len(set(receiver.ids)) >= 50)
        known = list(dict.fromkeys(told(receiver)))
        assert known == [float(n) for n in range(50)]

    with_parts(database, body)


def test_a_deleted_route_stops(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver()
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "all", there.url)
            await set_values(parts, [1.0])
            await until(lambda: len(receiver.taken) == 1)
            async with parts.db.write(parts.tenant) as tx:
                await delete_route(tx, "all")
            await set_values(parts, [2.0], first=1)
            await asyncio.sleep(0.2)
            assert told(receiver) == [1.0]

    with_parts(database, body)


def test_another_key_of_the_installation_is_said(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        async with peer(Receiver()) as there, delivering(database, parts):
            await add_route(parts, "all", there.url, headers={"X-Token": "abc"})
            with psycopg.connect(database.owner) as owner:
                owner.execute("UPDATE endpoint SET sealed = 'x' WHERE tenant = %s", (parts.tenant,))
            await until(lambda: _failing(parts))
            assert there.received == []

    async def _failing(parts: TenantParts) -> bool:
        return "hmac.key" in ((await status(parts, "all")).error or "")

    with_parts(database, body)


def test_an_address_that_is_not_allowed_is_never_called(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        async with peer(Receiver()) as there, delivering(database, parts, allow=""):
            await add_route(parts, "all", there.url)
            await set_values(parts, [1.0])
            await until(lambda: _refused(parts))
            assert there.received == []

    async def _refused(parts: TenantParts) -> bool:
        return "OutboundRefused" in ((await status(parts, "all")).error or "")

    with_parts(database, body)


def test_a_route_that_cannot_be_read_keeps_no_other_back(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        receiver = Receiver()
        async with peer(receiver) as there, delivering(database, parts):
            await add_route(parts, "odd", there.url)
            with psycopg.connect(database.owner) as owner:
                owner.execute("UPDATE event_route SET filter = 'of another version'")
            await add_route(parts, "all", there.url)
            await set_values(parts, [1.0])
            await until(lambda: told(receiver) == [1.0])

    with_parts(database, body)


def test_a_webhook_gets_the_trace_of_whoever_sent_the_value(database: Dsns) -> None:
    named = [f"00-{digit * 32}-{digit * 16}-01" for digit in "ab"]

    async def body(parts: TenantParts) -> None:
        receiver, headers = Receiver(), []

        def answer(request: Received) -> Reply:
            headers.append(request.headers.get("traceparent"))
            return receiver(request)

        async with peer(answer) as there, delivering(database, parts):
            await add_route(parts, "all", there.url)
            for number, traceparent in enumerate(named):
                time = f"2026-01-05T00:00:0{number}Z"
                sent = {**event(number, "t0", time, temperature=float(number)), "traceparent": traceparent}
                assert (await parts.send([sent])).accepted == 1
                await until(lambda: len(receiver.taken) == number + 1)  # noqa: B023 - waited for here
        traces = [each["traceparent"] for each in receiver.taken]
        assert [trace.split("-")[1] for trace in traces] == ["a" * 32, "b" * 32]
        assert headers == traces

    with_parts(database, body)

"""Sources under a supervisor: exactly once into the twin, whoever dies when; waiting, failing, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
import structlog.testing

from gemel.base.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from gemel.sources.records import Holder, check_held, claim, remove_source
from support.sources import Peer, Workshop, message, refuse

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]


async def whole(shop: Workshop, count: int) -> None:
    """Assert that history is the messages, each once, and that state is the last of them."""
    assert await shop.values() == [float(n) for n in range(count)]
    sql = "SELECT num FROM latest WHERE tenant = current_tenant() AND num IS NOT NULL"
    assert await shop.parts.db.query(shop.parts.tenant, sql) == [(float(count - 1),)]


def test_what_comes_is_in_the_twin_once_and_acknowledged(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(n) for n in range(95)]
        await shop.describe()
        async with shop.process() as reader:
            row = await shop.until(lambda row: row.counts["events"] == 95)
            assert (row.state, row.held) == ("running", True)
            intake = reader._sources.sink.ingest._intake
        assert row.counts == {
            "batches": 10, "events": 95, "accepted": 95, "late": 0, "duplicate": 0, "corrected": 0, "quarantined": 0
        }  # fmt: skip
        assert (shop.peer.acknowledged, shop.peer.opened, shop.peer.closed) == (95, 1, 1)
        # Under the name that its state has, so that metrics join.
        assert list(intake.sources) == [(shop.parts.tenant, row.name)]
        await whole(shop, 95)
        # Left by a process that stopped in good order, it is there for the next.
        assert (await shop.row()).held is False

    play(scene)


@pytest.mark.parametrize("seekable", [False, True])
def test_killed_between_commit_and_acknowledgement_nothing_is_doubled(play: Play, seekable: bool) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer = Peer([message(n) for n in range(60)], seekable)
        committed = asyncio.Event()

        async def die(number: int) -> None:
            if number == 30:
                committed.set()
                await asyncio.Event().wait()

        shop.peer.on_commit = die
        await shop.describe()
        async with shop.process() as dying:
            await committed.wait()
            # As kill -9 does: no acknowledgement, no word to the table.
            for runner, task in dying._running.values():
                runner._held = None  # type: ignore[assignment]
                task.cancel()
            assert (await shop.row()).counts["events"] == 30
        assert shop.peer.acknowledged == 20
        shop.peer.on_commit = None
        async with shop.process(alone=True):
            await shop.until(lambda _: shop.peer.acknowledged == 60)
        row = await shop.row()
        again = 0 if seekable else 10
        assert (row.counts["accepted"], row.counts["duplicate"]) == (60, again)
        await whole(shop, 60)

    play(scene)


def test_of_two_processes_one_reads_a_source(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe()
        async with shop.process(), shop.process():
            for n in range(50):
                shop.peer.messages.append(message(n))
                await asyncio.sleep(0.01)
            row = await shop.until(lambda row: row.counts["events"] == 50)
            assert shop.peer.opened == 1
        assert row.counts["duplicate"] == 0
        assert sorted(shop.peer.given) == list(range(50))

    play(scene)


def test_who_lost_the_lease_commits_nothing_more(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(start=True)
        tenant = shop.parts.tenant
        first = await claim(shop.parts.db, Holder(tenant, "s", "first", 60.0))
        assert first is not None
        assert await claim(shop.parts.db, Holder(tenant, "s", "early", 60.0)) is None
        with psycopg.connect(shop.dsns.owner, autocommit=True) as owner:
            owner.execute(
                "UPDATE source SET lease_until = now() - interval '1 ms' WHERE tenant = %s", (tenant,)
            )
        second = await claim(shop.parts.db, Holder(tenant, "s", "second", 60.0))
        assert second is not None
        async with shop.parts.db.write(tenant) as tx:
            await check_held(tx, second)
            with pytest.raises(ConflictError) as raised:
                await check_held(tx, first)
        assert raised.value.code == "SourceLost"

    play(scene)


def test_a_batch_of_a_process_that_was_thought_dead_is_refused_whole(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(n) for n in range(20)]
        stolen = asyncio.Event()

        async def pause(at: int) -> None:
            if at == 10:
                with psycopg.connect(shop.dsns.owner, autocommit=True) as owner:
                    owner.execute(
                        "UPDATE source SET holder = 'other', lease_until = now() + interval '1 hour'"
                    )
                stolen.set()

        await shop.describe()
        shop.peer.on_next = pause
        async with shop.process():
            await stolen.wait()
            await asyncio.sleep(0.3)
        # The first batch may have been in before; of what came after nothing is, and no position either.
        row = await shop.row()
        assert await shop.values() == [float(n) for n in range(row.counts["events"])]
        assert shop.peer.acknowledged == row.counts["events"] <= 10

    play(scene)


def test_a_source_that_breaks_off_comes_back_and_goes_on(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(n) for n in range(100)]
        breaks = iter(range(5))

        async def stumble(at: int) -> None:
            if at >= 20 and next(breaks, None) is not None:
                raise UnavailableError("SourceUnavailable", "The broker hung up.")

        shop.peer.on_next = stumble
        await shop.describe()
        async with shop.process():
            waiting = await shop.until(lambda row: row.state == "waiting")
            assert (waiting.error_code, waiting.error) == ("SourceUnavailable", "The broker hung up.")
            assert waiting.failures >= 1
            assert waiting.next_try_us is not None
            done = await shop.until(lambda row: shop.peer.acknowledged == 100)
            done = await shop.until(lambda row: row.state == "running")
        assert (done.error, done.failures) == (None, 0)
        assert shop.peer.opened == shop.peer.closed == 6
        await whole(shop, 100)

    play(scene)


def test_what_stays_wrong_fails_until_it_is_started_again(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(0)]
        shop.peer.on_open = lambda place: refuse(InvalidError("SourceInvalid", "No such topic."))
        await shop.describe()
        async with shop.process():
            failed = await shop.until(lambda row: row.state == "failed" and not row.held)
            assert (failed.error_code, failed.error) == ("SourceInvalid", "No such topic.")
            await asyncio.sleep(0.3)
            assert shop.peer.opened == 1
            shop.peer.on_open = None
            await shop.want("started")
            await shop.until(lambda row: row.counts["events"] == 1)

    play(scene)


def test_a_defect_is_waited_out_and_told_of(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(0)]
        shop.peer.on_open = lambda place: refuse(ValueError("defect"))  # type: ignore[arg-type]
        await shop.describe()
        async with shop.process():
            told = await shop.until(lambda row: row.state == "waiting")
            assert told.error_code == "InternalError"
            shop.peer.on_open = None
            await shop.until(lambda row: row.counts["events"] == 1)

    play(scene)


def test_stopped_it_stays_where_it_is_and_goes_on_from_there(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer = Peer([message(n) for n in range(30)], seekable=True)
        await shop.describe()
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 30)
            await shop.want("stopped")
            row = await shop.until(lambda row: row.state == "stopped")
            assert not row.held
            shop.peer.messages += [message(n) for n in range(30, 40)]
            await asyncio.sleep(0.2)
            assert (await shop.row()).counts["events"] == 30
            await shop.want("started")
            await shop.until(lambda row: row.counts["events"] == 40)
        assert sorted(shop.peer.given) == list(range(40))

    play(scene)


def test_described_anew_it_is_opened_anew(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe()
        async with shop.process():
            await shop.until(lambda row: row.state == "running")
            await shop.describe("name: s\nkind: peer\nconnection: {}\nlimits: {events: 3}", start=False)
            shop.peer.messages = [message(n) for n in range(9)]
            row = await shop.until(lambda row: row.counts["events"] == 9)
        assert (row.version, shop.peer.opened) == (2, 2)
        assert row.counts["batches"] == 3

    play(scene)


def test_removed_it_is_read_no_more_and_its_position_is_gone(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(n) for n in range(10)]
        await shop.describe()
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 10)
            async with shop.parts.db.write(shop.parts.tenant) as tx:
                await remove_source(tx, "s")
            shop.peer.messages.append(message(10))
            await asyncio.sleep(0.5)
            with pytest.raises(NotFoundError):
                await shop.row()
        assert len(await shop.values()) <= 11
        sql = "SELECT count(*) FROM source_position WHERE tenant = current_tenant()"
        assert await shop.parts.db.query(shop.parts.tenant, sql) == [(0,)]

    play(scene)


def test_the_next_batch_is_read_while_one_commits_and_no_further(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(n) for n in range(200)]
        await shop.describe()
        async with shop.process():
            async with asyncio.timeout(20), shop.parts.db.write(shop.parts.tenant):
                before = shop.peer.acknowledged
                # Nothing commits while this transaction has the tenant: the source waits at its own end.
                while len(shop.peer.given) < before + 20:  # noqa: ASYNC110 - the peer is plain
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)
                assert len(shop.peer.given) <= shop.peer.acknowledged + 20 <= 100
            await shop.until(lambda row: shop.peer.acknowledged == 200)
        await whole(shop, 200)

    play(scene)


def test_a_bad_message_waits_in_quarantine_and_the_rest_lands(play: Play) -> None:
    async def scene(shop: Workshop) -> None:
        shop.peer.messages = [message(0), b'{"no": "event"}', message(1, subject="nobody"), message(2)]
        await shop.describe()
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 4)
        assert (row.counts["accepted"], row.counts["quarantined"]) == (2, 2)
        raws = await shop.parts.db.query(
            shop.parts.tenant,
            "SELECT raw FROM quarantine WHERE tenant = current_tenant() ORDER BY quarantine_no",
        )
        assert bytes(raws[0][0]) == b'{"no": "event"}'

    play(scene)


def test_a_secret_is_in_no_table_and_no_log(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "pa55-that-nobody-sees"
    monkeypatch.setenv("TEST_PEER_SECRET", secret)

    async def scene(shop: Workshop) -> None:
        shop.allow = "env:TEST_PEER_SECRET"
        seen: list[str] = []

        async def fail(place: Any) -> None:
            seen.append(place.resolve("${env:TEST_PEER_SECRET}"))
            raise UnavailableError("SourceUnavailable", f"mqtt://u:{secret}@broker refused {secret}.")

        shop.peer.on_open = fail
        with structlog.testing.capture_logs() as logs:
            await shop.describe(
                "name: s\nkind: peer\nconnection: {secret: '${env:TEST_PEER_SECRET}'}\nbackoff: {first_s: 0.05}"
            )
            async with shop.process():
                row = await shop.until(lambda row: row.state == "waiting")
                shop.peer.on_open = lambda place: refuse(
                    InvalidError("SourceInvalid", f"Denied to {secret}.")
                )
                await shop.until(lambda row: row.state == "failed")
        assert seen[0] == secret
        assert row.error == "mqtt://u:[redacted]@broker refused [redacted]."
        assert secret not in str(logs)
        assert any("redacted" in str(entry) for entry in logs)
        with psycopg.connect(shop.dsns.owner) as owner:
            for table in ("source", "audit", "source_position", "quarantine"):
                assert secret not in str(owner.execute(f"SELECT t::text FROM {table} t").fetchall())

    play(scene)

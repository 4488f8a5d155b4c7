"""Kafka as a source, against a real broker: what is read is there once, whoever reads it and whatever breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.broker import Broker
from gemel.base.clock import now_us
from gemel.base.errors import ConflictError
from gemel.connectors.kafka_source import KafkaSource
from gemel.ingest.events import LINES, decode_body
from gemel.security.certificate import ensure_certificate
from gemel.sources.contract import SourceBatch
from gemel.sources.definition import Limits, parse_definition
from gemel.sources.feeding import Feeder
from gemel.sources.records import Holder, SourceRow, Texts, claim
from support.history import SAMPLES
from support.kafka import new_topic
from support.sources import Workshop, message

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]


def definition(broker: Broker, topic: str, more: str = "", name: str = "s", connection: str = "") -> str:
    return (
        f"name: {name}\nkind: kafka\nconnection: {{servers: '{broker.servers}', topics: [{topic}]{connection}}}\n"
        f"backoff: {{first_s: 0.05, max_s: 0.2}}\n{more}"
    )


def test_events_of_several_partitions_are_read_once_across_restarts(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker, 3)
        for part in range(3):
            broker.send(topic, [message(n) for n in range(part, 60, 3)], partition=part)
        await shop.describe(definition(broker, topic))
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 60)
        assert await shop.values() == [float(n) for n in range(60)]
        broker.send(topic, [message(n) for n in range(60, 70)], partition=1)
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] >= 70)
        assert row.counts["events"] == row.counts["accepted"] + row.counts["late"] == 70
        assert await shop.values() == [float(n) for n in range(70)]

    play(scene)


def test_two_workers_share_partitions_and_lose_nothing_over_rebalances(play: Play, broker: Broker) -> None:
    """Members come and go in the middle of a stream; each event is counted once, whoever read it."""

    async def scene(shop: Workshop) -> None:
        topic, enough, written = new_topic(broker, 4), asyncio.Event(), 0
        shared = f", group: g-{topic}"
        await shop.describe(definition(broker, topic, "limits: {events: 50}", "one", shared))

        async def write() -> None:
            nonlocal written
            while not enough.is_set():
                await asyncio.to_thread(broker.send_all, topic, spread(range(written, written + 100)))
                written += 100

        writing = asyncio.create_task(write())
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] > 200, "one")
            await shop.describe(definition(broker, topic, "limits: {events: 50}", "two", shared))
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 100, "two")
                await shop.want("stopped", "one")
                await shop.until(lambda row: row.state == "stopped", "one")
                await shop.want("started", "one")
                row = await shop.row("one")
                await shop.until(beyond(row.counts["events"]), "one")
                enough.set()
                await writing
                await until_sum(shop, ("one", "two"), "events", written)
        counts = [(await shop.row(name)).counts for name in ("one", "two")]
        assert sum(each["accepted"] + each["late"] for each in counts) == written
        assert [each["duplicate"] for each in counts] == [0, 0]
        assert await shop.values() == [float(n) for n in range(written)]

    play(scene)


def test_a_member_that_lost_its_partition_cannot_commit_what_it_read_of_it(
    play: Play, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database holds up a commit, the group takes the partition away and another reads it, too."""
    opened = []
    start = KafkaSource.start

    async def counted(self: KafkaSource, config: Any) -> None:
        opened.append(config["group.id"])
        await start(self, config)

    monkeypatch.setattr(KafkaSource, "start", counted)

    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker)
        connection = (
            f", group: g-{topic}, settings: {{session.timeout.ms: 1500, max.poll.interval.ms: 1500, "
            "heartbeat.interval.ms: 300}"
        )
        await shop.describe(definition(broker, topic, "limits: {events: 10}", "one", connection))
        broker.send(topic, [message(n) for n in range(10)])
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 10, "one")
            async with shop.parts.db.write(shop.parts.tenant):
                broker.send(topic, [message(n) for n in range(10, 50)])
                await asyncio.sleep(3)
            await shop.describe(definition(broker, topic, "limits: {events: 10}", "two", connection))
            async with shop.parts.db.write(shop.parts.tenant):
                await asyncio.sleep(4)
            await until_sum(shop, ("one", "two"), "events", 50)
        counts = [(await shop.row(name)).counts for name in ("one", "two")]
        assert [each["duplicate"] for each in counts] == [0, 0]
        assert await shop.values() == [float(n) for n in range(50)]

    play(scene)


def test_a_batch_of_parts_that_another_has_read_on_is_refused_whole(play: Play) -> None:
    """The fence itself: of two batches with one beginning, the second is refused, in one commit and later."""

    async def scene(shop: Workshop) -> None:
        feeders = []
        for name in ("one", "two", "three"):
            text = f"name: {name}\nkind: peer\nconnection: {{}}"
            await shop.describe(text)
            held = await claim(shop.parts.db, Holder(shop.parts.tenant, name, name, 30.0))
            assert held is not None
            feeders.append(Feeder(shop.sources(shop.parts).sink, held, parse_definition(text), heard))
        together = (feeder.feed(OneBatch()) for feeder in feeders[:2])
        outcomes = await asyncio.gather(*together, return_exceptions=True)
        outcomes += await asyncio.gather(feeders[2].feed(OneBatch()), return_exceptions=True)
        codes = [each.code if isinstance(each, ConflictError) else str(each) for each in outcomes]
        assert sorted(codes) == ["SourceOvertaken", "SourceOvertaken", "told"]
        assert sum([(await shop.row(name)).counts["events"] for name in ("one", "two", "three")]) == 1

    play(scene)


def test_a_broker_that_is_killed_in_the_middle_of_the_stream_is_waited_for(
    play: Play, tmp_path: Path
) -> None:
    own = Broker(tmp_path)
    own.start()

    async def scene(shop: Workshop) -> None:
        topic = new_topic(own, 2)
        await shop.describe(definition(own, topic, "limits: {events: 20}"))
        async with shop.process():
            for first in range(0, 300, 100):
                await asyncio.to_thread(own.send_all, topic, spread(range(first, first + 100), 2))
                await shop.until(beyond(first))
                own.kill()
                await asyncio.sleep(1)
                await asyncio.to_thread(own.start)
            row = await shop.until(lambda row: row.counts["events"] >= 300)
        assert row.counts["events"] == row.counts["accepted"] + row.counts["late"] == 300
        assert await shop.values() == [float(n) for n in range(300)]

    try:
        play(scene)
    finally:
        own.stop()


def test_what_cannot_be_taken_waits_in_quarantine_under_its_offset(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker)
        values = [message(0), b"{not json", message(1), b'{"specversion": "1.0"}', b"", b"\xff\x00", None]
        broker.send(topic, [*values, message(2)])
        await shop.describe(definition(broker, topic))
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] >= 7)
        assert (row.counts["accepted"], row.counts["quarantined"]) == (3, 4)
        assert await positions(shop) == {f"{topic}/0/{n}" for n in (1, 3, 4, 5)}
        assert await shop.values() == [0.0, 1.0, 2.0]

    play(scene)


def test_any_payload_goes_through_a_mapping_with_key_headers_and_time_of_the_message(
    play: Play, broker: Broker
) -> None:
    mapping = """
version: 2
source: line
time: {path: $sent, format: unix_us}
twins:
  - twin: t{$key}
    values: {temperature: v, label: $headers.site}
"""

    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker, 2)
        headers = [("site", b"north"), ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01".encode())]
        broker.send_all(
            topic,
            [
                {
                    "value": b'{"v": %d}' % n,
                    "key": b"0",
                    "headers": headers,
                    "timestamp": 1_700_000_000_000 + 1000 * n,
                }
                for n in range(5)
            ]
            + [{"value": b'{"v": "x', "key": b"0", "headers": headers}],
        )
        await shop.describe(definition(broker, topic, "mapping: m.yaml"), mapping)
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] >= 6)
        assert row.counts["quarantined"] == 1
        assert await shop.values() == [0.0, 1.0, 2.0, 3.0, 4.0]
        times = await shop.query(
            f"SELECT DISTINCT extract(epoch FROM source_time)::bigint FROM {SAMPLES} AS s ORDER BY 1"
        )
        assert times == [(1_700_000_000 + n,) for n in range(5)]
        assert await shop.query(
            "SELECT DISTINCT trace_id FROM audit WHERE action = 'events.ingest' AND target <> 's (0 events)'"
        ) == [("a" * 32,)]

    play(scene)


def test_events_come_in_batches_and_in_binary_mode(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker)
        batch = b"[" + b",\n".join([message(0), message(1)]) + b"]"
        attributes = {
            "specversion": "1.0",
            "id": "2",
            "source": "/test",
            "type": "t",
            "subject": "t0",
            "time": "2026-01-05T00:00:02Z",
        }
        headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        broken = [*headers[:-1], ("ce_time", b"noon")]
        broker.send_all(
            topic,
            [
                {"value": batch},
                {"value": b'{"temperature": 2}', "headers": headers},
                {"value": b'{"temperature": 3}', "headers": broken},
            ],
        )
        await shop.describe(definition(broker, topic))
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] >= 4)
        assert row.counts["quarantined"] == 1
        assert await shop.values() == [0.0, 1.0, 2.0]

    play(scene)


def test_offsets_that_the_broker_forgot_are_told_of_and_reading_goes_on(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker)
        broker.send(topic, [message(n) for n in range(5)])
        await shop.describe(definition(broker, topic))
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 5)
        broker.send(topic, [message(n) for n in range(5, 20)])
        broker.forget(topic, 0, before=12)
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 13)
            row = await shop.until(lambda row: row.error_code is not None)
        assert row.error_code == "SourcePartRefused"
        assert f"{topic}/0: the broker does not have offset 5, but 12 to 20" in str(row.error)
        assert await shop.values() == [float(n) for n in (*range(5), *range(12, 20))]

    play(scene)


def test_a_source_that_starts_with_the_latest_loses_nothing_from_then_on(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker, 2)
        broker.send_all(topic, spread(range(10), 2))
        await shop.describe(definition(broker, topic, connection=", start: latest"))
        async with shop.process():
            await shop.until(lambda row: row.counts["batches"] > 0)
        broker.send_all(topic, spread(range(10, 20), 2))
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 10)
        assert await shop.values() == [float(n) for n in range(10, 20)]

    play(scene)


def test_a_trial_shows_what_comes_beside_the_worker_and_takes_nothing_from_it(
    play: Play, broker: Broker
) -> None:
    async def scene(shop: Workshop) -> None:
        topic = new_topic(broker, 2)
        broker.send_all(topic, spread(range(10), 2))
        text = definition(broker, topic)
        sources = shop.sources(shop.parts)
        trial = await sources.attempt(shop.parts.tenant, shop.tenant_name, Texts(text))
        assert trial.events >= 1
        assert trial.problems == []
        await shop.describe(text)
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 10)
            trial = await sources.attempt(shop.parts.tenant, shop.tenant_name, Texts(text))
            assert trial.events == 0
            broker.send_all(topic, spread(range(10, 20), 2))
            row = await shop.until(lambda row: row.counts["events"] == 20)
        assert row.failures == 0

    play(scene)


def test_what_is_not_there_is_waited_for_and_what_is_wrong_is_not(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(broker, "absent"))
        async with shop.process():
            row = await shop.until(lambda row: row.state == "waiting")
            assert (row.error_code, "there is no topic absent" in str(row.error)) == (
                "SourceUnavailable",
                True,
            )
            await shop.describe(
                definition(broker, "absent", connection=", settings: {compression.type: best}")
            )
            row = await shop.until(lambda row: row.state == "failed")
            assert row.error_code == "SourceInvalid"
            private = definition(broker, "absent").replace("127.0.0.1", "127.0.0.2")
            await shop.describe(private)
            row = await shop.until(lambda row: row.state == "failed" and row.error_code == "OutboundRefused")

    play(scene)


def test_tls_and_a_password_reach_a_cluster_and_secrets_are_told_nowhere(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_certificate(tmp_path, "127.0.0.1")
    certificate, key = (tmp_path / "tls.crt").read_text(), (tmp_path / "tls.key").read_text()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    own = Broker(
        tmp_path,
        secure=True,
        more="\n".join(
            (
                "listener.name.secure.sasl.enabled.mechanisms=PLAIN",
                f'listener.name.secure.plain.sasl.jaas.config={login} required user_gemel="open-sesame";',
                "ssl.keystore.type=PEM",
                f"ssl.keystore.certificate.chain={escaped(certificate)}",
                f"ssl.keystore.key={escaped(key)}",
            )
        ),
    )
    own.start()

    async def scene(shop: Workshop) -> None:
        topic = new_topic(own)
        own.send(topic, [message(n) for n in range(5)])
        shop.allow = f"env:KAFKA_WORD,{tmp_path}"
        settings = (
            ", settings: {security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: gemel, "
            f"sasl.password: '${{env:KAFKA_WORD}}', ssl.ca.pem: '${{file:{tmp_path}/tls.crt}}'}}"
        )
        text = definition(own, topic, connection=settings).replace(str(own.port), str(own.secure_port))
        monkeypatch.setenv("KAFKA_WORD", "shut-sesame")
        await shop.describe(text)
        async with shop.process():
            row = await shop.until(lambda row: "Authentication failed" in str(row.error))
            assert row.state == "waiting"
            assert "sesame" not in str(row.error)
            monkeypatch.setenv("KAFKA_WORD", "open-sesame")
            await shop.until(lambda row: row.counts["events"] == 5)
        assert await shop.values() == [float(n) for n in range(5)]

    try:
        play(scene)
    finally:
        own.stop()


def escaped(text: str) -> str:
    return text.strip().replace("\n", "\\n")


def spread(numbers: Iterable[int], parts: int = 4) -> list[dict[str, Any]]:
    """Return messages with these numbers, spread over partitions."""
    return [{"value": message(n), "partition": n % parts} for n in numbers]


def beyond(events: int) -> Callable[[SourceRow], bool]:
    return lambda row: row.counts["events"] > events


async def until_sum(shop: Workshop, names: Iterable[str], count: str, total: int) -> None:
    for _ in range(3000):
        found = sum([(await shop.row(name)).counts[count] for name in names])
        if found >= total:
            assert found == total
            return
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def positions(shop: Workshop) -> set[str]:
    return {row[0] for row in await shop.query("SELECT position FROM quarantine")}


async def heard(problem: str | None) -> None:
    raise RuntimeError("told")


@dataclass
class OneBatch:
    """A source of one batch, of a part that it shares and that nobody has read yet."""

    given: bool = False

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        if self.given:
            await asyncio.sleep(60)
        self.given = True
        decoded = decode_body(message(1), LINES)
        return SourceBatch(decoded, now_us(), {"log/0": "1"}, {"log/0": None}, "shared")

    async def commit(self, position: Mapping[str, str]) -> None:
        """Nobody waits for it."""

    async def close(self) -> None:
        """Nothing is open."""

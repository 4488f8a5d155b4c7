"""A broker as a source, against a real Mosquitto: both versions of the protocol, whoever dies when."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gemel.base.errors import InvalidError, UnavailableError
from gemel.security.certificate import ensure_certificate, own_files
from gemel.sources.records import Texts, remove_source
from support.mosquitto import Client, Mosquitto
from support.sources import Workshop, message
from support.sparkplug import EdgeNode, metric

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]
MAPPING = """
version: 2
source: plant
topic: plant/{twin}/+
twins:
  - twin: "{$topic.twin}"
    values: {temperature: v}
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto.durable(tmp_path) as running:
        yield running


def definition(broker: Mosquitto, more: str = "", *, topics: str = "plant/#", **top: Any) -> str:
    own = {"name": "s", "limits": "{events: 50}", "backoff": "{first_s: 0.05, max_s: 0.2}"} | top
    return (
        f"kind: mqtt\nconnection: {{host: 127.0.0.1, port: {broker.port}, topics: ['{topics}']{more}}}\n"
        + "\n".join(f"{key}: {value}" for key, value in own.items())
    )


def events(first: int, end: int) -> list[tuple[str, bytes]]:
    return [("plant/t0/data", message(n)) for n in range(first, end)]


async def send(
    broker: Mosquitto, messages: list[tuple[str, bytes]], qos: int = 1, *, retain: bool = False
) -> None:
    def work() -> None:
        with Client(broker.port) as client:
            client.send(messages, qos, retain=retain)

    await asyncio.to_thread(work)


async def opened(shop: Workshop) -> None:
    """Wait until the source has its session: what is published from then on comes."""
    await shop.until(lambda row: row.counts["batches"] > 0)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_what_is_published_is_in_the_twin_once(play: Play, broker: Mosquitto, version: str) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(broker, f", version: '{version}'"))
        async with shop.process():
            await opened(shop)
            await send(broker, events(0, 400))
            row = await shop.until(lambda row: row.counts["events"] == 400)
            assert (row.state, row.error) == ("running", None)
        # While nobody listens the broker keeps them.
        await send(broker, events(400, 600))
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 600)
        assert (row.counts["accepted"], row.counts["duplicate"]) == (600, 0)
        assert await shop.values() == [float(n) for n in range(600)]

    play(scene)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_topics_become_twins_by_a_mapping_and_poison_waits(
    play: Play, broker: Mosquitto, version: str
) -> None:
    async def scene(shop: Workshop) -> None:
        text = definition(broker, f", version: '{version}'", mapping="m.yaml")
        await shop.describe(text, MAPPING)
        async with shop.process():
            await opened(shop)
            sent = [("plant/t0/x", json.dumps({"v": float(n)}).encode()) for n in range(20)]
            poison = [
                ("plant/t0/x", b"\xff\xfe"), ("plant/a/b/c", b'{"v": 1.0}'), ("plant/t0/x", b""),
                ("plant/nobody/x", b'{"v": 1.0}'), ("plant/t0/x", b'{"v": "hot"}'), ("plant/t0/x", b"[" * 9000),
            ]  # fmt: skip
            mixed = [*sent, *poison]
            random.Random(4).shuffle(mixed)
            await send(broker, mixed)
            row = await shop.until(lambda row: row.counts["events"] == 26)
        assert (row.counts["accepted"], row.counts["quarantined"]) == (20, 6)
        # No source time: each has its own time of receipt, in the order in which they came.
        assert await shop.values() == [json.loads(raw)["v"] for topic, raw in mixed if (topic, raw) in sent]
        rows = await shop.parts.db.query(
            shop.parts.tenant, "SELECT code, raw FROM quarantine WHERE tenant = current_tenant()"
        )
        assert sorted({row[0] for row in rows}) == ["MappingFailed", "TwinUnknown", "WrongType"]
        assert any(b"plant/a/b/c" in bytes(row[1]) for row in rows)

    play(scene)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("mapped", [False, True])
def test_killed_between_commit_and_acknowledgement_nothing_is_doubled(
    play: Play, broker: Mosquitto, version: str, mapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what has neither a time nor an id: the broker's own number of it tells."""

    async def scene(shop: Workshop) -> None:
        text = definition(broker, f", version: '{version}'", **({"mapping": "m.yaml"} if mapped else {}))
        await shop.describe(text, MAPPING if mapped else None)
        from gemel.connectors import mqtt

        acknowledge = mqtt.MqttSource.commit
        committed = asyncio.Event()

        async def die(source: Any, position: Any) -> None:
            if (await shop.row()).counts["events"] >= 300:
                committed.set()
                await asyncio.Event().wait()
            await acknowledge(source, position)

        monkeypatch.setattr(mqtt.MqttSource, "commit", die)
        # The same value again and again is no repeat of a message.
        values = [float(n // 3) for n in range(700)]
        plain = [("plant/t0/x", json.dumps({"v": value}).encode()) for value in values]
        sent = plain if mapped else events(0, 700)
        async with shop.process() as dying:
            await opened(shop)
            await send(broker, sent[:500])
            await committed.wait()
            for runner, task in dying._running.values():
                runner._held = None  # type: ignore[assignment]
                task.cancel()
            before = (await shop.row()).counts["events"]
        monkeypatch.setattr(mqtt.MqttSource, "commit", acknowledge)
        async with shop.process(alone=True):
            await send(broker, sent[500:])
            row = await shop.until(lambda row: row.counts["accepted"] == 700)
            await asyncio.sleep(0.3)
            row = await shop.row()
        assert before < 500
        assert 0 < row.counts["duplicate"] <= 50
        assert (row.counts["accepted"], row.counts["quarantined"]) == (700, 0)
        assert await shop.values() == (values if mapped else [float(n) for n in range(700)])

    play(scene)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_broker_killed_in_the_middle_loses_nothing(play: Play, broker: Mosquitto, seed: int) -> None:
    async def scene(shop: Workshop) -> None:
        rng = random.Random(seed)
        await shop.describe(definition(broker))
        at, total = 0, 1200
        async with shop.process():
            await opened(shop)
            while at < total:
                end = min(total, at + rng.randrange(100, 500))
                await send(broker, events(at, end))
                at = end
                await asyncio.sleep(rng.random() * 0.05)
                how = rng.choice([signal.SIGKILL, signal.SIGTERM])
                if how is signal.SIGKILL:
                    # What is not on its disk yet no client could know of.
                    await asyncio.to_thread(broker.wait_saved)
                broker.stop(how)
                await asyncio.sleep(rng.random() * 0.2)
                broker.start()
            row = await shop.until(lambda row: row.counts["accepted"] == total)
        assert row.counts["quarantined"] == 0
        assert await shop.values() == [float(n) for n in range(total)]

    play(scene)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_two_workers_share_a_subscription(play: Play, broker: Mosquitto, version: str) -> None:
    async def scene(shop: Workshop) -> None:
        shared = "$share/gemel/plant/#"
        for name in ("a", "b"):
            text = definition(broker, f", version: '{version}'", topics=shared, name=name)
            await shop.describe(text)
        async with shop.process(), shop.process():
            fresh = "SELECT 1 FROM source WHERE tenant = current_tenant() AND batches = 0"
            while await shop.parts.db.query(shop.parts.tenant, fresh):  # noqa: ASYNC110 - a row, not ours
                await asyncio.sleep(0.05)
            await send(broker, events(0, 1000))
            sql = "SELECT events, duplicate FROM source WHERE tenant = current_tenant() ORDER BY name"
            rows: list[Any] = []
            async with asyncio.timeout(20):
                while sum(row[0] for row in rows) < 1000:
                    await asyncio.sleep(0.05)
                    rows = await shop.parts.db.query(shop.parts.tenant, sql)
        assert sum(row[0] for row in rows) == 1000
        assert all(row[0] > 100 for row in rows), rows
        assert [row[1] for row in rows] == [0, 0]
        assert sorted(await shop.values()) == [float(n) for n in range(1000)]

    play(scene)


def test_password_and_certificate_are_asked_for(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_certificate(tmp_path, "127.0.0.1")
    files = own_files(tmp_path)
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(tmp_path / "users"), "gemel", "pa55-for-tests"], check=True
    )
    (tmp_path / "users").chmod(0o600)
    secured = Mosquitto(
        tmp_path, "allow_anonymous false", f"password_file {tmp_path}/users",
        f"certfile {files.certificate}", f"keyfile {files.key}",
    )  # fmt: skip

    async def scene(shop: Workshop) -> None:
        shop.allow = f"env:TEST_MQTT_PASSWORD,{tmp_path}"
        login = ", username: gemel, password: '${env:TEST_MQTT_PASSWORD}'"
        trusting = f", tls: {{ca: {files.certificate}}}"
        monkeypatch.setenv("TEST_MQTT_PASSWORD", "another")
        await shop.describe(definition(secured, login + trusting))
        async with shop.process():
            row = await shop.until(lambda row: row.state == "waiting")
            assert row.error_code == "SourceUnavailable"
            assert "not" in str(row.error)
            monkeypatch.setenv("TEST_MQTT_PASSWORD", "pa55-for-tests")
            await opened(shop)

            def publish() -> None:
                with Client(
                    secured.port, username="gemel", password="pa55-for-tests", ca=str(files.certificate)
                ) as client:
                    client.send(events(0, 100))

            await asyncio.to_thread(publish)
            row = await shop.until(lambda row: row.counts["events"] == 100)
            # Nobody vouches for the certificate now.
            await shop.describe(definition(secured, login + ", tls: true"), start=False)
            row = await shop.until(lambda row: row.state == "waiting")
            assert "certificate" in str(row.error)
        assert await shop.values() == [float(n) for n in range(100)]

    with secured:
        play(scene)


def test_described_with_other_topics_the_session_stays_and_follows(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(broker, topics="plant/#"))
        async with shop.process():
            await opened(shop)
            await send(broker, events(0, 10))
            await shop.until(lambda row: row.counts["events"] == 10)
            await shop.want("stopped")
            await shop.until(lambda row: row.state == "stopped")
            await send(broker, events(10, 20))
            await shop.describe(definition(broker, topics="other/+"))
            # What was kept still comes; from then on the new topics alone do.
            row = await shop.until(lambda row: row.counts["events"] == 20)
            await send(broker, events(90, 95))
            await send(broker, [("other/x", message(20))])
            row = await shop.until(lambda row: row.counts["events"] == 21)
            await asyncio.sleep(0.2)
            row = await shop.row()
        assert row.counts["events"] == 21
        assert await shop.values() == [float(n) for n in range(21)]

    play(scene)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_what_is_retained_comes_once_for_a_subscription(play: Play, broker: Mosquitto, version: str) -> None:
    async def scene(shop: Workshop) -> None:
        await send(broker, [("plant/t0/x", b'{"v": 7.0}')], retain=True)
        await shop.describe(definition(broker, f", version: '{version}'", mapping="m.yaml"), MAPPING)
        for _ in range(3):
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] == 1 and row.state == "running")
                await asyncio.sleep(0.2)
        assert await shop.values() == [7.0]

    play(scene)


def test_a_forgotten_session_is_told_of(play: Play, tmp_path: Path) -> None:
    forgetful = Mosquitto(tmp_path, "max_inflight_messages 0", "max_queued_messages 0")

    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(forgetful))
        async with shop.process():
            await opened(shop)
            forgetful.stop()
            forgetful.start()
            row = await shop.until(lambda row: row.error_code == "SourcePartRefused")
            assert "had forgotten the session" in str(row.error)
            await send(forgetful, events(0, 5))
            await shop.until(lambda row: row.counts["events"] == 5)

    with forgetful:
        play(scene)


def test_a_trial_takes_nothing_from_the_source_that_runs(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        text = definition(broker, topics="$share/g/plant/#")
        await shop.describe(text)
        async with shop.process():
            await opened(shop)
            trying = asyncio.create_task(
                shop.sources(shop.parts).attempt(shop.parts.tenant, shop.tenant_name, Texts(text))
            )
            sent = 0
            while not trying.done():  # whenever it has its own session
                await send(broker, events(sent, sent + 5))
                sent += 5
                await asyncio.sleep(0.1)
            tried = await trying
            row = await shop.until(lambda row: row.counts["events"] == sent)
            assert (row.failures, row.state) == (0, "running")
        assert 0 < tried.events <= 20
        assert tried.problems == []

    play(scene)


def test_batches_are_whole_where_the_broker_lets_them_be_in_flight(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(broker, limits="{events: 400}"))
        async with shop.process():
            await opened(shop)
        await send(broker, events(0, 3000))
        before = (await shop.row()).counts["batches"]
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 3000)
        assert row.counts["batches"] - before <= 12

    play(scene)


def test_a_message_that_is_too_long_waits_by_its_beginning(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(broker))
        async with shop.process():
            await opened(shop)
            await send(broker, [*events(0, 3), ("plant/t0/x", b'{"x": "' + b"a" * (9 << 20)), *events(3, 6)])
            row = await shop.until(lambda row: row.counts["events"] == 7)
        assert (row.counts["accepted"], row.counts["quarantined"]) == (6, 1)
        raw, source, read_from = (
            await shop.parts.db.query(
                shop.parts.tenant,
                "SELECT raw, source, read_from FROM quarantine WHERE tenant = current_tenant()",
            )
        )[0]
        assert bytes(raw).startswith(b'{"x": "aaa')
        # It names no source that could be read; which of ours brought it is known.
        assert (source, read_from) == (None, "s")

    play(scene)


def test_qos_0_is_taken_as_it_comes_and_user_properties_are_headers(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        mapping = MAPPING.replace("{$topic.twin}", "{$headers.twin}").replace("plant/{twin}/+", "plant/+")
        await shop.describe(definition(broker, mapping="m.yaml"), mapping)

        def publish() -> None:
            with Client(broker.port, protocol=paho.MQTTv5) as client:
                properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.UserProperty = ("twin", "t0")
                client.paho.publish("plant/x", b'{"v": 3.0}', 0, properties=properties).wait_for_publish(5)

        async with shop.process():
            await opened(shop)
            await asyncio.to_thread(publish)
            await shop.until(lambda row: row.counts["events"] == 1)
        assert await shop.values() == [3.0]

    play(scene)


def test_removed_and_described_again_it_goes_on_in_its_session(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(broker))
        async with shop.process():
            await opened(shop)
            await shop.want("stopped")
            await shop.until(lambda row: row.state == "stopped")
        await send(broker, events(0, 10))
        async with shop.parts.db.write(shop.parts.tenant) as tx:
            await remove_source(tx, "s")
        await shop.describe(definition(broker))
        async with shop.process():
            await shop.until(lambda row: row.counts["accepted"] == 10)

    play(scene)


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        ("{host: h, topic: a}", "Is topic meant to be it"),
        ("{host: h, topics: ['a/#/b']}", "stand alone"),
        ("{host: h, topics: ['$share/g']}", "GROUP/FILTER"),
        ("{host: h, topics: []}", "1 to 64"),
        ("{host: h, topics: a, version: 4}", "Use 5 or 3.1.1"),
        ("{host: h, topics: a, password: clear}", "in clear"),
        ("{host: h, topics: a, username: u, password: '${env:NOT_ALLOWED}'}", "NOT_ALLOWED"),
        ("{host: h, topics: a, tls: {ca: /etc/ca.pem}}", "/etc/ca.pem"),
        ("{host: h, topics: a, receive_maximum: 40000}", "receive_maximum"),
    ],
)
def test_what_is_wrong_with_a_description_is_told(play: Play, connection: str, told: str) -> None:
    async def scene(shop: Workshop) -> None:
        with pytest.raises(InvalidError) as raised:
            await shop.describe(f"name: s\nkind: mqtt\nconnection: {connection}")
        assert told in str(raised.value)

    play(scene)


def test_brokers_on_private_addresses_are_the_operators_to_allow(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        await shop.describe(definition(broker).replace("127.0.0.1", "127.0.0.2"))
        async with shop.process():
            row = await shop.until(lambda row: row.state == "failed")
        assert row.error_code == "OutboundRefused"
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await shop.sources(shop.parts).attempt(
                shop.parts.tenant,
                shop.tenant_name,
                Texts(definition(broker).replace(f"port: {broker.port}", "port: 1")),
            )

    play(scene)


def test_sparkplug_nodes_are_born_lost_found_and_die(play: Play, broker: Mosquitto) -> None:
    async def scene(shop: Workshop) -> None:
        more = ", sparkplug: {node_twin: t0, device_twin: '{device}'}"
        text = definition(broker, more, topics="spBv1.0/g/#")
        await shop.describe(text)
        with EdgeNode(broker.port) as node:
            async with shop.process():
                await opened(shop)
                node.be_born(1.0, 1)
                for n in range(2, 6):
                    node.say("NDATA", metric(None, float(n), alias=1))
                await shop.until(lambda row: row.counts["accepted"] == 6)
                # A message is lost: the node is asked, and born again.
                node.say("NDATA", metric(None, 6.0, alias=1), skip=1)
                await asyncio.to_thread(node.wait_reborn, 2)
                await shop.until(lambda row: row.counts["accepted"] == 9)
            # While nobody listens it goes on; the next process knows its aliases, and asks for all of it.
            node.say("NDATA", metric(None, 7.0, alias=1))
            async with shop.process():
                await asyncio.to_thread(node.wait_reborn, 3)
                await shop.until(lambda row: row.counts["accepted"] == 12)
                node.die()
                row = await shop.until(lambda row: row.counts["accepted"] == 14)
        assert row.counts["quarantined"] == 0
        assert await shop.values() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0, 7.0, 9.0, 9.0]
        sql = "SELECT quality, num FROM latest WHERE tenant = current_tenant() AND num IS NOT NULL"
        assert await shop.parts.db.query(shop.parts.tenant, sql) == [(1, 9.0), (1, 9.0)]

    play(scene)

"""The same load and model through real brokers, and out to receivers of a route, with blows to those as well.

A file of its own, so that it runs beside test_torture.py on another core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from bench.broker import Broker
from bench.platform import Platform, free_port, running
from support.mosquitto import Mosquitto
from support.tcp_proxy import TcpProxy
from support.torture import blows
from support.torture.dialects import DEVICE, DEVICE_MAPPING
from support.torture.run import Blow, Scene, TortureRun
from support.torture.sinks import KafkaSink, RouteSink, WebhookSink
from support.torture.stage import learn
from support.torture.ways import KafkaWay, MqttWay

NETWORK: list[Blow] = [blows.cut_network, blows.refuse_network, blows.hush_network]
BROKER: list[Blow] = [blows.kill_broker, blows.restart_broker]
SERVER: list[Blow] = [blows.kill_server, blows.kill_database]
BLOWS = 3
BATCH_MAX = 100
"""Of notifications; a receiver can be told so many again when who told them dies before it notes how far it is."""

Table = dict[str, Counter[str]]


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running(environment={"GEMEL_OUTBOUND_ALLOW": "127.0.0.1"}) as platform:
        learn(platform)
        yield platform


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto.durable(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, TcpProxy]]:
    """A broker of this module's own, and the proxy through which it tells all to come."""
    port = free_port()
    with TcpProxy(port) as proxy:
        broker = Broker(
            tmp_path_factory.mktemp("kafka"),
            f"advertised.listeners=PLAIN://127.0.0.1:{proxy.port}",
            port=port,
        )
        try:
            broker.start()
            yield broker, proxy
        finally:
            broker.stop()


def test_all_equals_the_model_through_mqtt(
    platform: Platform, mosquitto: Mosquitto, survived: Table, fault_seed: int
) -> None:
    scene = Scene(way=lambda count: MqttWay(platform, mosquitto, count))
    run = TortureRun(platform, fault_seed, "mqtt", scene)
    run.go(run.rng.sample([*NETWORK, *BROKER, *SERVER], BLOWS))
    survived["mqtt"] += run.counts


def test_all_equals_the_model_through_a_mapping(
    platform: Platform, mosquitto: Mosquitto, survived: Table, fault_seed: int
) -> None:
    scene = Scene(way=lambda count: MqttWay(platform, mosquitto, count, DEVICE_MAPPING), dialect=DEVICE)
    run = TortureRun(platform, fault_seed, "mapping", scene)
    run.go(run.rng.sample([*NETWORK, *BROKER, *SERVER], BLOWS))
    survived["mapping"] += run.counts


def test_all_equals_the_model_through_kafka(
    platform: Platform, kafka: tuple[Broker, TcpProxy], survived: Table, fault_seed: int
) -> None:
    scene = Scene(way=lambda count: KafkaWay(platform, *kafka, count))
    run = TortureRun(platform, fault_seed, "kafka", scene)
    run.go(run.rng.sample([*NETWORK, *BROKER, *SERVER, blows.rebalance], BLOWS))
    survived["kafka"] += run.counts


def test_a_webhook_is_told_everything_in_order(platform: Platform, survived: Table, fault_seed: int) -> None:
    scene = Scene(sink=lambda: RouteSink(platform, WebhookSink(fault_seed)))
    run = TortureRun(platform, fault_seed, "webhook", scene)
    run.go(run.rng.sample([*SERVER, blows.kill_receiver, blows.kill_receiver], BLOWS))
    assert run.counts["told again"] <= BLOWS * BATCH_MAX, "too much was told again"
    survived["webhook"] += run.counts


def test_a_topic_is_told_everything_in_order(
    platform: Platform, kafka: tuple[Broker, TcpProxy], survived: Table, fault_seed: int
) -> None:
    broker, proxy = kafka
    scene = Scene(sink=lambda: RouteSink(platform, KafkaSink(broker)), broker=broker, links=[proxy])
    run = TortureRun(platform, fault_seed, "kafka-sink", scene)
    run.go(run.rng.sample([*NETWORK, *BROKER, *SERVER], BLOWS))
    survived["kafka-sink"] += run.counts

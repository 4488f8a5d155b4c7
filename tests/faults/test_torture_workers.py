"""Two workers of a Kafka group, each in a server of its own on one database: whichever is killed, the other goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from bench.broker import Broker
from bench.platform import Platform, free_port
from gemel.store.server import BundledServer
from support.tcp_proxy import TcpProxy
from support.torture import blows
from support.torture.run import Blow, Scene, TortureRun
from support.torture.stage import learn, two_servers
from support.torture.ways import KafkaWay

KILLS: list[Blow] = [blows.kill_worker, blows.kill_worker, blows.kill_server]
OTHERS: list[Blow] = [blows.cut_network, blows.hush_network, blows.kill_broker, blows.rebalance]


@pytest.fixture(scope="module")
def servers(cluster: BundledServer) -> Iterator[tuple[Platform, Platform]]:
    with two_servers(cluster, {"GEMEL_OUTBOUND_ALLOW": "127.0.0.1"}) as both:
        learn(both[0])
        yield both
        for platform in both:
            log = (platform.data_dir.parent / "up.log").read_text("utf-8")
            assert "source taken" in log, "a server that never had a worker"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, TcpProxy]]:
    """A broker of this module's own, and the proxy through which it tells all to come."""
    port = free_port()
    with TcpProxy(port) as proxy:
        listener = f"advertised.listeners=PLAIN://127.0.0.1:{proxy.port}"
        broker = Broker(tmp_path_factory.mktemp("kafka"), listener, port=port)
        try:
            broker.start()
            yield broker, proxy
        finally:
            broker.stop()


def test_all_equals_the_model_whichever_worker_is_killed(
    servers: tuple[Platform, Platform],
    kafka: tuple[Broker, TcpProxy],
    survived: dict[str, Counter[str]],
    costly_seed: int,
) -> None:
    platform, worker = servers
    scene = Scene(way=lambda count: KafkaWay(platform, *kafka, count, worker), worker=worker)
    run = TortureRun(platform, costly_seed, "workers", scene)
    run.go([run.rng.choice(KILLS), run.rng.choice(OTHERS), run.rng.choice(KILLS)])
    survived["workers"] += run.counts

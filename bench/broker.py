"""A real Kafka broker in KRaft mode on loopback: started, stopped, killed, and written to."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.platform import free_port

__all__ = ["Broker"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gemel/brokers")
START_S_MAX = 90.0
ASK_S = 30.0
QUIET = {"log_level": 0}
CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,SECURE:SASL_SSL
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
auto.create.topics.enable=false
log.flush.interval.messages=1
log.retention.check.interval.ms=1000
{more}
"""


@dataclass
class Broker:
    """One broker that keeps its data and its port over a restart; `servers` is its plain listener."""

    folder: Path
    more: str = ""
    secure: bool = False
    port: int = field(default_factory=free_port)
    secure_port: int = field(default_factory=free_port)
    _controller: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        """Where it answers."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, on the data of the last run, and wait until it answers."""
        config = self.folder / "server.properties"
        if not config.exists():
            listeners = f"PLAIN://127.0.0.1:{self.port}"
            if self.secure:
                listeners += f",SECURE://127.0.0.1:{self.secure_port}"
            config.write_text(
                CONFIG.format(
                    controller=self._controller, listeners=listeners, folder=self.folder, more=self.more
                )
            )
            name = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            _java("kafka.tools.StorageTool", "format", "-t", name, "-c", str(config)).wait(ASK_S)
        self._process = _java("kafka.Kafka", str(config), log=self.folder / "broker.log")
        self._wait()

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Shut down in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(ASK_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def admin(self) -> AdminClient:
        """Return a client to administer it, to be held for as long as it is asked."""
        return AdminClient({"bootstrap.servers": self.servers, **QUIET})

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> None:
        """Make a topic."""
        admin = self.admin()  # held for as long as it is asked
        admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(ASK_S)

    def send(self, topic: str, values: Iterable[bytes | None], **options: Any) -> None:
        """Write values to a topic and wait until all are acknowledged; `partition`, `key`, `headers` are of all."""
        self.send_all(topic, [{"value": value, **options} for value in values])

    def send_all(self, topic: str, messages: Sequence[dict[str, Any]]) -> None:
        """Write messages, each with what it has of value, key, partition, headers and timestamp."""
        faults: list[Any] = []
        producer = Producer(
            {"bootstrap.servers": self.servers, "linger.ms": 5, "queue.buffering.max.messages": 0, **QUIET}
        )
        for message in messages:
            producer.produce(
                topic, on_delivery=lambda error, _: faults.append(error) if error else None, **message
            )
        left = producer.flush(ASK_S)
        assert left == 0, left
        assert faults == []

    def forget(self, topic: str, partition: int, *, before: int) -> None:
        """Have the broker forget what stands before an offset, as its retention would."""
        admin = self.admin()
        (told,) = admin.delete_records([TopicPartition(topic, partition, before)]).values()
        told.result(ASK_S)

    def read(self, topic: str, count: int) -> list[Any]:
        """Return the first messages of a topic."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "reader", **QUIET})
        try:
            known = consumer.list_topics(topic, timeout=ASK_S).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in known])
            found: list[Any] = []
            deadline_s = time.monotonic() + ASK_S
            while len(found) < count and time.monotonic() < deadline_s:
                found += [each for each in consumer.consume(count - len(found), 0.5) if each.error() is None]
            return found
        finally:
            consumer.close()

    def _wait(self) -> None:
        deadline_s = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline_s:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "broker.log").read_text()[-2000:]
            try:
                self.admin().list_topics(timeout=2)
            except KafkaException:
                time.sleep(0.2)
            else:
                return
        raise AssertionError(f"the broker did not answer within {START_S_MAX:.0f} s")


def _java(*arguments: str, log: Path | None = None) -> subprocess.Popen[bytes]:
    homes = sorted(CACHE.glob("kafka-*"))
    assert homes, f"there is no Kafka under {CACHE}: run tools/brokers.sh"
    command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{homes[-1]}/*"]
    out = subprocess.DEVNULL if log is None else log.open("ab")
    try:
        return subprocess.Popen([*command, *arguments], stdout=out, stderr=subprocess.STDOUT)
    finally:
        if log is not None:
            out.close()  # type: ignore[union-attr]

"""How much a broker keeps for who is away, against real brokers with small limits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gemel.connectors.mqtt_probe import probe_queue
from gemel.outbound import OutboundPolicy
from gemel.sources.contract import QueueProbe
from gemel.sources.definition import parse_definition
from gemel.sources.permits import Permits, Place
from support.mosquitto import Client, Mosquitto

LOCAL = OutboundPolicy.parse("127.0.0.1")


def probed(broker: Mosquitto, version: str, messages: int = 300) -> QueueProbe:
    connection = f"{{host: 127.0.0.1, port: {broker.port}, topics: [a], version: '{version}'}}"
    text = f"name: s\nkind: mqtt\nconnection: {connection}"
    return asyncio.run(probe_queue(parse_definition(text), Place("t", Permits()), LOCAL, messages))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_what_a_broker_drops_is_found_out(tmp_path: Path, version: str) -> None:
    with Mosquitto(tmp_path, "max_queued_messages 40", "max_inflight_messages 10") as broker:
        found = probed(broker, version)
        assert found.sent == 300
        assert 40 <= found.kept <= 50
        # Its own traces are gone: a session of its name is none that was kept.
        with Client(broker.port) as client:
            client.subscribe("gemel/probe/#")
            assert client.came == []


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_limit_in_bytes_is_found_out(tmp_path: Path, version: str) -> None:
    with Mosquitto(
        tmp_path, "max_queued_messages 0", "max_queued_bytes 6400", "max_inflight_messages 10"
    ) as broker:
        assert 50 <= probed(broker, version).kept < 200


def test_a_broker_without_limits_keeps_all(tmp_path: Path) -> None:
    with Mosquitto.durable(tmp_path) as broker:
        assert probed(broker, "5", 5000) == QueueProbe(5000, 5000, probed(broker, "5").receive_maximum)

"""The Kafka broker that tests share."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.broker import Broker

__all__ = ["broker", "new_topic"]


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A running broker; tests take topics of their own."""
    folder = Path(tempfile.mkdtemp(prefix="gemel-kafka-"))
    running = Broker(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def new_topic(broker: Broker, partitions: int = 1, **config: str) -> str:
    """Make a topic that no other test has."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    broker.create_topic(name, partitions, **config)
    return name

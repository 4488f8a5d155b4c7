"""Batches to MQTT brokers, as a sender."""

from __future__ import annotations

from dataclasses import dataclass

from gemel.outbound import Outbound
from gemel.routing.batches import Batch
from gemel.routing.endpoints import Endpoint
from gemel.routing.publishing import publish
from gemel.routing.sending import Trouble

__all__ = ["MqttSender"]


@dataclass(frozen=True, slots=True)
class MqttSender:
    """Publishes to brokers that may be called, each batch on a connection of its own."""

    outbound: Outbound

    async def send(self, endpoint: Endpoint, batch: Batch, name: str) -> Trouble | None:
        """Publish a batch; None once the broker acknowledged every event of it. Raises as `publish` does."""
        sent = (name, batch.body)
        await publish(self.outbound, endpoint.url, endpoint.settings, endpoint.headers, sent)
        return None

    async def close(self) -> None:
        """Do nothing: no connection outlives its batch."""

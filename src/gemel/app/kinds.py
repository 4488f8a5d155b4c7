"""Which kinds of sources there are. What a kind needs of an extra, it imports when it is opened."""

from __future__ import annotations

from gemel.connectors.folder import FolderKind
from gemel.connectors.kafka import KafkaKind
from gemel.connectors.mqtt import MqttKind
from gemel.connectors.opcua import OpcUaKind
from gemel.connectors.push import PushKind
from gemel.outbound import Outbound, OutboundPolicy
from gemel.sources.contract import Kind

__all__ = ["source_kinds"]


def source_kinds(policy: OutboundPolicy, outbound: Outbound, ahead_us: int) -> dict[str, Kind]:
    """Return the kinds by the name that descriptions call them.

    `policy` says which hosts may be called, and `ahead_us` how far ahead of our clock source times may be.
    """
    return {
        "folder": FolderKind(),
        "kafka": KafkaKind(outbound),
        "mqtt": MqttKind(policy),
        "opcua": OpcUaKind(policy, ahead_us),
        "push": PushKind(),
    }

"""Which kinds of sources there are. What a kind needs of an extra, it imports when it is opened."""

from __future__ import annotations

from gemel.connectors.folder import FolderKind
from gemel.connectors.mqtt import MqttKind
from gemel.connectors.opcua import OpcUaKind
from gemel.outbound import OutboundPolicy
from gemel.sources.contract import Kind

__all__ = ["source_kinds"]


def source_kinds(policy: OutboundPolicy) -> dict[str, Kind]:
    """Return the kinds by the name that descriptions call them; `policy` says which hosts may be called."""
    return {"folder": FolderKind(), "mqtt": MqttKind(policy), "opcua": OpcUaKind(policy)}

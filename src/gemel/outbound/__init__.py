"""The one way this platform calls out: http and https, to public addresses or to those that are allowed."""

from gemel.outbound.client import Outbound, OutboundAnswer
from gemel.outbound.policy import OutboundPolicy
from gemel.outbound.target import Target, parse_target

__all__ = ["Outbound", "OutboundAnswer", "OutboundPolicy", "Target", "parse_target"]

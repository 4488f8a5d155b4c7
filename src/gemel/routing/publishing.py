"""Notifications on their way to an MQTT broker: each its own message, with QoS 1."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from gemel.base.errors import InvalidError
from gemel.outbound import Outbound
from gemel.outbound.mqtt import Broker, MqttConnection, Outgoing
from gemel.outbound.mqtt_wire import Hello
from gemel.outbound.target import host_name

__all__ = ["BrokerTarget", "broker_target", "connect", "outgoing"]

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
LEVELS: Final = {"3.1.1": 4, "5": 5}
TOPIC: Final = "gemel/{twin}/{type}"
TOPIC_CHARS_MAX: Final = 512
HEADERS: Final[dict[str, str]] = {"content-type": "application/cloudevents+json"}
NOT_IN_TOPICS: Final = str.maketrans({"+": "_", "#": "_", "/": "_", "\0": "_"})


class _Named(msgspec.Struct):
    """What the topic of a notification is made of."""

    type: str
    source: str
    subject: str = ""
    traceparent: str | None = None

    @property
    def twin(self) -> str:
        """The twin that it is of: telemetry names it in its source, all else in its subject."""
        if self.type == "microsoft.iot.telemetry":
            return self.source.rpartition("/")[2]
        return self.subject.partition("/")[0]


class BrokerTarget(NamedTuple):
    """Where notifications are published: to which broker, and to which topics."""

    host: str
    port: int
    is_encrypted: bool
    topic: str


def broker_target(url: str) -> BrokerTarget:
    """Read the URL of an endpoint of kind mqtt. Raises InvalidError (OutboundRefused)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = SplitResult("", "", "", "", ""), None, None
    topic = parts.path.strip("/") or TOPIC
    odd = set(topic.replace("{twin}", "").replace("{type}", "")) & set("+{}\0")
    beside = parts.query or "#" in url or "@" in parts.netloc or len(topic) > TOPIC_CHARS_MAX
    if parts.scheme not in PORTS or not host or port == 0 or beside or odd:
        hint = "As in mqtts://broker.example.com/plant/{twin}/{type}; a login stands by itself."
        raise InvalidError("OutboundRefused", "The URL is not that of a broker and a topic.", hint)
    return BrokerTarget(host_name(host), port or PORTS[parts.scheme], parts.scheme == "mqtts", topic)


async def connect(
    outbound: Outbound, url: str, settings: Mapping[str, Any], login: Mapping[str, str], route: str
) -> MqttConnection:
    """Connect to the broker of an endpoint, for one route. Raises as `MqttConnection.open`."""
    target = broker_target(url)
    tls = (outbound.tls or ssl.create_default_context()) if target.is_encrypted else None
    hello = Hello(
        LEVELS[settings["version"]], f"gemel-route-{route}",
        username=login.get("username"), password=login.get("password"),
    )  # fmt: skip
    return await MqttConnection.open(Broker(target.host, target.port, tls), hello, outbound.policy)


def outgoing(event: bytes, topic: str) -> Outgoing:
    """Return the message of a notification, under a topic in which its twin and type are filled in."""
    named = msgspec.json.decode(event, type=_Named)
    for place, value in (("{twin}", named.twin), ("{type}", named.type)):
        topic = topic.replace(place, value.translate(NOT_IN_TOPICS) or "_")
    trace = {} if named.traceparent is None else {"traceparent": named.traceparent}
    return Outgoing(topic, event, HEADERS | trace)

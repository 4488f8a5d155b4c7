"""What clients of Kafka are made with: the addresses and settings that may be given, and the library, if there is one.

Of librdkafka's settings those are taken that say how to reach a cluster and who one is. Not those that load
libraries, run programs or read files: descriptions come from people who may not do so on this machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from gemel.base.errors import EnvironmentFaultError

__all__ = [
    "SECRETS",
    "SETTINGS",
    "client_config",
    "kafka_library",
    "server_and_topic",
    "server_list",
    "setting_fault",
]

SECRETS: Final = ("sasl.password", "ssl.key.pem", "ssl.key.password")
"""Settings whose values are secret."""
SETTINGS: Final = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "ssl.cipher.suites",
    "client.id",
    "client.rack",
    "client.dns.lookup",
    "broker.address.family",
    "socket.keepalive.enable",
    "socket.connection.setup.timeout.ms",
    "connections.max.idle.ms",
    "message.max.bytes",
    "compression.type",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "isolation.level",
    *SECRETS,
)
"""Settings of librdkafka that may be given."""
TEXT_MAX: Final = 64 << 10
SERVERS_MAX: Final = 16


def setting_fault(name: object, value: object) -> str | None:
    """Say what is wrong with a setting that is given, or None."""
    if name not in SETTINGS:
        return f"is not a setting that may be given; known: {', '.join(SETTINGS)}"
    if not isinstance(value, (str, int, bool)) or len(str(value)) > TEXT_MAX or "\0" in str(value):
        return "must be a text, a whole number, true or false"
    return None


def server_list(text: str) -> list[str]:
    """Return the `host:port` of a list between commas; a port that is left out is 9092. Raises ValueError."""
    found = []
    for entry in filter(None, map(str.strip, text.split(","))):
        host, colon, port = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "")
        host, port = (host, port) if colon else (entry, "")
        if not host or any(character in host for character in "/@ \t\r\n") or (colon and not _is_port(port)):
            raise ValueError(f"{entry[:80]!r} is not host:port")
        found.append(f"{host}:{port or 9092}")
    if not 0 < len(found) <= SERVERS_MAX:
        raise ValueError(f"names {len(found)} servers; 1 to {SERVERS_MAX} are taken")
    return found


def server_and_topic(url: str) -> tuple[list[str], str]:
    """Return the servers and the topic of `kafka://host:port,…/topic`. Raises ValueError."""
    servers, slash, topic = url.removeprefix("kafka://").partition("/")
    if not url.startswith("kafka://") or not slash or not topic or "/" in topic or len(topic) > 249:
        raise ValueError("it is not kafka://host:port/topic")
    return server_list(servers), topic


def client_config(
    servers: list[str], settings: Mapping[str, Any], resolve: Callable[[str], str]
) -> dict[str, Any]:
    """Return what a client is made with; texts have their references to secrets resolved by `resolve`."""
    given = {name: resolve(value) if isinstance(value, str) else value for name, value in settings.items()}
    return {
        "client.id": "gemel",
        **given,
        "bootstrap.servers": ",".join(servers),
        # What it has to say of its connections comes by its errors; stderr is not a place for it.
        "logger": _quiet(),
        "log.connection.close": False,
    }


def kafka_library() -> ModuleType:
    """Return confluent_kafka. Raises EnvironmentFaultError (ExtraMissing) where it is not installed."""
    try:
        import confluent_kafka
    except ImportError as error:
        message = "Kafka needs confluent-kafka on the server."
        raise EnvironmentFaultError("ExtraMissing", message, "pip install 'gemel[kafka]' there.") from error
    return confluent_kafka


def _quiet() -> logging.Logger:
    logger = logging.getLogger("gemel.librdkafka")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65_536

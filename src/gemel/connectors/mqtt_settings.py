"""What a description of a source of kind `mqtt` says: the broker, the session, and what is subscribed to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from gemel.base.errors import UnavailableError
from gemel.connectors.sparkplug import NodeNames
from gemel.outbound.mqtt import Broker
from gemel.outbound.mqtt_wire import Hello
from gemel.sources.definition import Definition
from gemel.sources.fields import Fields
from gemel.sources.permits import Place

__all__ = ["MqttSettings", "broker_of", "hello_of", "read_settings"]

LEVELS: Final = {"3.1.1": 4, "5": 5}
TOPICS_MAX: Final = 64
TOPIC_BYTES_MAX: Final = 1024
RECEIVE_MAX: Final = 30_000
"""Less than half of all packet ids, so that of two it can be said which is the later one."""
DAY_S: Final = 86_400
SHARED: Final = "$share/"
NODE_TWIN: Final = "{group}-{edge}"
DEVICE_TWIN: Final = "{group}-{edge}-{device}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: of who vouches for the broker (the usual authorities if None), and of our own certificate."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """A connection as described; `username` and `password` may hold references. `tls` None: not encrypted."""

    host: str
    port: int
    level: int
    client_id: str
    topics: tuple[str, ...]
    username: str | None
    password: str | None = field(repr=False)
    tls: TlsFiles | None
    keepalive_s: int
    session_expiry_s: int
    receive_maximum: int
    sparkplug: NodeNames | None

    def for_trial(self, suffix: str) -> MqttSettings:
        """Return the same for a look that leaves no trace: under another name, and beside shared subscriptions."""
        topics = tuple(topic.split("/", 2)[2] if topic.startswith(SHARED) else topic for topic in self.topics)
        return replace(self, client_id=f"{self.client_id}-{suffix}", topics=topics, session_expiry_s=0)


def read_settings(definition: Definition, place: Place) -> MqttSettings:
    """Read the connection of a description. Raises InvalidError (SourceInvalid, SourceNotAllowed)."""
    fields = definition.connection_fields()
    version = str(fields.take("version", "5"))
    if version not in LEVELS:
        raise fields.fault("version", f"is {version[:20]!r}", "Use 5 or 3.1.1.")
    tls = _tls(fields, place)
    events = definition.limits.events_max
    found = MqttSettings(
        host=fields.text("host"),
        port=fields.whole("port", 1883 if tls is None else 8883, 1, 65_535),
        level=LEVELS[version],
        client_id=fields.text("client_id", f"gemel-{place.tenant_name}-{definition.name}"),
        topics=_topics(fields),
        username=fields.text("username", None),
        password=fields.text("password", None),
        tls=tls,
        keepalive_s=fields.whole("keepalive_s", 60, 5, 3600),
        session_expiry_s=fields.whole("session_expiry_s", 7 * DAY_S, 60, 0xFFFF_FFFF),
        receive_maximum=fields.whole("receive_maximum", min(RECEIVE_MAX, 3 * events), 1, RECEIVE_MAX),
        sparkplug=_sparkplug(fields),
    )
    fields.finish()
    if found.password is not None and found.username is None:
        raise fields.fault("username", "is missing, and there is a password")
    place.check(f"{found.username or ''} {found.password or ''}")
    return found


def broker_of(settings: MqttSettings, place: Place) -> Broker:
    """Return where the broker is. Raises InvalidError (SourceNotAllowed), UnavailableError (SecretMissing)."""
    files = settings.tls
    if files is None:
        return Broker(settings.host, settings.port)
    try:
        context = ssl.create_default_context(cafile=_file(files.ca, place))
        if files.certificate is not None:
            context.load_cert_chain(_file(files.certificate, place) or "", _file(files.key, place))
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(name for name in (files.ca, files.certificate, files.key) if name)
        raise UnavailableError("SecretMissing", f"Of {names} one cannot be read: {error}.") from error
    return Broker(settings.host, settings.port, context)


def hello_of(settings: MqttSettings, place: Place, *, fresh: bool) -> Hello:
    """Return what we say of ourselves, with the secrets. Raises UnavailableError (SecretMissing)."""
    return Hello(
        level=settings.level,
        client_id=settings.client_id,
        keepalive_s=settings.keepalive_s,
        fresh=fresh,
        expiry_s=settings.session_expiry_s,
        receive_maximum=settings.receive_maximum,
        username=None if settings.username is None else place.resolve(settings.username),
        password=None if settings.password is None else place.resolve(settings.password),
    )


def _tls(fields: Fields, place: Place) -> TlsFiles | None:
    raw = fields.take("tls", False)
    if isinstance(raw, bool):
        return TlsFiles() if raw else None
    inner = Fields("connection.tls", raw)
    found = TlsFiles(inner.text("ca", None), inner.text("certificate", None), inner.text("key", None))
    inner.finish()
    for name in filter(None, (found.ca, found.certificate, found.key)):
        place.folder(name)
    if found.key is not None and found.certificate is None:
        raise inner.fault("certificate", "is missing, and there is a key")
    return found


def _sparkplug(fields: Fields) -> NodeNames | None:
    raw = fields.take("sparkplug", False)
    if isinstance(raw, bool):
        return NodeNames(NODE_TWIN, DEVICE_TWIN) if raw else None
    inner = Fields("connection.sparkplug", raw)
    ignore = inner.take("ignore", [])
    if not isinstance(ignore, list) or not all(isinstance(each, str) for each in ignore):
        raise inner.fault("ignore", "must be a list of names of metrics", 'As in ["Properties/*"].')
    found = NodeNames(
        inner.text("node_twin", NODE_TWIN), inner.text("device_twin", DEVICE_TWIN), tuple(ignore)
    )
    inner.finish()
    return found


def _topics(fields: Fields) -> tuple[str, ...]:
    raw = fields.take("topics")
    topics = [raw] if isinstance(raw, str) else raw
    if not isinstance(topics, list) or not 0 < len(topics) <= TOPICS_MAX:
        raise fields.fault("topics", f"must be a list of 1 to {TOPICS_MAX} topic filters")
    for topic in topics:
        if not isinstance(topic, str) or (problem := _topic_fault(topic)):
            said = f"{str(topic)[:80]!r} is no topic filter"
            raise fields.fault("topics", said if not isinstance(topic, str) else f"{said}: {problem}")
    if len(set(topics)) < len(topics):
        raise fields.fault("topics", "names one twice")
    return tuple(topics)


def _topic_fault(topic: str) -> str | None:
    if not topic or "\0" in topic or len(topic.encode("utf-8", "replace")) > TOPIC_BYTES_MAX:
        return f"it has 1 to {TOPIC_BYTES_MAX} bytes"
    if topic.startswith(SHARED):
        parts = topic.split("/", 2)
        if len(parts) < 3 or not parts[1] or not parts[2] or set(parts[1]) & set("+#"):
            return "a shared one is $share/GROUP/FILTER"
        topic = parts[2]
    levels = topic.split("/")
    for place, level in enumerate(levels):
        if ("#" in level and (level != "#" or place < len(levels) - 1)) or ("+" in level and level != "+"):
            return "+ and # stand alone between slashes, and # at the end"
    return None


def _file(path: str | None, place: Place) -> str | None:
    return None if path is None else str(Path(place.folder(path)))

"""What a description of a Kafka source may say, and how messages become events, without a broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given

from gemel.base.errors import Detail, InvalidError
from gemel.connectors.kafka import KafkaKind
from gemel.connectors.kafka_messages import EventReader, traces_of
from gemel.connectors.message_traces import with_traces
from gemel.ingest.events import Event
from gemel.outbound import Outbound, OutboundPolicy
from gemel.outbound.kafka import server_list
from gemel.sources.definition import parse_definition
from gemel.sources.permits import Permits, Place
from support.payloads import payloads

GOOD = "servers: 'k:9092', topics: [a]"
EVENT = b'{"specversion": "1.0", "id": "%d", "source": "s", "type": "t", "subject": "x", "data": {"v": %d}}'


@dataclass
class FakeMessage:
    """A message as the library gives it."""

    body: bytes
    at: int = 0
    named: list[tuple[str, bytes]] | None = field(default=None)

    def topic(self) -> str:
        return "a"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes:
        return self.body

    def headers(self) -> Any:
        return self.named


def check(connection: str, more: str = "", mapping: str | None = None, allow: str = "") -> None:
    definition = parse_definition(f"name: s\nkind: kafka\nconnection: {{{connection}}}\n{more}", mapping)
    kind = KafkaKind(Outbound(OutboundPolicy()))
    kind.check(definition, Place("acme", Permits.parse(allow)))


def test_a_whole_description_is_taken() -> None:
    settings = "settings: {security.protocol: SASL_SSL, sasl.username: u, sasl.password: '${env:P}'}"
    check(f"{GOOD}, group: g, start: latest, {settings}", allow="acme=env:P")


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ("topics: [a]", "connection.servers: is missing"),
        ("servers: 'http://k', topics: [a]", "'http://k' is not host:port"),
        ("servers: k, topics: []", "connection.topics: must be a list"),
        ("servers: k, topics: [a, a]", "stands there twice"),
        ("servers: k, topics: ['^a.*']", "'^a.*' is not a topic's name"),
        (f"{GOOD}, group: 'a b'", "'a b' is not a name"),
        (f"{GOOD}, start: middle", "connection.start: is 'middle'"),
        (f"{GOOD}, grup: g", "Did you mean group?"),
        (f"{GOOD}, settings: {{plugin.library.paths: /x.so}}", "not a setting that may be given"),
        (f"{GOOD}, settings: {{sasl.kerberos.kinit.cmd: id}}", "not a setting that may be given"),
        (f"{GOOD}, settings: {{ssl.ca.location: /etc/passwd}}", "not a setting that may be given"),
        (f"{GOOD}, settings: {{sasl.password: hunter2}}", "holds a secret in clear"),
        (f"{GOOD}, settings: {{ssl.key.pem: '-----BEGIN'}}", "holds a secret in clear"),
        (
            f"{GOOD}, settings: {{sasl.password: '${{env:P}}'}}",
            "is not one that sources of this tenant may use",
        ),
    ],
)
def test_what_is_wrong_is_named(connection: str, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check(connection)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_twins_are_made_only_where_one_model_is_named() -> None:
    with pytest.raises(InvalidError, match="needs a mapping"):
        check(GOOD, "create_twins: true")
    rules = "twins:\n  - {twin: a, model: 'dtmi:x;1', values: {v: v}}\n  - {twin: b, values: {v: v}}\n"
    with pytest.raises(InvalidError, match="name 1 models"):
        check(GOOD, "create_twins: true\nmapping: m.yaml", f"version: 2\nsource: s\n{rules}")


def test_servers_have_a_port() -> None:
    assert server_list("a, b:9093,[::1]:9094,[::2]") == ["a:9092", "b:9093", "[::1]:9094", "[::2]:9092"]


def test_messages_decode_together_and_apart_alike() -> None:
    """One message that is not plain sends all through the other way, and changes nothing for the others."""
    plain = [FakeMessage(EVENT % (n, n), n) for n in range(3)]
    together = EventReader().decode(plain, 0)
    apart = EventReader().decode([*plain, FakeMessage(b"[]", 3), FakeMessage(b" {\n} ", 4)], 0)
    assert apart.events[:3] == together.events
    assert isinstance(apart.events[3], Detail)
    assert apart.places is not None
    assert list(apart.places) == ["a/0/0", "a/0/1", "a/0/2", "a/0/4"]
    assert apart.raw(3) == b" {\n} "


@given(payloads)
def test_payloads_decode_together_as_each_does_alone(given_payloads: list[bytes]) -> None:
    messages = [FakeMessage(each, number) for number, each in enumerate(given_payloads)]
    found = EventReader().decode(messages, 0)
    alone = [EventReader().decode([each], 0) for each in messages]
    assert list(found.events) == [event for one in alone for event in one.events]
    assert [found.raw(index) for index in range(len(found.events))] == [
        one.raw(index) for one in alone for index in range(len(one.events))
    ]
    assert list(found.places or ()) == [place for one in alone for place in one.places or ()]


def test_two_events_in_one_message_are_none() -> None:
    """A line that holds two, beside a line that holds none, must not be taken for two lines of one."""
    messages = [FakeMessage(EVENT % (1, 1) + EVENT % (2, 2), 0), FakeMessage(b"{", 1)]
    decoded = EventReader().decode(messages, 0)
    assert [isinstance(event, Detail) for event in decoded.events] == [True, True]


def test_the_trace_of_a_batch_is_the_one_that_all_name() -> None:
    headers: list[list[tuple[str, bytes]] | None]
    headers = [[("traceparent", b"a"), ("b", b"")], [("traceparent", b"b")], None]
    one, other, none = (FakeMessage(EVENT % (n, n), n, named) for n, named in enumerate(headers))
    assert traces_of([one, other, none]) == ["a", "b", None]
    decoded = EventReader().decode([one, other, none], 0)
    assert with_traces(decoded, ["a", "a", "a"]) == "a"
    assert [event.traceparent for event in decoded.events if isinstance(event, Event)] == [None] * 3
    assert with_traces(decoded, traces_of([one, other, none])) is None
    assert [event.traceparent for event in decoded.events if isinstance(event, Event)] == ["a", "b", None]


def test_events_have_the_trace_of_their_message_unless_they_name_one() -> None:
    own = EVENT[:-1] % (2, 2) + b', "traceparent": "own"}'
    two = FakeMessage(b"[" + EVENT % (0, 0) + b"," + own + b"]", 0, [("traceparent", b"a")])
    decoded = EventReader().decode([two, FakeMessage(b"no"), FakeMessage(EVENT % (3, 3))], 0)
    assert with_traces(decoded, ["a", "b", None]) is None
    traces = [event.traceparent if isinstance(event, Event) else "bad" for event in decoded.events]
    assert traces == ["a", "own", "bad", None]

"""Names of messages that come again, and payloads that are no events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import Detail
from gemel.connectors.mqtt_payloads import CYCLE, EventPayloads, Session
from gemel.ingest.events import Event, decode_event
from gemel.outbound.mqtt_wire import Publish
from support.payloads import payloads
from support.sources import message


def published(payload: bytes, packet_id: int = 0) -> Publish:
    return Publish(b"t", payload, packet_id, False, {}, len(payload))


@given(st.integers(0, 3 * CYCLE), st.integers(1, 30_000), st.data())
def test_a_message_has_the_same_name_when_it_comes_again(sent: int, window: int, data: st.DataObject) -> None:
    """Whatever was acknowledged in between, as long as no more than a window is under way."""
    first = Session("s", sent)
    numbers = range(sent, sent + window, 97)
    names = dict(zip(numbers, first.names([published(b"x", n % CYCLE + 1) for n in numbers]), strict=True))
    assert len(set(names.values())) == len(names)
    kept = data.draw(st.sampled_from(sorted(names)))
    again = Session("s", kept)
    assert {n: again.names([published(b"x", n % CYCLE + 1)])[0] for n in names} == names


def test_another_content_is_another_message() -> None:
    session = Session("s", 0)
    one, two, none = session.names([published(b"1", 5), published(b"2", 5), published(b"1")])
    assert None not in (one, two)
    assert one != two
    assert none is None
    assert session.count == 4


def test_payloads_are_taken_apart_each_for_itself() -> None:
    pretty = message(1).replace(b", ", b",\n")
    payloads = [message(0), pretty, b"", b'{"a": 1}\n{"b": 2}', message(2)]
    found = EventPayloads().decode([published(each) for each in payloads], [None] * 5, 0)
    kinds = [type(each) for each in found.events]
    assert kinds == [Event, Event, Detail, Detail, Event]
    assert [found.raw(index) for index in range(5)] == payloads


def test_payloads_without_line_ends_decode_together() -> None:
    payloads = [message(0), b"no", message(2)]
    found = EventPayloads().decode([published(each) for each in payloads], [None] * 3, 0)
    assert [type(each) for each in found.events] == [Event, Detail, Event]
    assert found.raw(1) == b"no"


@given(payloads)
def test_payloads_decode_together_as_each_does_alone(given_payloads: list[bytes]) -> None:
    messages = [published(each, number + 1) for number, each in enumerate(given_payloads)]
    found = EventPayloads().decode(messages, Session("s", 0).names(messages), 0)
    assert found.events == [decode_event(each) for each in given_payloads]
    raws = [found.raw(index).strip() for index in range(len(messages))]
    assert raws == [each.strip() for each in given_payloads]

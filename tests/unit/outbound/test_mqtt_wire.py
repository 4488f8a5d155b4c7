"""MQTT's packets: as the standard's examples have them, and whole however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.outbound import mqtt_wire as wire
from gemel.outbound.mqtt_wire import Control, Hello, MqttFaultError, Publish, Reader

TOPICS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
HEADERS = st.dictionaries(st.sampled_from(["a", "traceparent", "content-type"]), st.text("xyz", max_size=5))
MESSAGES = st.tuples(TOPICS, st.binary(max_size=300), st.integers(0, 65_535), HEADERS)


def test_connect_is_as_the_standard_has_it() -> None:
    # MQTT 3.1.1, figure 3.6 and what it says of the payload's order.
    found = wire.connect(Hello(4, "c", 10, fresh=False, username="u", password="p"))
    assert found == b"\x10\x13\0\x04MQTT\x04\xc0\0\x0a\0\x01c\0\x01u\0\x01p"
    found = wire.connect(Hello(5, "", 0, expiry_s=1, receive_maximum=2))
    assert found == b"\x10\x15\0\x04MQTT\x05\x02\0\0\x08\x11\0\0\0\x01\x21\0\x02\0\0"


def test_subscribe_asks_for_what_is_retained_where_the_subscription_is_new() -> None:
    assert wire.subscribe(7, ["a/b"], 4) == b"\x82\x08\0\x07\0\x03a/b\x01"
    assert wire.subscribe(7, ["a/b"], 5) == b"\x82\x09\0\x07\0\0\x03a/b\x11"
    assert wire.unsubscribe(7, ["a"], 5) == b"\xa2\x06\0\x07\0\0\x01a"


def test_acknowledgements_leave_together() -> None:
    assert wire.puback([1, 258]) == b"\x40\x02\0\x01\x40\x02\x01\x02"
    assert wire.read_puback(b"\x01\x02") == (258, 0)
    assert wire.read_puback(b"\x01\x02\x87\0") == (258, 0x87)
    assert wire.read_suback(b"\0\x07\x01\x80", 4) == (7, b"\x01\x80")
    assert wire.read_suback(b"\0\x07\0\x01\x87", 5) == (7, b"\x01\x87")


def test_a_welcome_tells_its_properties() -> None:
    assert wire.read_connack(b"\x01\0", 4) == (True, 0, {})
    body = b"\0\0\x0b\x21\0\x14\x13\0\x1e\x12\0\x02id"
    assert wire.read_connack(body, 5) == (False, 0, {0x21: 20, 0x13: 30, 0x12: "id"})


@given(
    st.sampled_from([4, 5]),
    st.lists(st.one_of(MESSAGES, st.just(None)), max_size=12),
    st.lists(st.integers(1, 400), max_size=40),
)
def test_packets_come_whole_however_their_bytes_do(
    level: int, messages: list[tuple[str, bytes, int, dict[str, str]] | None], cuts: list[int]
) -> None:
    stream = b""
    expected: list[Publish | Control] = []
    for message in messages:
        if message is None:
            stream += b"\xd0\0"
            expected.append(Control(13, b""))
            continue
        topic, payload, packet_id, headers = message
        stream += wire.publish(topic, payload, packet_id, level, headers)
        told = headers if level == 5 else {}
        expected.append(Publish(topic.encode(), payload, packet_id, False, told, len(payload)))
    reader, found, at = Reader(level), [], 0
    for cut in [*cuts, len(stream)]:
        found += reader.feed(stream[at : at + cut])
        at += cut
    assert found == expected


@pytest.mark.parametrize("step", [1 << 16, 1 << 20, 1 << 26])
def test_of_a_long_message_the_beginning_is_kept(step: int) -> None:
    payload = b"ab" * (wire.PACKET_BYTES_MAX // 2 + 1)
    stream = wire.publish("t", payload, 9, 4, {}) + wire.publish("t", b"next", 10, 4, {})
    reader, found = Reader(4), []
    for at in range(0, len(stream), step):
        found += reader.feed(stream[at : at + step])
    long, following = found
    assert isinstance(long, Publish)
    assert (long.size, long.packet_id, long.again) == (len(payload), 9, False)
    assert payload.startswith(long.payload)
    assert len(long.payload) < len(payload) or step > len(stream)
    assert following == Publish(b"t", b"next", 10, False, {}, 4)


@pytest.mark.parametrize(
    ("level", "packet"),
    [
        (4, b"\x30\x02\0\x09"),
        (4, b"\x32\x03\0\x01a"),
        (4, b"\x30\xff\xff\xff\xff\x01"),
        (5, b"\x30\x06\0\x01a\x02\x7e\0"),
    ],
)
def test_what_is_not_mqtt_is_a_fault(level: int, packet: bytes) -> None:
    with pytest.raises(MqttFaultError):
        Reader(level).feed(packet)


def test_a_message_that_comes_again_says_so() -> None:
    (found,) = Reader(4).feed(b"\x3a\x06\0\x01a\0\x05x")
    assert found == Publish(b"a", b"x", 5, True, {}, 1)

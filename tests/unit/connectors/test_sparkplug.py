"""Sparkplug B: payloads as another implementation writes them, and the lives of nodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import Detail
from gemel.connectors.sparkplug import NodeNames, SparkplugNodes
from gemel.connectors.sparkplug_wire import Metric, read_payload, rebirth, typed
from gemel.ingest.events import Event
from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.outbound.mqtt_wire import Publish
from support.sparkplug import metric, payload

# Written by Google's protobuf 7.36 with the standard's schema.
FOREIGN = bytes.fromhex(
    "08fbd095ffbc3112270a114d6f746f722f54656d7065726174757265100318e4d095ffbc31200a690000000000404540"
    "121e1004200328014a100a075175616c6974791205080318f40350fbffffff0f12090a036f6666200b7000120f0a0474"
    "657874200c7a056772c3bc6e120a0a046e6f6e652009380112120a03666172200458feffffffffffffffff01120d0a04"
    "68616c662009650000003f120c0a03726177201182010261621807220175"
)
AT_MS = 1_700_000_000_000
NOW_US = 1_800_000_000_000_000
NAMES = NodeNames("{group}-{edge}", "{group}-{edge}-{device}", ("Info/*",))


def said(kind: str, data: bytes, device: str = "") -> Publish:
    topic = f"spBv1.0/g/{kind}/e" + (f"/{device}" if device else "")
    return Publish(topic.encode(), data, 0, False, {}, len(data))


def nodes(mapper: Mapper | None = None) -> SparkplugNodes:
    return SparkplugNodes(NAMES, mapper, "tag")


def decode(own: SparkplugNodes, *messages: Publish) -> list[Any]:
    return list(own.decode(messages, [None] * len(messages), NOW_US).events)


def born(own: SparkplugNodes) -> list[Any]:
    return decode(
        own,
        said(
            "NBIRTH",
            payload(
                AT_MS,
                0,
                metric("bdSeq", 3),
                metric("Node Control/Rebirth", 0, type=11),
                metric("Info/Make", 5),
                metric("Motor/Temperature", 20.5, alias=1),
            ),
        ),
        said("DBIRTH", payload(AT_MS, 1, metric("level", 7, alias=2)), "d"),
    )


def test_payloads_of_another_make_are_read() -> None:
    found = read_payload(FOREIGN)
    assert (found.time_ms, found.seq) == (1_700_000_000_123, 7)
    assert found.metrics[0] == Metric("Motor/Temperature", 3, 1_700_000_000_100, 10, value=42.5)
    assert [typed(each, each.type) for each in found.metrics[1:4]] == [-5, False, "grün"]
    assert (found.metrics[1].historical, found.metrics[1].quality) == (True, 500)
    assert found.metrics[4].null
    assert [typed(each, each.type) for each in found.metrics[5:7]] == [-2, 0.5]
    with pytest.raises(ValueError, match="Bytes, which is not taken"):
        typed(found.metrics[7], 17)


def test_the_command_is_a_payload() -> None:
    (found,) = read_payload(rebirth(AT_MS)).metrics
    assert found == Metric("Node Control/Rebirth", None, AT_MS, 11, value=True)


@given(st.binary(max_size=60))
def test_what_is_no_payload_is_told(data: bytes) -> None:
    try:
        read_payload(data)
    except ValueError:
        return


@pytest.mark.parametrize(("kind", "raw", "value"), [(1, 255, -1), (1, 127, 127), (2, 0xFFFF, -1), (3, 5, 5)])
def test_negative_numbers_come_in_either_width(kind: int, raw: int, value: int) -> None:
    assert typed(Metric(value=raw), kind) == value
    assert typed(Metric(value=(1 << 32) - 1), kind) == -1


def test_births_and_data_by_alias_are_values_of_twins() -> None:
    own = nodes()
    node, device = born(own)
    assert (node.subject, node.data, node.quality) == ("g-e", {"Motor.Temperature": 20.5}, "good")
    assert (device.subject, device.data) == ("g-e-d", {"level": 7})
    first, second = decode(
        own,
        said("NDATA", payload(AT_MS + 1, 2, metric(None, 21.5, alias=1))),
        said("DDATA", payload(AT_MS + 2, 3, metric(None, 8, alias=2, time_ms=AT_MS + 1, quality=0)), "d"),
    )
    assert first.data == {"Motor.Temperature": 21.5}
    assert (second.data, second.quality) == ({"level": 8}, "bad")
    assert second.time.timestamp() * 1000 == AT_MS + 1
    assert own.asking == []


def test_metrics_of_several_times_are_several_events() -> None:
    own = nodes()
    born(own)
    found = decode(
        own,
        said(
            "NDATA",
            payload(
                AT_MS + 9,
                2,
                metric(None, 1.0, alias=1, time_ms=AT_MS + 1),
                metric(None, 2.0, alias=1, time_ms=AT_MS + 2),
                metric(None, 3.0, alias=1),
            ),
        ),
    )
    assert [event.data["Motor.Temperature"] for event in found] == [1.0, 2.0, 3.0]
    assert len({event.id for event in found}) == 3


def test_a_gap_asks_for_births_once() -> None:
    own = nodes()
    born(own)
    data = [said("NDATA", payload(AT_MS, seq, metric(None, 1.0, alias=1))) for seq in (2, 4, 6, 7)]
    assert all(isinstance(each, Event) for each in decode(own, *data))
    (asked,) = own.asking
    assert asked.topic == "spBv1.0/g/NCMD/e"
    own.asking.clear()
    for seq in range(8, 256):
        decode(own, said("NDATA", payload(AT_MS, seq)))
    decode(own, said("NDATA", payload(AT_MS, 0)))
    assert own.asking == []


def test_an_alias_of_no_birth_waits_and_asks() -> None:
    own = nodes()
    (found,) = decode(own, said("DDATA", payload(AT_MS, 5, metric(None, 1.0, alias=9)), "d"))
    assert isinstance(found, Detail)
    assert "alias 9" in found.message
    assert len(own.asking) == 1


def test_what_was_born_is_remembered_and_asked_for_anew() -> None:
    own = nodes()
    born(own)
    assert own.changed == {("g", "e")}
    kept = own.keep(("g", "e"))
    other = nodes()
    data = said("DDATA", payload(AT_MS, 9, metric(None, 5, alias=2)), "d")
    assert other.unknown([data]) == {("g", "e")}
    other.restore(("g", "e"), kept)
    assert other.unknown([data]) == set()
    (found,) = decode(other, data)
    assert found.data == {"level": 5}
    assert len(other.asking) == 1


def test_death_makes_the_last_values_stale() -> None:
    own = nodes()
    born(own)
    (found,) = decode(own, said("DDEATH", payload(AT_MS + 5, 2), "d"))
    assert (found.data, found.quality) == ({"level": 7}, "uncertain")
    assert found.time.timestamp() * 1000 == AT_MS + 5
    assert decode(own, said("NDEATH", payload(None, None, metric("bdSeq", 2)))) == []
    (found,) = decode(own, said("NDEATH", payload(None, None, metric("bdSeq", 3))))
    assert (found.subject, found.quality, found.data) == ("g-e", "uncertain", {"Motor.Temperature": 20.5})
    assert found.time.timestamp() * 1e6 == NOW_US


def test_commands_states_and_others_topics_are_no_events() -> None:
    others = [
        Publish(topic, b"x", 0, False, {}, 1)
        for topic in (b"spBv1.0/g/NCMD/e", b"spBv1.0/STATE/h", b"a/b", b"spBv1.0/g/DDATA/e")
    ]
    assert decode(nodes(), *others) == []


def test_what_is_no_payload_waits_with_its_bytes() -> None:
    own = nodes()
    found = own.decode([said("NDATA", b"\xff")], [None], NOW_US)
    assert isinstance(found.events[0], Detail)
    assert found.raw(0) == b"\xff"


def test_a_mapping_reads_metrics_by_their_names() -> None:
    text = b"""
version: 2
source: plant
time: {path: time, format: unix_ms}
twins:
  - twin: "{edge}"
    when: payload.device == null
    quality: quality
    values: {temperature: {path: 'values."Motor/Temperature"', unit: degF, to: degC}}
"""
    own = nodes(Mapper(parse_payload_mapping(text, "m.yaml")))
    (found,) = born(own)
    assert (found.subject, found.source) == ("e", "plant")
    assert found.data["temperature"] == pytest.approx((20.5 - 32) / 1.8)

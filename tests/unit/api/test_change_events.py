from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gemel.api.change_events import SAMPLES_MAX, Wanted, events_of
from gemel.graph.roster import TwinName
from gemel.history.changes import SAMPLES, Change
from gemel.history.paths import series_of
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import REMOVED, Encoded
from gemel.routing.feed import Known, Told

KNOWN = Known(
    {1: TwinName("a", "dtmi:m:A;1", 1), 2: TwinName("b", "dtmi:m:B;1", 1)},
    {0: ("speed", "property"), 1: ("motor.label", "property")},
)


def batch(*rows: tuple[int, int, Encoded]) -> SampleBatch:
    return SampleBatch.of([Sample(series_of(no, path), 5, value, 0, 0, 7) for no, path, value in rows])


def shown(change: Change, samples: SampleBatch | None, wanted: Wanted = Wanted()) -> list[dict[str, Any]]:  # noqa: B008
    found = []
    for number, kind, body in events_of(Told(change, samples), KNOWN, wanted):
        named = {"id": str(number)} if number else {}
        found.append({**named, "event": kind, "data": json.loads(msgspec.json.encode(body))})
    return found


def chunk(*traces: tuple[int, str]) -> Change:
    return Change(9, 7, SAMPLES, msgspec.msgpack.encode([*[b""] * 7, None, b"", traces]))


def told(kind: str, **payload: Any) -> Change:
    return Change(9, 7, kind, msgspec.msgpack.encode(payload))


def test_samples_are_told_by_twin_and_path() -> None:
    samples = batch(
        (1, 0, Encoded(1.5, 0, None)),
        (2, 1, Encoded(None, 2, '"x\\ny"')),
        (1, 0, Encoded(None, REMOVED, None)),
    )
    (event,) = shown(chunk(), samples)
    assert (event["id"], event["event"]) == ("9", "samples")
    one, two, gone = event["data"]["samples"]
    assert one == {
        "twin": "a",
        "path": "speed",
        "value": 1.5,
        "sourceTime": "1970-01-01T00:00:00.000005Z",
        "quality": "good",
        "revision": 0,
    }
    assert (two["twin"], two["path"], two["value"]) == ("b", "motor.label", "x\ny")
    assert (gone["value"], gone["removed"]) == (None, True)


@pytest.mark.parametrize("count", [1, SAMPLES_MAX, SAMPLES_MAX + 1, 3 * SAMPLES_MAX])
def test_only_the_last_event_of_a_change_has_its_number(count: int) -> None:
    events = shown(chunk(), batch(*[(1, 0, Encoded(float(n), 0, None)) for n in range(count)]))
    assert [event.get("id") for event in events] == [None] * (len(events) - 1) + ["9"]
    values = [sample["value"] for event in events for sample in event["data"]["samples"]]
    assert values == [float(n) for n in range(count)]
    assert all(len(event["data"]["samples"]) <= SAMPLES_MAX for event in events)


@pytest.mark.parametrize(
    ("wanted", "twins"),
    [
        (Wanted(), ["a", "b"]),
        (Wanted(frozenset({"b"})), ["b"]),
        (Wanted(models=frozenset({"dtmi:m:A;1"})), ["a"]),
        (Wanted(frozenset({"b"}), frozenset({"dtmi:m:A;1"})), []),
        (Wanted(frozenset({"c"})), []),
    ],
)
def test_filters_choose_samples(wanted: Wanted, twins: list[str]) -> None:
    samples = batch((1, 0, Encoded(1.0, 0, None)), (2, 0, Encoded(2.0, 0, None)))
    events = shown(chunk(), samples, wanted)
    assert [sample["twin"] for event in events for sample in event["data"]["samples"]] == twins


def test_changes_of_the_graph_are_told_without_our_numbers() -> None:
    (event,) = shown(told("twin.created", twin="a", no=1, model="dtmi:m:A;1", validFrom=5), None)
    assert event["event"] == "twin.created"
    assert event["data"] == {
        "recorded": "1970-01-01T00:00:00.000007Z",
        "twin": "a",
        "model": "dtmi:m:A;1",
        "validFrom": "1970-01-01T00:00:00.000005Z",
    }


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(), 1),
        (Wanted(frozenset({"a"})), 1),
        (Wanted(frozenset({"b"})), 1),
        (Wanted(frozenset({"c"})), 0),
        (Wanted(models=frozenset({"dtmi:m:A;1"})), 1),
        (Wanted(models=frozenset({"dtmi:m:B;1"})), 0),
    ],
)
def test_a_relationship_is_told_at_both_its_ends(wanted: Wanted, count: int) -> None:
    change = told("relationship.created", twin="a", no=1, target="b", relationship="r", name="feeds")
    assert len(shown(change, None, wanted)) == count


def test_models_are_told_to_those_who_ask_for_no_twin() -> None:
    change = told("model.created", model="dtmi:m:A;1")
    assert len(shown(change, None)) == 1
    assert len(shown(change, None, Wanted(models=frozenset({"dtmi:m:A;1"})))) == 1
    assert shown(change, None, Wanted(frozenset({"a"}))) == []


def test_a_trace_stands_on_the_event_or_on_its_samples() -> None:
    one, other = "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-" + "c" * 32 + "-" + "d" * 16 + "-00"
    rows = [Sample(series_of(1, 0), 5, Encoded(1.0, 0, None), 0, 0, at) for at in (7, 8, 9)]
    samples = SampleBatch.of(rows)
    (event,) = shown(chunk((5, one)), samples)
    assert event["data"]["traceparent"] == one
    assert "traceparent" not in event["data"]["samples"][0]
    (event,) = shown(chunk((5, one), (8, other)), samples)
    assert "traceparent" not in event["data"]
    assert [each["traceparent"] for each in event["data"]["samples"]] == [one, other, other]
    (event,) = shown(chunk((8, other)), samples)
    assert [each.get("traceparent") for each in event["data"]["samples"]] == [None, other, other]
    (event,) = shown(told("model.created", model="dtmi:m:A;1", traceparent=one), None)
    assert event["data"]["traceparent"] == one

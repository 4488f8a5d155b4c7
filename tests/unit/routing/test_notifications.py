"""Changes as CloudEvents: types, bodies and positions."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from gemel.graph.live import Held, LiveTwin, TwinRow
from gemel.graph.relationship_reading import StoredRelationship
from gemel.graph.roster import TwinName
from gemel.graph.told import told_relationship, told_whole_twin
from gemel.history.changes import CURRENT, FIRST, SAMPLES, Change
from gemel.history.paths import series_of
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import REMOVED, Encoded
from gemel.routing.batches import BODY_BYTES_MAX, Cursor, Gatherer
from gemel.routing.feed import Known, Part, Told
from gemel.routing.filters import compile_filter
from gemel.routing.notifications import TYPES, Naming, notifications

MODEL, MOTOR = "dtmi:m:Pump;1", "dtmi:m:Motor;1"
KNOWN = Known(
    {1: TwinName("a", MODEL, 1), 2: TwinName("b#", MODEL, 1)},
    {
        0: ("speed", "property"),
        1: ("motor.label", "property"),
        2: ("flow", "telemetry"),
        3: ("motor.heat", "telemetry"),
    },
)
NAMING = Naming("gemel/default", "0a", lambda model_id: {"motor": MOTOR} if model_id == MODEL else {})
ONE = Encoded(1.5, 0, None)


def chunk(*rows: tuple[int, int, Encoded, int], effects: list[int] | None = None, number: int = 9) -> Told:
    """A change of samples: (twin, path, value, recorded µs) each; those without effects are all current."""
    batch = SampleBatch.of([Sample(series_of(no, path), 5, value, 0, 0, at) for no, path, value, at in rows])
    told = b"" if effects is None else np.array(effects, np.uint8).tobytes()
    body = msgspec.msgpack.encode([batch.series.tobytes(), b"", b"", b"", b"", b"", b"", None, told])
    return Told(Change(number, 7, SAMPLES, body), batch)


def graph(kind: str, **payload: Any) -> Told:
    return Told(Change(9, 7, kind, msgspec.msgpack.encode(payload)), None)


def events(told: Told, start: int = 0, types: frozenset[str] = TYPES) -> list[tuple[int, dict[str, Any]]]:
    return [(position, event) for position, _, event in notifications(told, KNOWN, NAMING, start, types)]


def only(told: Told) -> dict[str, Any]:
    ((_, event),) = events(told)
    return event


@pytest.mark.parametrize("kind", ["created", "deleted"])
def test_a_life_cycle_carries_the_twin(kind: str) -> None:
    twin = LiveTwin(
        TwinRow(1, "a", MODEL, {"motor": MOTOR}, 5, 6, 6, 0),
        {"speed": Held(1.5, removed=False, source_time_us=5, recorded_us=7)},
    )
    event = only(graph(f"twin.{kind}", **told_whole_twin(twin)))
    assert event == {
        "specversion": "1.0",
        "id": "0a.9.0",
        "type": f"Microsoft.DigitalTwins.Twin.{ {'created': 'Create', 'deleted': 'Delete'}[kind] }",
        "source": "gemel/default",
        "subject": "a",
        "time": "1970-01-01T00:00:00.000007Z",
        "datacontenttype": "application/json",
        "sequence": "0a.0000000000000000009.00000",
        "data": twin.document().body,
    }


def test_what_an_older_version_told_of_a_twin_is_told_as_far_as_it_goes() -> None:
    bare = {"$dtId": "a", "$metadata": {"$model": MODEL}}
    for more in ({}, {"whole": {"row": {"unknown": 1}, "held": {}}}):
        told = graph("twin.created", twin="a", no=1, model=MODEL, validFrom=5, **more)
        assert only(told)["data"] == bare


def test_a_transition_is_an_update() -> None:
    state = {"state": "maintenance", "from": "2026-01-31T12:00:00Z", "reason": "oil"}
    told = graph("twin.updated", twin="a", no=1, model=MODEL, validFrom=5, lifecycle=state)
    patch = [{"op": "replace", "path": "/$lifecycle", "value": "maintenance"}]
    assert only(told)["data"] == {"modelId": MODEL, "patch": patch}


def test_a_change_of_model_is_an_update() -> None:
    event = only(graph("twin.updated", twin="a", no=1, model=MOTOR, previousModel=MODEL, validFrom=5))
    assert event["type"] == "Microsoft.DigitalTwins.Twin.Update"
    assert event["data"] == {
        "modelId": MOTOR,
        "patch": [{"op": "replace", "path": "/$metadata/$model", "value": MOTOR}],
    }
    assert events(graph("twin.updated", twin="a", no=1, model=MODEL, validFrom=5)) == []
    assert events(graph("model.created", model=MODEL)) == []


def link(target: str, recorded_us: int, **properties: Any) -> StoredRelationship:
    return StoredRelationship("r", "a", target, "feeds", properties, recorded_us, 5, 1, 2)


def test_relationships() -> None:
    before, after = link("b#", 6, **{"x/y": 1, "gone": 2}), link("c", 7, **{"x/y": 1, "new": 3})
    made = only(graph("relationship.created", **told_relationship(before)))
    gone = only(graph("relationship.deleted", **told_relationship(before, before)))
    assert (made["data"], made["subject"]) == (before.document().body, "a/relationships/r")
    assert (gone["data"], gone["type"]) == (
        before.document().body,
        "Microsoft.DigitalTwins.Relationship.Delete",
    )
    assert only(graph("relationship.updated", **told_relationship(after, before)))["data"] == {
        "modelId": MODEL,
        "patch": [
            {"op": "replace", "path": "/$targetId", "value": "c"},
            {"op": "remove", "path": "/gone"},
            {"op": "add", "path": "/new", "value": 3},
        ],
    }
    same = told_relationship(before._replace(recorded_us=8), before)
    assert events(graph("relationship.updated", **same)) == []


def test_properties_that_one_act_changed_are_one_patch() -> None:
    text, gone = Encoded(None, 2, '"x"'), Encoded(None, REMOVED, None)
    told = chunk(
        (1, 0, ONE, 7),
        (1, 1, text, 7),
        (2, 0, ONE, 7),
        (1, 0, gone, 8),
        effects=[CURRENT | FIRST, CURRENT, CURRENT, CURRENT],
    )
    found = events(told)
    assert [(position, event["id"], event["subject"]) for position, event in found] == [
        (0, "0a.9.0", "a"),
        (2, "0a.9.2", "b#"),
        (3, "0a.9.3", "a"),
    ]
    assert found[0][1]["data"] == {
        "modelId": MODEL,
        "patch": [
            {"op": "add", "path": "/speed", "value": 1.5},
            {"op": "replace", "path": "/motor/label", "value": "x"},
        ],
    }
    assert found[2][1]["data"]["patch"] == [{"op": "remove", "path": "/speed"}]
    assert found[2][1]["time"] == "1970-01-01T00:00:00.000008Z"


def test_a_path_that_comes_again_is_another_notification() -> None:
    found = events(chunk((1, 0, ONE, 7), (1, 1, ONE, 7), (1, 0, Encoded(2.0, 0, None), 7)))
    assert [(position, [op["value"] for op in event["data"]["patch"]]) for position, event in found] == [
        (0, [1.5, 1.5]),
        (2, [2.0]),
    ]


def test_what_tells_only_of_the_past_or_of_a_new_twin_is_no_update() -> None:
    late, of_creation = (1, 0, ONE, 7), (2, 0, ONE, 1)
    assert events(chunk(late, of_creation, effects=[0, CURRENT | FIRST])) == []


def test_telemetry_is_told_by_part_whatever_its_time() -> None:
    whole = Encoded(3.0, 1, None)
    told = chunk((2, 2, whole, 7), (2, 3, ONE, 7), (2, 2, ONE, 7), effects=[0, CURRENT, 0])
    flow, heat, again = (event for _, event in events(told))
    assert flow == {
        "specversion": "1.0",
        "id": "0a.9.0",
        "type": "microsoft.iot.telemetry",
        "source": "gemel/default/b%23",
        "time": "1970-01-01T00:00:00.000005Z",
        "dataschema": MODEL,
        "datacontenttype": "application/json",
        "sequence": "0a.0000000000000000009.00000",
        "data": {"flow": 3},
    }
    assert (heat["subject"], heat["dataschema"], heat["data"]) == ("motor", MOTOR, {"heat": 1.5})
    assert again["id"] == "0a.9.2"


def test_types_and_positions_choose() -> None:
    told = chunk((1, 0, ONE, 7), (1, 2, ONE, 7), (2, 0, ONE, 7))
    assert [position for position, _ in events(told, 1)] == [1, 2]
    assert [position for position, _ in events(told, 0, frozenset({"microsoft.iot.telemetry"}))] == [1]
    created = graph("twin.created", twin="a", no=1, model=MODEL, validFrom=5)
    assert events(created, 1) == []
    assert events(created, 0, frozenset({"microsoft.iot.telemetry"})) == []


def part(*told: Told) -> Part:
    return Part(list(told), KNOWN)


def ids(body: bytes) -> list[str]:
    return [event["id"] for event in msgspec.json.decode(body)] if body else []


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("text", ["true", "type = 'microsoft.iot.telemetry'", "subject = 'a'", "false"])
def test_batches_go_on_wherever_one_was_cut_off(size: int, text: str) -> None:
    rows = [(1 + n % 2, n % 3, ONE, 7 + n // 4) for n in range(12)]
    feed = part(chunk(*rows, number=9), chunk(*rows[:5], number=10), chunk(*rows, number=11))
    whole, event_filter = Gatherer(feed, Cursor(8), compile_filter(text), NAMING), compile_filter(text)
    expected = ids(whole.next(1000).body)
    cursor, found = Cursor(8), []
    while (batch := Gatherer(feed, cursor, event_filter, NAMING).next(size)).count:
        assert batch.count == len(ids(batch.body)) <= size
        assert [letter.event_id for letter in batch.letters] == ids(batch.body)
        assert batch.cursor > cursor
        found += ids(batch.body)
        cursor = batch.cursor
    assert found == expected
    assert batch.cursor == Cursor(11)
    going_on = Gatherer(feed, Cursor(8), event_filter, NAMING)
    parts = iter(lambda: ids(going_on.next(size).body), [])
    assert [each for one in parts for each in one] == expected


def test_a_body_is_bounded_but_never_empty() -> None:
    big = Encoded(None, 2, '"' + "x" * (BODY_BYTES_MAX // 2) + '"')
    gatherer = Gatherer(
        part(
            chunk(
                (1, 0, big, 7), (2, 0, big, 7), (1, 0, Encoded(None, 2, '"' + "y" * BODY_BYTES_MAX + '"'), 8)
            )
        ),
        Cursor(8),
        compile_filter("true"),
        NAMING,
    )
    assert [gatherer.next(100).count for _ in range(4)] == [1, 1, 1, 0]


def test_an_event_carries_the_trace_of_whoever_sent_it() -> None:
    one, other = "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-" + "c" * 32 + "-" + "d" * 16 + "-00"
    rows = [(1, 0, ONE, 7), (1, 2, ONE, 8)]
    batch = chunk(*rows).batch
    assert batch is not None
    body = [batch.series.tobytes(), *[b""] * 6, None, b"", [(7, one), (8, other)]]
    told = Told(Change(9, 7, SAMPLES, msgspec.msgpack.encode(body)), batch)
    assert [event["traceparent"] for _, event in events(told)] == [one, other]
    created = graph("twin.deleted", twin="a", no=1, model=MODEL, traceparent=one)
    assert [event["traceparent"] for _, event in events(created)] == [one]
    assert "traceparent" not in events(chunk(*rows))[0][1]

"""Messages to events: what fits lands whole, what does not waits with the rule that it broke."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import Detail, InvalidError
from gemel.ingest.events import Event, decode_event
from gemel.mapping.mapper import Mapped, Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.mapping.scene import Message

RECEIVED_US = 1_769_860_800_000_000


def mapper_of(twins: list[dict[str, Any]], **top: Any) -> Mapper:
    whole = {"version": 2, "source": "plant", "twins": twins, **top}
    return Mapper(parse_payload_mapping(json.dumps(whole).encode(), "m.yaml"))


def run(mapper: Mapper, *payloads: Any, **told: Any) -> Mapped:
    bodies = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in payloads]
    return mapper.run([Message(body, RECEIVED_US, **told) for body in bodies])


def only(found: Mapped) -> Event:
    (event,) = found.events
    assert isinstance(event, Event), event
    return event


def problem(found: Mapped) -> str:
    (event,) = found.events
    assert isinstance(event, Detail), event
    assert event.code == "MappingFailed"
    return event.message


def rule(values: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"twin": "t", "values": values, **more}]


def value_of(spec: Any, payload: Any, **told: Any) -> Any:
    return only(run(mapper_of(rule({"x": spec})), payload, **told)).data.get("x")


def test_a_message_becomes_an_event_of_the_twin_that_its_topic_names() -> None:
    mapper = mapper_of(
        [{"twin": "{$topic.line}-{device.id}", "values": {"motor.temperature": "m.temp"}}],
        topic="plant/{line}/+/data",
        time={"path": "ts", "format": "unix_ms"},
        revision=3,
    )
    payload = {"device": {"id": 7}, "ts": 1_769_860_800_123, "m": {"temp": 61.5}}
    event = only(run(mapper, payload, topic="plant/north/x/data"))
    assert (event.subject, event.data) == ("north-7", {"motor.temperature": 61.5})
    assert event.time == datetime(2026, 1, 31, 12, 0, 0, 123000, UTC)
    assert (event.source, event.type, event.revision, event.quality) == ("plant", "gemel.samples", 3, "good")


def test_a_topic_that_does_not_fit_costs_its_message() -> None:
    mapper = mapper_of(rule({"x": "x"}), topic="plant/{line}")
    for topic in (None, "plant", "plant/a/b", "other/a"):
        assert problem(run(mapper, {"x": 1}, topic=topic)).startswith("topic: ")


@pytest.mark.parametrize(
    ("spec", "payload", "expected"),
    [
        ("a", {"a": 5}, 5),
        ("a-b.c", {"a-b": {"c": "text"}}, "text"),
        ("list[1].v", {"list": [{"v": 1}, {"v": 2}]}, 2),
        ("list[*].v", {"list": [{"v": 1}, {"v": 2}]}, [1, 2]),
        ('"odd key"', {"odd key": True}, True),
        ("list[?ok].v | [0]", {"list": [{"v": 1, "ok": False}, {"v": 2, "ok": True}]}, 2),
        ({"path": "a", "type": "number"}, {"a": "21.5"}, 21.5),
        ({"path": "a", "type": "integer"}, {"a": 5.0}, 5),
        ({"path": "a", "type": "boolean"}, {"a": "false"}, False),
        ({"path": "a", "unit": "degF", "to": "degC"}, {"a": 212}, 100.0),
        ({"path": "a", "map": {"ON": True, "1": "one"}}, {"a": 1}, "one"),
        ({"path": "a", "map": {"ON": True}, "otherwise": False}, {"a": "?"}, False),
        ({"path": "a", "map": {"true": "yes"}}, {"a": True}, "yes"),
        ({"expr": "payload.a * 2.0 + 1.0"}, {"a": 3}, 7.0),
        ({"path": "a", "expr": "value > 5.0 ? 'high' : 'low'"}, {"a": 3}, "low"),
        ({"expr": "has(payload.b) ? payload.b : -1.0"}, {"a": 3}, -1.0),
        ({"expr": "int(payload.a) % 2"}, {"a": 3}, 1),
    ],
)
def test_a_value_is_read_as_its_rule_says(spec: Any, payload: Any, expected: Any) -> None:
    found = value_of(spec, payload)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("spec", "payload", "said"),
    [
        ({"path": "a", "type": "number"}, {"a": "n/a"}, "'n/a' is no number"),
        ({"path": "a", "type": "number"}, {"a": True}, "True is no number"),
        ({"path": "a", "type": "integer"}, {"a": 5.5}, "5.5 is no integer"),
        ({"path": "a", "type": "string"}, {"a": 5}, "5 is no string"),
        ({"path": "a", "unit": "degF", "to": "degC"}, {"a": "cold"}, "'cold' is no number"),
        ({"path": "a", "map": {"ON": True}}, {"a": "?"}, "is a value that `map` does not list"),
        ({"path": "a", "required": True}, {"b": 5}, "there is none, and it is required"),
        ({"expr": "payload.a + 1"}, {"a": 5}, "write 1.0 for 1"),
        ({"expr": "payload.b"}, {"a": 5}, "there is no 'b'"),
        ({"expr": "1.0 / payload.a"}, {"a": 0}, "gives inf"),
        ("sum(a)", {"a": "text"}, "finds nothing"),
    ],
)
def test_a_value_that_does_not_fit_keeps_its_event_back_and_names_the_rule(
    spec: Any, payload: Any, said: str
) -> None:
    found = problem(run(mapper_of(rule({"x": spec, "y": {"expr": "1.0"}})), payload))
    assert found.startswith("twins[0].values.x: ")
    assert said in found


def test_a_list_becomes_an_event_for_each_item_and_a_bad_item_costs_only_itself() -> None:
    twins = rule({"x": {"path": "v", "type": "number"}}, each="d.samples")
    mapper = mapper_of(twins, time={"path": "t", "format": "unix_s"})
    items = [{"t": 1_769_860_800 + n, "v": n if n != 1 else "bad"} for n in range(3)]
    found = run(mapper, {"d": {"samples": items}, "more": 1})
    assert [type(event) for event in found.events] == [Event, Detail, Event]
    first, bad, last = found.events
    assert isinstance(first, Event)
    assert isinstance(last, Event)
    assert (first.data, last.data) == ({"x": 0.0}, {"x": 2.0})
    assert first.id != last.id
    assert isinstance(bad, Detail)
    assert "of item 1" in bad.message
    waiting = json.loads(found.raws[1])
    assert waiting["data"] == {"d": {"samples": [items[1]]}, "more": 1}
    assert decode_event(found.raws[1]) == bad


def test_an_object_is_a_list_whose_items_have_names() -> None:
    mapper = mapper_of([{"twin": "{$name}", "each": "@", "values": {"x": "v"}}])
    found = run(mapper, {"a": {"v": 1}, "b": {"v": 2}})
    assert [(e.subject, e.data) for e in found.events if isinstance(e, Event)] == [
        ("a", {"x": 1}),
        ("b", {"x": 2}),
    ]


def test_columns_become_samples_by_their_index() -> None:
    twins = rule({"x": {"expr": "payload.v[index] * 2.0"}}, each="t")
    mapper = mapper_of(twins, time={"path": "$item", "format": "unix_s"})
    found = run(mapper, {"t": [1_769_860_800, 1_769_860_801], "v": [1, 2]})
    assert [event.data for event in found.events if isinstance(event, Event)] == [{"x": 2.0}, {"x": 4.0}]


def test_a_star_stands_for_every_key_of_an_object() -> None:
    values = {"motor.*": {"path": "r.*", "except": ["fw"], "type": "number"}}
    assert only(run(mapper_of(rule(values)), {"r": {"a": 1, "b": "2", "fw": "x"}})).data == {
        "motor.a": 1.0,
        "motor.b": 2.0,
    }
    assert "for 'b'" in problem(run(mapper_of(rule(values)), {"r": {"b": "?"}}))


def test_when_leaves_messages_out_and_what_says_nothing_waits() -> None:
    mapper = mapper_of(rule({"x": "x"}, when="payload.kind == 'data'"))
    found = run(mapper, {"kind": "hello"}, {"kind": "data", "x": 1})
    assert (len(found.events), found.empty, found.messages) == (1, 1, [1])
    assert "nothing stands in it" in problem(run(mapper_of(rule({"x": "x"})), {"y": 1}))


def test_text_is_a_payload_too() -> None:
    mapper = mapper_of(rule({"x": {"path": "@", "type": "number"}}), format={"type": "text"})
    assert only(run(mapper, b" 21.5\n")).data == {"x": 21.5}
    assert "is no number" in problem(run(mapper, b"warm"))
    assert "not UTF-8" in problem(run(mapper, b"\xff"))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 5000])
def test_what_is_not_json_waits_whole(body: bytes) -> None:
    found = run(mapper_of(rule({"x": "x"})), body)
    assert "payload is" in problem(found)
    assert decode_event(found.raws[0]) == found.events[0]


def test_times_are_certain_or_refused() -> None:
    mapper = mapper_of(rule({"x": "x"}), time={"path": "t", "zone": "Europe/Berlin"})
    event = only(run(mapper, {"x": 1, "t": "2026-01-31T13:00:00"}))
    assert event.time == datetime(2026, 1, 31, 12, tzinfo=UTC)
    for text in ("2026-10-25T02:30:00", "yesterday", None, True):
        assert problem(run(mapper, {"x": 1, "t": text})).startswith("time: ")


def test_texts_that_cannot_be_stored_are_refused() -> None:
    assert "U+0000" in problem(run(mapper_of(rule({"x": "x"})), b'{"x": "\\u0000"}'))


def test_quality_and_constants_go_along() -> None:
    twins = rule(
        {"x": "x"}, quality={"path": "q", "map": {"0": "bad"}, "otherwise": "good"}, constants={"site": "Lab"}
    )
    event = only(run(mapper_of(twins), {"x": 1, "q": 0}))
    assert (event.quality, event.data) == ("bad", {"x": 1, "site": "Lab"})
    wrong = mapper_of(rule({"x": "x"}, quality="q"))
    assert "is none of good" in problem(run(wrong, {"x": 1, "q": "fine"}))


def test_a_repeat_has_the_same_id_and_a_value_that_is_still_the_same_has_another() -> None:
    timed = mapper_of(rule({"x": "x"}), time={"path": "t"})
    body = {"x": 1, "t": "2026-01-31T12:00:00Z"}
    assert only(run(timed, body)).id == only(run(timed, body)).id
    timeless = mapper_of(rule({"x": "x"}))
    first, second = run(timeless, {"x": 1}, {"x": 1}).events
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.id != second.id
    assert only(run(timeless, {"x": 1}, id="topic:0:17")).id == "topic:0:17"
    own = mapper_of(rule({"x": "x"}), id="n")
    assert only(run(own, {"x": 1, "n": 4})).id == "4"


@pytest.mark.parametrize(
    ("body", "time"),
    [(b"poison", None), (b"poison", {"path": "ts", "format": "unix_ms"}), (b'{"x": 1}', None)],
)
def test_what_cannot_be_read_waits_under_one_name_however_often_it_comes(body: bytes, time: Any) -> None:
    """By the name that its transport gives it, and without one by what it says, where its time is told there."""
    top = {} if time is None else {"time": time}
    mapper = mapper_of(rule({"x": "x"}), topic="plant/{line}", **top)
    told = [
        Message(body, RECEIVED_US + late_us, id=name, topic="elsewhere")
        for late_us in (0, 7)
        for name in (("m.1", "m.2") if time is None else ("m.1", "m.2", None))
    ]
    names = 2 if time is None else 3
    apart = [mapper.run([*told[:place], each]).raws[place] for place, each in enumerate(told)]
    assert apart[:names] == apart[names:]
    assert len(set(apart)) == names
    assert mapper.refuse(told[0], "why") == mapper.refuse(told[names], "why")


def test_a_mended_mapping_maps_what_waits() -> None:
    bad = mapper_of(rule({"x": {"path": "v", "type": "number"}}, each="s"))
    mended = mapper_of(rule({"x": {"path": "v", "map": {"n/a": -1.0}, "otherwise": 0}}, each="s"))
    found = run(bad, {"s": [{"v": 1}, {"v": "n/a"}]}, topic="a/b")
    (event,) = mended.remap(found.raws[1], RECEIVED_US) or []
    assert isinstance(event, Event)
    assert event.data == {"x": -1.0}
    assert event.time == datetime(2026, 1, 31, 12, tzinfo=UTC)
    (still,) = bad.remap(found.raws[1], RECEIVED_US) or []
    assert isinstance(still, Detail)
    assert mended.remap(found.raws[0], RECEIVED_US) is None


def test_a_message_that_waits_whole_makes_all_of_its_events() -> None:
    bad = mapper_of(rule({"x": "v"}, each="s.no"))
    mended = mapper_of(rule({"x": "v"}, each="s"))
    (raw,) = run(bad, {"s": [{"v": 1}, {"v": 2}]}, id="m").raws
    made = mended.remap(raw, RECEIVED_US) or []
    assert [each.data for each in made if isinstance(each, Event)] == [{"x": 1}, {"x": 2}]
    assert len({each.id for each in made if isinstance(each, Event)}) == 2
    half = mapper_of(rule({"x": {"path": "v", "map": {"1": 1}}}, each="s"))
    (still,) = half.remap(raw, RECEIVED_US) or []
    assert isinstance(still, Detail)


def test_a_message_that_asks_for_too_much_waits_whole() -> None:
    mapper = mapper_of(rule({"x": {"expr": "payload.n[0]"}}, each="n"))
    assert "MiB" in problem(run(mapper, {"n": list(range(9_000)), "pad": "x" * 100_000}))
    assert "more than 10000 events" in problem(
        run(mapper_of(rule({"x": "$item"}, each="@")), list(range(10_001)))
    )


@pytest.mark.parametrize(
    ("twins", "said"),
    [
        (rule({"x": {"expr": "payload.a.map(x, x)"}}), "macro map"),
        (rule({"x": {"expr": "[1].exists(value, true)"}}), "macro exists"),
        (rule({"x": {"expr": "foo + 1"}}), "reads foo"),
        (rule({"x": {"expr": "payload.a.bar()"}}), "calls bar"),
        (rule({"x": {"expr": "1 +"}}), "is no CEL expression"),
        (rule({"x": {"expr": "1.0 + " * 200 + "1.0"}}), "more than 500"),
        (rule({"x": {"expr": "value"}}), "no `path` that gives it"),
        (rule({"x": "a["}), "is no path"),
        (rule({"x": "$nothing.a"}), "starts with none of"),
        (rule({"x": {"path": "a", "unit": "degF", "to": "bar"}}), "different things"),
        (rule({"x": {"path": "a", "unit": "degF"}}), "is missing"),
        (rule({"x.*": "a"}), "needs a star"),
        (rule({"x": "a"}, each="a[0]"), "is not a plain path"),
        (rule({"x": "$topic.line"}), "has no part 'line'"),
        (rule({"x": {"path": "a", "what": 1}}), "is not a key known"),
        (rule({}), "is empty"),
        ([{"twin": "{a", "values": {"x": "x"}}], "brace without its partner"),
    ],
)
def test_a_wrong_mapping_is_refused_before_any_message(twins: Any, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        mapper_of(twins)
    assert caught.value.code == "MappingInvalid"
    assert said in caught.value.message


def test_aliases_are_refused() -> None:
    text = b"version: 2\nsource: s\ntwins: [{twin: t, values: {x: x}, constants: {a: &a [1], b: *a}}]\n"
    with pytest.raises(InvalidError, match="aliases are not taken"):
        parse_payload_mapping(text, "m.yaml")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "v", "t", "s", "\x00"]), inner, max_size=4)
    ),
    max_leaves=12,
)
ANYTHING = mapper_of(
    [
        {"twin": "{a}", "values": {"x": {"path": "v", "type": "number"}, "y": "b.v", "w.*": "s.*"}},
        {
            "twin": "t",
            "each": "s",
            "values": {"x": {"path": "v", "expr": "double(value) * 2.0"}, "z": "$item"},
        },
    ],
    time={"path": "t", "zone": "UTC"},
)


@given(JSON)
def test_whatever_comes_every_message_is_an_event_or_waits_as_it_came(payload: Any) -> None:
    found = run(ANYTHING, payload)
    assert found.events or found.empty
    assert len(found.raws) == len(found.events)
    for event, raw in zip(found.events, (found.raws[n] for n in range(len(found.events))), strict=True):
        again = decode_event(raw)
        if isinstance(event, Event):
            assert again == event
        else:
            assert again == event
            assert ANYTHING.remap(raw, RECEIVED_US) is not None
    assert [type(event) for event in found.events] == [type(event) for event in run(ANYTHING, payload).events]


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.booleans()), max_size=20))
def test_of_a_list_the_bad_items_wait_and_the_others_land(items: list[tuple[float, bool]]) -> None:
    mapper = mapper_of(rule({"x": {"path": "v", "type": "number"}}, each="@"))
    payload = [{"v": value if good else "bad"} for value, good in items]
    found = run(mapper, payload).events
    assert [isinstance(event, Event) for event in found] == [good for _, good in items]
    assert [e.data["x"] for e in found if isinstance(e, Event)] == [value for value, good in items if good]


def test_a_message_that_names_itself_waits_once_however_often_it_is_published() -> None:
    named = mapper_of(rule({"x": {"path": "v", "type": "number"}}), id="n")
    bare = mapper_of(rule({"x": {"path": "v", "type": "number"}}))
    for mapper, payload, is_one in ((named, {"n": "a", "v": "high"}, True), (bare, {"v": "high"}, False)):
        first, again = (run(mapper, payload, id=name) for name in ("session.1", "session.2"))
        assert problem(first) == problem(again)
        assert (first.raws[0] == again.raws[0]) is is_one

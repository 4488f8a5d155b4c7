"""A watch over messages: it says of each what a check of it alone would say, and who is silent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import Detail, InvalidError
from gemel.contracts.checking import Checker
from gemel.contracts.document import Contract, parse_contract
from gemel.contracts.watching import CODES, Sighting, Watch
from gemel.ingest.events import Event, decode_event
from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.mapping.scene import Message

NOW_US = 1_769_860_800_000_000
START_S = NOW_US // 1_000_000 - 3600
KEYS: dict[str, Any] = {
    "contract": "meters",
    "version": "1.0",
    "thing": "meter",
    "time": {"path": "at", "format": "unix_s"},
    "fields": {
        "kw": {"type": "number", "unit": "kW", "unit_at": "unit", "min": 0, "max": 500, "required": True},
        "state": {"type": "string", "values": ["idle", "pumping"]},
        "motor.count": {"type": "integer"},
    },
    "every": {"min_s": 1, "max_s": 60},
    "late_s": 100,
    "ahead_s": 5,
}
MAPPING = {
    "version": 2, "source": "plant", "time": {"path": "at", "format": "unix_s"},
    "twins": [{"twin": "{meter}", "values": {"power": "kw"}}],
}  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 600), st.floats(), st.sampled_from(["idle", "off", "kW"])
)
SAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "meter": st.sampled_from(["m1", "m2", 3, None]),
        "at": st.one_of(st.integers(START_S, START_S + 90), st.just("soon")),
        "kw": VALUES,
        "unit": st.sampled_from(["kW", "W", None]),
        "state": VALUES,
        "motor": st.one_of(st.none(), st.fixed_dictionaries({}, optional={"count": VALUES, "odd": VALUES})),
        "more": VALUES,
        "a\ud800": VALUES,
    },
)
PAYLOADS = st.lists(st.one_of(SAMPLES, SAMPLES, st.integers(), st.lists(SAMPLES, max_size=1)), max_size=8)


def contract(**keys: Any) -> Contract:
    return parse_contract(msgspec.json.encode(KEYS | keys), "c.yaml")


def sample(number: int = 0, **changes: Any) -> dict[str, Any]:
    good = {"meter": "m1", "at": START_S + 10 * number, "kw": 1.5, "unit": "kW"} | changes
    return {key: value for key, value in good.items() if value is not ...}


@given(PAYLOADS, st.lists(st.integers(1, 3), min_size=1))
def test_a_watch_finds_what_a_check_finds_however_it_is_cut_into_batches(
    payloads: list[Any], sizes: list[int]
) -> None:
    checker, watch = Checker(contract(others="refuse"), NOW_US), Watch(contract(others="refuse"), NOW_US)
    checker.take(enumerate(payloads))
    at, counts = 0, dict[tuple[str, str], int]()
    for size in sizes * len(payloads):
        assert watch.look(payloads[at : at + size], NOW_US) == {}
        at += size
        for sighting, drifted in watch.take_drift().items():
            key = (sighting.finding, "" if sighting.finding == "new" else sighting.field)
            counts[key] = counts.get(key, 0) + drifted.count
    assert counts == {tuple(rule): finding.count for rule, finding in checker.findings.items()}


@given(PAYLOADS, st.sets(st.sampled_from(sorted(set(CODES) - {"silent", "flow"}))))
def test_what_is_held_back_is_what_breaks_a_firm_rule(payloads: list[Any], firm: set[str]) -> None:
    strict = contract(others="refuse", policy=dict.fromkeys(firm, "quarantine"))
    watch = Watch(strict, NOW_US)
    broken = watch.look(payloads, NOW_US)
    # The same messages, one a batch: the rules that look back see the same things before each.
    again = Watch(strict, NOW_US)
    alone = {
        number: each
        for number, payload in enumerate(payloads)
        for each in again.look([payload], NOW_US).values()
    }
    assert {number: each.code for number, each in broken.items()} == {
        number: each.code for number, each in alone.items()
    }
    assert {each.code for each in broken.values()} <= {CODES[kind] for kind in firm}
    seen = {sighting.finding for sighting in watch.take_drift()}
    assert bool(broken) is bool(seen & firm)
    assert watch.halted is None


@pytest.mark.parametrize(
    ("wrong", "kind", "field"),
    [
        ({"kw": ...}, "missing", "kw"),
        ({"kw": "1.5"}, "retyped", "kw"),
        ({"kw": 501}, "range", "kw"),
        ({"unit": "W"}, "unit", "kw"),
        ({"state": "off"}, "value", "state"),
        ({"motor": {"count": 1.5}}, "retyped", "motor.count"),
        ({"volt": 230}, "new", "volt"),
        ({"motor": {"speed": 3}}, "new", "motor.speed"),
        ({"at": "now"}, "time", ""),
        ({"at": START_S + 3607}, "ahead", ""),
        ({"at": START_S - 200}, "late", ""),
        ({"at": START_S + 100}, "rate", ""),
    ],
)
def test_each_rule_has_its_code_and_stands_in_quarantine_as_it_came(
    wrong: dict[str, Any], kind: str, field: str
) -> None:
    strict = contract(others="refuse", every={"max_s": 60}, policy={kind: "quarantine"})
    watch = Watch(strict, NOW_US)
    mapper = Mapper(parse_payload_mapping(msgspec.json.encode(MAPPING), "m"), watch)
    payloads = [sample(0), sample(1, **wrong), sample(2)]
    messages = [Message(msgspec.json.encode(each), NOW_US, f"t/{n}") for n, each in enumerate(payloads)]
    mapped = mapper.run(messages)
    assert [type(each) for each in mapped.events] == [Event, Detail, Event]
    held, raw = mapped.events[1], mapped.raws[1]
    assert isinstance(held, Detail)
    assert held.code == CODES[kind]
    assert (field or "the sample") in held.message
    assert "meters 1.0" in held.message
    # Offered again as it is, it still waits for the same reason; through a mapping it is taken.
    assert decode_event(raw) == held
    made = Mapper(mapper.mapping).remap(raw, NOW_US)
    assert made is not None
    assert msgspec.json.decode(raw)["data"] == payloads[1]
    if kind not in ("missing", "time"):
        assert isinstance(made[0], Event)
    drift = watch.take_drift()
    assert drift[Sighting(kind, field)].count == 1
    assert watch.take_drift() == {}


def test_a_field_that_is_new_is_told_of_where_it_is_allowed_and_there_is_room() -> None:
    watch = Watch(contract(), NOW_US)
    assert watch.look([sample(0, **{f"f{n}": n for n in range(500)})], NOW_US) == {}
    drift = watch.take_drift()
    assert drift[Sighting("new", "f7")].example == "7"
    assert sum(each.count for each in drift.values()) == 500
    assert drift[Sighting("new", "*")].count == 300


def test_of_large_batches_a_part_is_looked_at_unless_that_could_cost_something() -> None:
    calm = contract(every={"max_s": 60}, silent_s=10**8)
    for each, whole in (
        (contract(every={}), False),
        (contract(every={}, policy={"unit": "stop"}), True),
        (calm, True),
    ):
        watch = Watch(each, NOW_US)
        assert watch.wanted(200) == range(200)
        turns = [watch.wanted(4000) for _ in range(8)]
        assert all(len(turn) == (4000 if whole else 500) for turn in turns)
        assert {place for turn in turns for place in turn} == set(range(4000))
    mapper = Mapper(
        parse_payload_mapping(msgspec.json.encode(MAPPING), "m"), watch := Watch(contract(every={}), NOW_US)
    )
    payloads = [msgspec.json.encode(sample(0, at=START_S + n, unit="W")) for n in range(4000)]
    mapped = mapper.run([Message(payload, NOW_US, f"t/{n}") for n, payload in enumerate(payloads)])
    assert sum(isinstance(each, Event) for each in mapped.events) == 4000
    assert watch.take_drift()[Sighting("unit", "kw")].count == 500
    # What was not looked at is no pause.
    watch = Watch(contract(every={"max_s": 3}, silent_s=10**8), NOW_US)
    watch.look([sample(0), sample(1)], NOW_US, 1)
    assert watch.take_drift() == {}


def test_what_stops_a_source_stops_it_once() -> None:
    watch = Watch(contract(policy={"unit": "stop"}), NOW_US)
    watch.look([sample(0), sample(1, unit="W"), sample(2, unit="MW")], NOW_US)
    assert isinstance(watch.halted, InvalidError)
    assert watch.halted.code == "DriftUnit"
    assert "W (contract meters 1.0)" in watch.halted.message


@given(
    st.lists(st.tuples(st.sampled_from(["m1", "m2", "m3"]), st.integers(0, 400)), max_size=20),
    st.integers(1, 100),
)
def test_a_thing_is_silent_once_each_time_it_falls_silent(heard: list[tuple[str, int]], limit_s: int) -> None:
    """Against the plain rule: walk second by second, and keep of each thing when it was last heard."""
    watch = Watch(contract(silent_s=limit_s, every={}), NOW_US)
    last: dict[str, int] = {}
    quiet: set[str] = set()
    for second in range(500):
        named = [name for name, at in heard if at == second]
        if named:
            watch.look([sample(0, meter=name) for name in named], NOW_US + second * 1_000_000)
        assert watch.take_again() == quiet & set(named)
        quiet -= set(named)
        last |= dict.fromkeys(named, second)
        found = {sighting.thing for sighting in watch.silence(NOW_US + second * 1_000_000)}
        expected = {name for name, at in last.items() if second - at > limit_s} - quiet
        assert found == expected
        quiet |= found


def test_who_was_heard_of_before_is_given_time_to_be_heard_again() -> None:
    watch = Watch(contract(silent_s=10, every={}), NOW_US)
    watch.remember({"m1": NOW_US - 500_000_000, "m2": NOW_US - 1}, {"m3"})
    assert watch.silence(NOW_US + 9_000_000) == {}
    watch.look([sample(0, meter="m2"), sample(0, meter="m3")], NOW_US + 9_000_000)
    assert watch.take_again() == {"m3"}
    (sighting,) = watch.silence(NOW_US + 12_000_000)
    assert sighting == Sighting("silent", "", "m1")


@pytest.mark.parametrize(
    "keys",
    [
        {"policy": {"silent": "quarantine"}},
        {"policy": {"kw": "stop"}},
        {"policy": {"unit": "ignore"}},
        {"silent_s": -1},
    ],
)
def test_what_is_no_policy(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        contract(**keys)
    assert refused.value.code == "ContractInvalid"


def test_a_default_holds_for_what_is_not_said() -> None:
    found = contract(policy={"default": "quarantine", "rate": "accept"}).policy
    assert (found["unit"], found["rate"], found["new"], found["silent"]) == (
        "quarantine",
        "accept",
        "quarantine",
        "accept",
    )
    assert contract(others="refuse", policy={"default": "stop"}).policy["new"] == "stop"
    assert contract().pace.silent_s == 180


@pytest.mark.parametrize("ahead_s", [5, None])
def test_one_clock_that_runs_ahead_makes_no_latecomers_of_the_others(ahead_s: int | None) -> None:
    keys = {"policy": {"default": "quarantine"}, "ahead_s": ahead_s}
    watch = Watch(contract(**keys) if ahead_s else of_no_clock(**keys), NOW_US)
    stray = sample(at=START_S + 30 * 86_400)
    held = watch.look([sample(0), stray, sample(1)], NOW_US)
    assert [broken.code for broken in held.values()] == ["DriftAhead"] * (ahead_s is not None)
    assert len(watch.look([stray], NOW_US)) == (ahead_s is not None)
    assert not watch.look([sample(2), sample(3)], NOW_US)
    assert [broken.code for broken in watch.look([sample(3, at=START_S - 200)], NOW_US).values()] == [
        "DriftLate"
    ]


def of_no_clock(**keys: Any) -> Contract:
    return parse_contract(
        msgspec.json.encode({key: value for key, value in (KEYS | keys).items() if key != "ahead_s"}),
        "c.yaml",
    )

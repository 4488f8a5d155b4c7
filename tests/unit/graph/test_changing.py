"""The time rules as a single twin obeys them, against a model that keeps every sample."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.graph.changing import Change, Limits, change_twin, time_fault
from gemel.graph.live import LiveTwin, TwinRow
from gemel.history.values import REMOVED
from gemel.models import compile_twin_type, parse
from support.graph import MODELS, PUMP

TYPE = compile_twin_type(parse(MODELS), PUMP)
NOW = 1_700_000_000_000_000
LIMITS = Limits(NOW - 10_000, NOW + 10_000)


def fresh(floor_us: int = 0) -> LiveTwin:
    return LiveTwin(TwinRow(7, "p", PUMP, {}, NOW, NOW, NOW, floor_us))


def wrote(twin: LiveTwin, value: float, time_us: int | None = None, now: int = NOW) -> LiveTwin:
    times = {} if time_us is None else {"head": time_us}
    return change_twin(twin, Change(TYPE, {"head": value}, times_us=times), now, LIMITS).twin


def test_a_write_without_a_time_is_now_or_just_after_the_last() -> None:
    first = wrote(fresh(), 1.0)
    assert first.properties["head"].source_time_us == NOW
    ahead = wrote(first, 2.0, NOW + 5_000, NOW + 1)
    after = wrote(ahead, 3.0, None, NOW + 2)
    held = after.properties["head"]
    assert (held.value, held.source_time_us, held.recorded_us) == (3.0, NOW + 5_001, NOW + 2)
    assert first.properties["head"].value == 1.0


def test_an_older_time_is_history_only_and_moves_the_start() -> None:
    twin = wrote(fresh(), 1.0)
    outcome = change_twin(twin, Change(TYPE, {"head": 9.0}, times_us={"head": NOW - 500}), NOW + 1, LIMITS)
    assert outcome.twin.properties == twin.properties
    assert [sample.time_us for sample in outcome.samples] == [NOW - 500]
    assert outcome.twin.row.valid_from_us == NOW - 500
    assert outcome.twin.etag == twin.etag


def test_a_time_sent_back_counts_as_none() -> None:
    twin = wrote(fresh(), 1.0)
    same = change_twin(twin, Change(TYPE, {"head": 1.0}, times_us={"head": NOW}), NOW + 1, LIMITS)
    assert (same.samples, same.twin.properties) == ([], twin.properties)
    other = wrote(twin, 0.5, NOW, NOW + 1)
    assert (other.properties["head"].value, other.properties["head"].source_time_us) == (0.5, NOW + 1)


def test_true_is_not_one() -> None:
    def put(twin: LiveTwin, value: Any, time_us: int) -> LiveTwin:
        change = Change(TYPE, {"tags": {"a": value}}, times_us={"tags": time_us})
        return change_twin(twin, change, time_us + 1, LIMITS).twin

    twin = put(put(fresh(), 1, NOW), True, NOW)
    assert twin.properties["tags"].value["a"] is True


def test_a_removal_is_a_tombstone() -> None:
    twin = wrote(fresh(), 1.0, NOW + 3_000)
    outcome = change_twin(twin, Change(TYPE, {}, frozenset({"head"})), NOW + 1, LIMITS)
    (sample,) = outcome.samples
    assert (sample.value.kind, sample.time_us) == (REMOVED, NOW + 3_001)
    assert outcome.twin.properties["head"].removed
    assert "head" not in outcome.twin.document().body
    assert outcome.twin.etag != twin.etag
    assert wrote(outcome.twin, 2.0, None, NOW + 2).properties["head"].source_time_us == NOW + 3_002


def test_values_are_held_as_they_are_stored() -> None:
    change = Change(TYPE, {"head": 3, "count": 4, "limits": {"low": 1.0}})
    properties = change_twin(fresh(), change, NOW, LIMITS).twin.properties
    assert [type(properties[name].value) for name in ("head", "count")] == [float, int]
    assert properties["limits"].value == {"low": 1}


@pytest.mark.parametrize(
    ("time_us", "code"),
    [
        (-1, "TimeOutOfRange"),
        (9_300_000_000_000_000, "TimeOutOfRange"),
        (NOW + 10_001, "TimeInFuture"),
        (NOW - 10_001, "TimeBeforeRetention"),
        (NOW - 5_001, "TimeBeforeTwin"),
    ],
)
def test_times_that_are_not_taken(time_us: int, code: str) -> None:
    fault = time_fault(time_us, LIMITS, NOW - 5_000)
    assert fault is not None
    assert fault.code == code
    change = Change(TYPE, {"head": 1.0}, times_us={"head": time_us})
    with pytest.raises(InvalidError) as caught:
        change_twin(fresh(NOW - 5_000), change, NOW, LIMITS)
    assert caught.value.details[0].code == code


def test_times_at_the_limits_are_taken() -> None:
    for time_us in (NOW - 5_000, NOW + 10_000):
        assert time_fault(time_us, LIMITS, NOW - 5_000) is None


writes = st.lists(
    st.tuples(st.floats(0, 3).map(round), st.none() | st.integers(NOW - 50, NOW + 50), st.booleans()),
    max_size=12,
)


@given(writes)
def test_state_is_the_value_of_the_greatest_time(steps: list[tuple[int, int | None, bool]]) -> None:
    twin, samples = fresh(), dict[int, int | None]()
    for step, (value, time_us, removes) in enumerate(steps):
        now = NOW + step
        if removes:
            removed = frozenset({"head"}) & {
                path for path, held in twin.properties.items() if not held.removed
            }
            change = Change(TYPE, {}, removed)
        else:
            change = Change(TYPE, {"head": value}, times_us={} if time_us is None else {"head": time_us})
        before = dict(samples)
        outcome = change_twin(twin, change, now, LIMITS)
        for sample in outcome.samples:
            assert sample.recorded_us == now
            newest = max(before, default=0)
            assert sample.time_us != newest, "a key that holds the state is never contested"
            samples[sample.time_us] = None if sample.value.kind == REMOVED else int(sample.value.num or 0)
        twin = outcome.twin
        if samples:
            held = twin.properties["head"]
            newest = max(samples)
            assert held.source_time_us == newest
            assert (None if held.removed else held.value) == samples[newest]
        if not removes and time_us is None:
            assert twin.properties["head"].value == value, "an answered write is the value"
        assert twin.row.valid_from_us == min([NOW, *samples])

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.graph.changing import Change
from gemel.graph.content import Content, read_twin
from gemel.graph.jsonpatch import Operation, apply, parse_operations
from gemel.graph.live import Held, LiveTwin, TwinRow
from gemel.graph.twin_patch import at_component, explicit_times_us, patch_change, target_model
from gemel.models import compile_twin_type, parse
from support.graph import MODELS, PUMP, PUMP2

SET = parse(MODELS)
TYPES = {model: compile_twin_type(SET, model) for model in (PUMP, PUMP2)}
NOW = 1_700_000_000_000_000


def twin_of(values: Mapping[str, Any], model: str = PUMP) -> LiveTwin:
    row = TwinRow(1, "p", model, dict(TYPES[model].components), NOW, NOW, NOW, 0)
    return LiveTwin(row, {path: Held(value, False, NOW, NOW) for path, value in values.items()})


def changed(twin: LiveTwin, *patch: dict[str, Any], component: str | None = None) -> Change:
    operations = at_component(parse_operations(list(patch)), component)
    after = TYPES[target_model(operations) or twin.row.model_id]
    return patch_change(twin, operations, TYPES[twin.row.model_id], after)


def test_only_what_is_named_is_written() -> None:
    twin = twin_of({"head": 1.0, "count": 1, "motor.speed": 2.0})
    change = changed(twin, {"op": "replace", "path": "/head", "value": 1.0})
    assert (dict(change.values), change.removed, change.restamped) == ({"head": 1.0}, frozenset(), False)


def test_added_and_removed_again_is_nothing() -> None:
    change = changed(
        twin_of({}), {"op": "add", "path": "/head", "value": 1.0}, {"op": "remove", "path": "/head"}
    )
    assert (dict(change.values), change.removed) == ({}, frozenset())


def test_below_a_property_the_whole_value_is_written() -> None:
    twin = twin_of({"limits": {"low": 1.0, "high": 2.0}})
    change = changed(twin, {"op": "replace", "path": "/limits/low", "value": 0.0})
    assert dict(change.values) == {"limits": {"low": 0.0, "high": 2.0}}
    assert twin.properties["limits"].value == {"low": 1.0, "high": 2.0}


def test_a_removed_property_is_not_there_to_be_patched() -> None:
    twin = twin_of({"head": 1.0})
    twin.properties["head"] = Held(None, True, NOW, NOW)
    with pytest.raises(InvalidError, match="/head was not found"):
        changed(twin, {"op": "replace", "path": "/head", "value": 1.0})
    assert dict(changed(twin, {"op": "add", "path": "/head", "value": 1.0}).values) == {"head": 1.0}


def test_a_source_time_alone_takes_the_value_that_is_there() -> None:
    operation = {"op": "add", "path": "/$metadata/head/sourceTime", "value": iso_us(NOW - 1)}
    change = changed(twin_of({"head": 1.0}), operation)
    assert (dict(change.values), dict(change.times_us)) == ({"head": 1.0}, {"head": NOW - 1})


def test_times_in_components() -> None:
    operations = (
        {"op": "add", "path": "/speed", "value": 1.0},
        {"op": "add", "path": "/$metadata/speed", "value": {"sourceTime": iso_us(NOW)}},
    )
    change = changed(twin_of({}), *operations, component="motor")
    assert (dict(change.values), dict(change.times_us)) == ({"motor.speed": 1.0}, {"motor.speed": NOW})


def test_a_new_model_keeps_what_it_has_and_needs_the_rest_gone() -> None:
    move = {"op": "replace", "path": "/$metadata/$model", "value": PUMP2}
    twin = twin_of({"head": 1.0, "motor.speed": 2.0})
    with pytest.raises(InvalidError) as caught:
        changed(twin, move)
    assert "motor does not appear on the DTDL for Twin." in [each.message for each in caught.value.details]
    change = changed(twin, move, {"op": "remove", "path": "/motor"})
    assert change.twin_type.model == PUMP2
    assert (dict(change.values), change.removed) == ({}, frozenset({"motor.speed"}))
    assert change.restamped


def test_explicit_times_are_found_anywhere() -> None:
    body = {
        "$metadata": {"$validFrom": iso_us(1), "a": {"sourceTime": iso_us(2)}},
        "m": [{"sourceTime": iso_us(3)}],
    }
    assert sorted(explicit_times_us(body)) == [1, 2, 3]
    patch = [
        {"op": "add", "path": "/$metadata/a/sourceTime", "value": iso_us(4)},
        {"path": 5},
        "sourceTime",
        None,
    ]
    assert explicit_times_us(patch) == [4]
    assert explicit_times_us({"sourceTime": "noon", "$validFrom": 7}) == []


numbers = st.floats(0, 9, allow_nan=False)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "head": numbers,
        "motor.speed": numbers,
        "limits": st.fixed_dictionaries({}, optional={"low": numbers}),
    },
)
pointers = st.sampled_from(
    [
        "/head",
        "/label",
        "/motor/speed",
        "/limits",
        "/limits/low",
        "/limits/high",
        "/motor",
        "/tags/a",
        "/none",
    ]
)
patches = st.lists(
    st.builds(
        lambda op, path, value: {"op": op, "path": path, "value": value},
        st.sampled_from(["add", "replace", "remove"]),
        pointers,
        numbers
        | st.just("text")
        | st.just({"low": 1.0})
        | st.just({"$metadata": {}})
        | st.just({"$metadata": {}, "speed": 1.0}),
    ),
    min_size=1,
    max_size=4,
)


@given(bodies, patches)
def test_agrees_with_patching_and_reading_the_whole_document(
    values: dict[str, Any], patch: list[dict[str, Any]]
) -> None:
    twin = twin_of(values)
    operations: tuple[Operation, ...] = parse_operations(patch)
    whole = whole_of(twin, operations)
    if isinstance(whole, InvalidError) or whole.faults:
        with pytest.raises(InvalidError) as caught:
            changed(twin, *patch)
        assert caught.value.code == (whole.code if isinstance(whole, InvalidError) else "ValidationFailed")
        if isinstance(whole, Content):
            assert {each.message for each in caught.value.details} == {each.message for each in whole.faults}
        return
    change = changed(twin, *patch)
    kept = {path: value for path, value in values.items() if path not in change.removed}
    assert {**kept, **change.values} == whole.values


def whole_of(twin: LiveTwin, operations: Sequence[Operation]) -> Content | InvalidError:
    try:
        return read_twin(apply(twin.plain(), operations), TYPES[PUMP])
    except InvalidError as error:
        return error

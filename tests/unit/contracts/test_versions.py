"""Versions of contracts: what is called compatible must be so for every sample."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.contracts.checking import Checker
from gemel.contracts.document import Contract, Version, parse_contract
from gemel.contracts.versions import compare, needed_version

BOUNDS = st.one_of(st.none(), st.integers(-3, 3))


def contract(**keys: Any) -> Contract:
    whole = {"contract": "c", "version": "1.2", "fields": {"v": {"type": "number"}}} | keys
    return parse_contract(msgspec.json.encode(whole), "c.yaml")


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["any", "number", "integer", "string", "boolean"]))
    rule: dict[str, Any] = {"type": kind, "required": draw(st.booleans())}
    if kind in ("number", "integer"):
        bounds = sorted(bound for bound in (draw(BOUNDS), draw(BOUNDS)) if bound is not None)
        if len(bounds) == 2:
            rule |= {"min": bounds[0], "max": bounds[1]}
        elif bounds:
            rule[draw(st.sampled_from(["min", "max"]))] = bounds[0]
        unit = draw(st.sampled_from([None, "kW", "kilowatt", "W"]))
        if unit:
            rule |= {"unit": unit} | ({"unit_at": "u"} if draw(st.booleans()) else {})
    values = draw(st.one_of(st.none(), st.lists(st.sampled_from([True, 1, 2, "a"]), min_size=1, max_size=3)))
    return rule | ({"values": values} if values else {})


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    fields = draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), rules(), min_size=1))
    keys: dict[str, Any] = {"fields": fields, "others": draw(st.sampled_from(["allow", "refuse"]))}
    if draw(st.booleans()):
        keys["time"] = {"path": "t", "format": "unix_s"}
        for key in ("late_s", "ahead_s"):
            if draw(st.booleans()):
                keys[key] = draw(st.integers(0, 20))
        if draw(st.booleans()):
            least = draw(st.integers(0, 2))
            keys["flow"] = {
                "min_per_s": least,
                "max_per_s": draw(st.integers(least, 4)),
                "over_s": draw(st.sampled_from([1, 2, 5])),
            }
        if draw(st.booleans()):
            keys["every"] = {"min_s": draw(st.integers(0, 2)), "max_s": draw(st.integers(2, 9))}
    return contract(**keys)


SAMPLES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(
                "abcx", st.one_of(st.none(), st.sampled_from([True, 1, 2, 2.5, -1, "a", "z", [1]]))
            ),
            "t": st.integers(0, 30),
            "u": st.sampled_from(["kW", "W", "kilowatt", 3]),
        },
    ),
    max_size=8,
)


def keeps(wanted: Contract, samples: list[dict[str, Any]]) -> bool:
    checker = Checker(wanted, 10_000_000)
    checker.take(enumerate(samples, 1))
    return checker.kept


@given(contracts(), contracts(), SAMPLES)
def test_what_keeps_a_compatible_contract_keeps_the_one_before(
    old: Contract, new: Contract, samples: list[dict[str, Any]]
) -> None:
    if not any(change.breaking for change in compare(old, new)) and keeps(new, samples):
        assert keeps(old, samples)


@given(contracts())
def test_the_same_contract_has_no_changes(one: Contract) -> None:
    assert compare(one, one) == []


BASE: dict[str, Any] = {"v": {"type": "number", "unit": "kW", "min": 0, "max": 9}}


@pytest.mark.parametrize(
    ("change", "breaking"),
    [
        ({"type": "integer"}, False),
        ({"required": True}, False),
        ({"min": 1, "max": 8}, False),
        ({"unit": "kilowatt"}, None),
        ({"values": [1, 2]}, False),
        ({"type": "string", "unit": None, "min": None, "max": None}, True),
        ({"unit": "W"}, True),
        ({"max": 10}, True),
        ({"min": None}, True),
    ],
)
def test_what_a_change_of_a_field_is(change: dict[str, Any], breaking: bool | None) -> None:
    rule = {key: value for key, value in (BASE["v"] | change).items() if value is not None}
    old, new = contract(fields=BASE), contract(fields={"v": rule})
    changes = compare(old, new)
    assert any(each.breaking for each in changes) is bool(breaking)
    wanted = {None: Version(1, 2), False: Version(1, 3), True: Version(2, 0)}
    assert needed_version(old, changes) == wanted[breaking]


def test_a_field_more_and_a_field_less() -> None:
    old, more = contract(fields=BASE), contract(fields=BASE | {"w": None})
    assert [each.breaking for each in compare(old, more)] == [False]
    assert [each.breaking for each in compare(more, old)] == [True]
    strict = contract(fields=BASE, others="refuse")
    assert [
        each.breaking for each in compare(strict, contract(fields=BASE | {"w": None}, others="refuse"))
    ] == [True]


@pytest.mark.parametrize(
    "keys",
    [
        {"contract": "a b"},
        {"version": "1"},
        {"version": 1.0},
        {"fields": {}},
        {"fields": {"a": None, "a.b": None}},
        {"fields": {"a[0]": None}},
        {"fields": {"v": {"type": "float"}}},
        {"fields": {"v": {"type": "string", "unit": "kW"}}},
        {"fields": {"v": {"type": "number", "unit": "florps"}}},
        {"fields": {"v": {"type": "number", "unit_at": "u"}}},
        {"fields": {"v": {"type": "number", "min": 2, "max": 1}}},
        {"fields": {"v": {"min": "low", "type": "number"}}},
        {"fields": {"v": {"values": []}}},
        {"late_s": 5},
        {"every": {"min_s": 5, "max_s": 1}, "time": {"path": "t"}},
        {"every": {"least": 5}},
        {"thing": "$topic.x"},
        {"others": "maybe"},
        {"flow": {"min_per_s": 1}},
        {"flow": {"min_per_s": 3, "max_per_s": 1}, "time": {"path": "t"}},
        {"flow": {"max_per_s": 1, "over_s": 0}, "time": {"path": "t"}},
        {"policy": {"flow": "quarantine"}},
        {"typo": 1},
        {"each": "a[0]"},
    ],
)
def test_what_is_no_contract(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        contract(**keys)
    assert refused.value.code == "ContractInvalid"
    assert "c.yaml" in refused.value.message

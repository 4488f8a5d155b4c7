"""Sets of models: who is whose, who needs whom, and adding to what is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import NotFoundError
from gemel.models import ModelSet, parse
from support.models import MOTOR, PUMP, SITE, codes, interface, prop

PUMP_ID, MOTOR_ID, ASSET_ID = "dtmi:test:pump;1", "dtmi:test:motor;1", "dtmi:test:asset;1"


def models() -> ModelSet:
    return parse([MOTOR, SITE, PUMP])


def test_membership() -> None:
    found = models()
    assert len(found) == 3
    assert found.ids == {PUMP_ID, MOTOR_ID, ASSET_ID}
    assert PUMP_ID in found
    assert "dtmi:test:pump:_contents:__speed;1" not in found
    with pytest.raises(NotFoundError) as caught:
        found.interface("dtmi:test:none;1")
    assert caught.value.code == "ModelNotFound"


def test_kinship() -> None:
    found = models()
    assert found.is_a(PUMP_ID, ASSET_ID)
    assert found.is_a(PUMP_ID, PUMP_ID)
    assert not found.is_a(ASSET_ID, PUMP_ID)
    assert not found.is_a("dtmi:test:none;1", "dtmi:test:none;1")
    assert found.descendants(ASSET_ID) == {ASSET_ID, PUMP_ID}
    assert found.descendants(ASSET_ID, exact=True) == {ASSET_ID}
    assert found.descendants("dtmi:test:none;1") == frozenset()


def test_needs() -> None:
    found = models()
    assert found.dependencies(PUMP_ID) == {ASSET_ID, MOTOR_ID}
    assert found.dependencies(ASSET_ID) == frozenset()
    assert found.referrers(MOTOR_ID) == {PUMP_ID}
    assert found.referrers(PUMP_ID) == frozenset()


def test_models_are_added_to_known_ones() -> None:
    base = parse([MOTOR, SITE])
    both = parse([PUMP], known=base)
    assert both.ids == models().ids
    assert both.interface(PUMP_ID) == models().interface(PUMP_ID)
    assert len(base) == 2
    assert codes([PUMP], known=parse([SITE])) == ["undefinedReference"]
    assert codes([MOTOR], known=base) == ["duplicateDefinition"]


def test_parts_of_known_models_cannot_be_referred_to() -> None:
    shared = {"@id": "dtmi:test:shared;1", "@type": "Array", "elementSchema": "double"}
    base = parse([interface("dtmi:test:a;1", schemas=[shared])])
    assert codes([interface("dtmi:test:b;1", prop("x", "dtmi:test:shared;1"))], known=base) == [
        "crossPartitionReference"
    ]


def test_models_are_taken_away() -> None:
    found = models()
    rest = found.without({PUMP_ID})
    assert rest.ids == {MOTOR_ID, ASSET_ID}
    assert not [key for key in rest.elements if key.startswith("dtmi:test:pump")]
    assert parse([PUMP], known=rest).interface(PUMP_ID) == found.interface(PUMP_ID)
    assert PUMP_ID in found


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_kinship_agrees_with_a_walk_over_the_documents(parents: list[int]) -> None:
    """Interface n extends one of those before it, so that there are no circles."""
    above = {index: parent % index if index else None for index, parent in enumerate(parents)}
    documents = [
        interface(f"dtmi:test:i{index};1") | ({} if parent is None else {"extends": f"dtmi:test:i{parent};1"})
        for index, parent in above.items()
    ]
    found = parse(documents)
    for index, parent in above.items():
        chain = {index}
        current = parent
        while current is not None:
            chain.add(current)
            current = above[current]
        for other in above:
            mine, its = f"dtmi:test:i{index};1", f"dtmi:test:i{other};1"
            assert found.is_a(mine, its) == (other in chain)
            assert (mine in found.descendants(its)) == (other in chain)

"""Which states follow which."""

from __future__ import annotations

import pytest

from gemel.base.errors import ConflictError, InvalidError
from gemel.graph.lifecycle import FOLLOWERS, STATES, check_state, check_transition

CHAIN = [
    ("planned", "commissioned"),
    ("commissioned", "active"),
    ("active", "maintenance"),
    ("maintenance", "active"),
    ("maintenance", "decommissioned"),
]


def test_the_chain_is_allowed() -> None:
    for before, state in CHAIN:
        check_transition(before, state)


def test_nothing_follows_the_end_as_the_judging_of_samples_relies_on() -> None:
    assert FOLLOWERS["decommissioned"] == ()
    assert all("decommissioned" in FOLLOWERS[state] for state in STATES if state != "decommissioned")


@pytest.mark.parametrize("state", STATES)
def test_a_start_is_any_state_and_no_change_is_no_fault(state: str) -> None:
    check_transition(None, state)
    check_transition(state, state)
    assert check_state(state) == state


def test_a_refusal_names_what_is_allowed() -> None:
    with pytest.raises(ConflictError) as caught:
        check_transition("maintenance", "planned")
    assert caught.value.code == "LifecycleTransitionInvalid"
    assert "active or decommissioned may follow maintenance" in caught.value.message
    with pytest.raises(ConflictError, match="nothing may follow decommissioned"):
        check_transition("decommissioned", "active")


@pytest.mark.parametrize("state", ["", "Active", None, 5, [], "retired"])
def test_other_states_are_refused(state: object) -> None:
    with pytest.raises(InvalidError, match="planned, commissioned, active, maintenance, decommissioned"):
        check_state(state)

"""Patterns of nodes: what they fit, what the thing is called, and where it is worth looking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.connectors.opcua_picks import Called, nested, parse_pick

NAMES = st.lists(
    st.sampled_from(["Plant", "P1", "P2", "Motor", "Speed", "a/b", "x[1]", "é"]), min_size=1, max_size=6
)
LEVELS = st.lists(
    st.sampled_from(["Plant", "P?", "*", "**", "Motor", "Speed", "x[1]"]), min_size=1, max_size=5
)


def called(pattern: str, path: str) -> Called | None:
    return parse_pick(pattern, 0, 1).fits(path.split("/"))


@pytest.mark.parametrize(
    ("pattern", "path", "thing", "names"),
    [
        ("Plant/*/Speed", "Plant/P1/Speed", "P1", ("Speed",)),
        ("Plant/{*}/**", "Plant/P1/Motor/Speed", "P1", ("Motor", "Speed")),
        ("/Plant/{P?}/Motor/*", "Plant/P2/Motor/Speed", "P2", ("Motor", "Speed")),
        ("**/Speed", "Plant/P1/Motor/Speed", "Motor", ("Speed",)),
        ("**/{P*}/**/Speed", "Hall/P1/Speed", "P1", ("Speed",)),
        ("**", "Speed", "", ("Speed",)),
    ],
)
def test_what_a_pattern_makes_of_a_path(pattern: str, path: str, thing: str, names: tuple[str, ...]) -> None:
    assert called(pattern, path) == Called(thing, names)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("Plant/*", "Plant/P1/Speed"), ("Plant/*/Speed", "plant/P1/Speed"), ("x[1]", "x1"), ("*", "a/b")],
)
def test_what_a_pattern_does_not_fit(pattern: str, path: str) -> None:
    assert called(pattern, path) is None


@given(LEVELS, NAMES)
def test_whatever_fits_is_led_to(levels: list[str], path: list[str]) -> None:
    pick = parse_pick("/".join(levels), 0, 1)
    if pick.fits(path) is not None:
        assert all(pick.may_lead(path[:depth]) for depth in range(1, len(path)))


@given(NAMES)
def test_a_name_with_a_slash_is_one_level(path: list[str]) -> None:
    found = parse_pick("/".join("*" * len(path)), 0, 1).fits(path)
    assert found is not None
    assert found.names == tuple(path[-1:])


@pytest.mark.parametrize(
    "text", ["a//b", "{a}/{b}/c", "a/{*}", "a/{**}/b", "a/b}c/d", "a**/b", "/".join("a" * 21)]
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_pick(text, 0, 1)


@pytest.mark.parametrize(
    "text", ["ns=2;s=Speed", "i=2258", "nsu=urn:plant;s=a/b", "ns=3;g=6b29fc40-ca47-1067-b31d"]
)
def test_a_node_id_is_none(text: str) -> None:
    assert parse_pick(text, 0, 1).node == text


def test_values_stand_in_objects_by_their_names() -> None:
    assert nested(("Motor", "Speed"), 3) == {"Motor": {"Speed": 3}}

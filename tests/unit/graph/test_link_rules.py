"""Rules over relationships that are there, and the count of those that are put, against plain sums."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.graph.link_rules import (
    Links,
    Multiplicities,
    of_any_version,
    outgoing_faults,
    unmet_minimums,
)
from gemel.models import compile_twin_type, parse
from support.graph import interface

TANK, PUMP, PUMP2, BIG, ROOM = (
    f"dtmi:r:{name}" for name in ("Tank;1", "Pump;1", "Pump;2", "Big;1", "Room;1")
)


def relation(name: str, **more: object) -> dict[str, object]:
    return {"@type": "Relationship", "name": name, **more}


MODELS = parse(
    [
        interface(
            TANK,
            relation("feeds", target=PUMP, maxMultiplicity=2),
            relation("near"),
            relation("owner", target=ROOM, minMultiplicity=0, maxMultiplicity=1),
        ),
        interface(PUMP),
        interface(PUMP2),
        interface(BIG, extends=PUMP),
        interface(ROOM),
    ]
)
TYPE = compile_twin_type(MODELS, TANK)
RELATIONSHIPS = TYPE.relationships


def kinds(*links: Links) -> list[tuple[str, str]]:
    return [(fault.kind, fault.name) for fault in outgoing_faults(links, TYPE, MODELS.is_a)]


def test_targets_and_names() -> None:
    assert kinds(Links("feeds", PUMP, 1, "r"), Links("near", ROOM, 9, "s"), Links("feeds", BIG, 1, "t")) == []
    assert kinds(Links("feeds", ROOM, 1, "r")) == [("target", "feeds")]
    assert kinds(Links("feeds", PUMP2, 1, "r")) == [("target", "feeds")]
    assert kinds(Links("gone", PUMP, 1, "r")) == [("relationship", "gone")]
    assert kinds(Links("feeds", PUMP, 2, "r"), Links("feeds", BIG, 1, "t")) == [("maxMultiplicity", "feeds")]
    message = next(outgoing_faults([Links("feeds", ROOM, 3, "r7")], TYPE, MODELS.is_a)).message
    assert message == f"The relationship feeds leads to twins of {PUMP}, and {ROOM} is none: r7 and 2 more."


def test_versions_are_passed_over_where_both_ends_move() -> None:
    fits = of_any_version(MODELS)
    assert fits(PUMP2, PUMP)
    assert fits(PUMP, PUMP2)
    assert fits(BIG, PUMP2)
    assert not fits(ROOM, PUMP)
    assert not fits("dtmi:r:None;1", PUMP)


@given(st.lists(st.tuples(st.sampled_from(["feeds", "near", "owner"]), st.integers(1, 4)), max_size=6))
def test_minimums_are_sums(found: list[tuple[str, int]]) -> None:
    links = [Links(name, ROOM, count, "r") for name, count in found]
    totals: Counter[str] = Counter()
    for name, count in found:
        totals[name] += count
    wanted = {name for name in ("feeds", "near", "owner") if totals[name] < 3}
    # DTDL up to v4 has no other minMultiplicity than 0.
    strict = {name: replace(each, min_multiplicity=3) for name, each in RELATIONSHIPS.items()}
    assert {fault.name for fault in unmet_minimums(links, replace(TYPE, relationships=strict))} == wanted


@given(
    st.dictionaries(st.tuples(st.just(1), st.sampled_from(["feeds", "near", "owner"])), st.integers(0, 3)),
    st.lists(
        st.tuples(
            st.sampled_from(["feeds", "near", "owner"]),
            st.sampled_from([None, "feeds", "near", "owner"]),
        ),
        max_size=12,
    ),
)
def test_what_is_admitted_never_exceeds(
    counts: dict[tuple[int, str], int], puts: list[tuple[str, str | None]]
) -> None:
    counter = Multiplicities(dict(counts))
    model = Counter({name: count for (_, name), count in counts.items()})
    for name, replaced in puts:
        if replaced is not None and model[replaced] == 0:
            continue
        most = RELATIONSHIPS[name].max_multiplicity
        full = name != replaced and most is not None and model[name] >= most
        if full:
            with pytest.raises(InvalidError, match=f"allows {most}"):
                counter.admit((1, "t"), RELATIONSHIPS[name], replaced)
            continue
        counter.admit((1, "t"), RELATIONSHIPS[name], replaced)
        if name != replaced:
            model[name] += 1
            if replaced is not None:
                model[replaced] -= 1

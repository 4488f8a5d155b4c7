"""Findings: each kind by itself, and none for a twin that is as its model says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gemel.graph.findings import RULES, CheckedTwin, twin_findings
from gemel.graph.link_rules import Links
from gemel.history.state import StateValue
from gemel.models import compile_twin_type, parse
from support.graph import ASSET, MODELS, MOTOR, PUMP, ROOM

SET = parse(MODELS)
TYPE = compile_twin_type(SET, PUMP)
GOOD = CheckedTwin("p", TYPE, False, {"motor": MOTOR}, [], [Links("feeds", PUMP, 2, "r")], [])


def value(path: str, held: Any, *, removed: bool = False, role: str = "property") -> StateValue:
    return StateValue(path, role, 1, held, removed, 0, 0, 0, "good")


VALUES = [value("head", 1.0), value("motor.speed", 2), value("gone", 1, removed=True)]
CASES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({}, []),
    ({"values": [*VALUES, value("flow", "x", role="telemetry")]}, []),
    ({"decommissioned": True}, [("modelDecommissioned", "")]),
    ({"components": {}}, [("component", "motor")]),
    ({"components": {"motor": MOTOR, "fan": MOTOR}}, [("component", "fan")]),
    ({"components": {"motor": PUMP}}, [("component", "motor")]),
    ({"values": [*VALUES, value("head", "high")]}, [("value", "head")]),
    ({"values": [value("fan.speed", 1.0)]}, [("value", "fan.speed")]),
    ({"links": [Links("contains", PUMP, 1, "r")]}, [("relationship", "contains")]),
    ({"links": [Links("feeds", ROOM, 1, "r")]}, [("target", "feeds")]),
    (
        {"relationship_faults": [("r", "note on relationship feeds: no")]},
        [("relationshipProperty", "r")],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_each_kind(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = list(twin_findings(replace(GOOD, **changes), SET.is_a))
    assert [(finding.kind, finding.part) for finding in found] == expected
    for finding in found:
        assert (finding.severity, finding.hint) == RULES[finding.kind]
        assert (finding.twin, bool(finding.message)) == ("p", True)


def test_multiplicities() -> None:
    feeds = replace(TYPE.relationships["feeds"], min_multiplicity=3, max_multiplicity=4)
    strict = replace(TYPE, relationships={"feeds": feeds})
    for number, expected in ((2, ["minMultiplicity"]), (3, []), (4, []), (5, ["maxMultiplicity"])):
        twin = replace(GOOD, twin_type=strict, links=[Links("feeds", ASSET, number, "r")])
        assert [finding.kind for finding in twin_findings(twin, SET.is_a)] == expected
    twin = replace(GOOD, twin_type=strict, links=[])
    assert [finding.kind for finding in twin_findings(twin, SET.is_a)] == ["minMultiplicity"]

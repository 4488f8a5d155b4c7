"""Reading models takes work in proportion to their number, counted in calls so that no clock decides."""

from __future__ import annotations

import sys
from typing import Any

from gemel.models import parse


def ontology(count: int) -> list[dict[str, Any]]:
    """A tree of models, each with a base, a part, a link, and values."""
    made: list[dict[str, Any]] = []
    for number in range(count):
        contents: list[dict[str, Any]] = [
            {"@type": "Property", "name": f"p{number}", "schema": "double"},
            {
                "@type": ["Telemetry", "Temperature"],
                "name": f"t{number}",
                "schema": "double",
                "unit": "degreeCelsius",
            },
            {"@type": "Relationship", "name": f"r{number}", "target": f"dtmi:test:m{number // 2};1"},
        ]
        model: dict[str, Any] = {
            "@context": "dtmi:dtdl:context;2",
            "@id": f"dtmi:test:m{number};1",
            "@type": "Interface",
            "contents": contents,
        }
        if number:
            model["extends"] = f"dtmi:test:m{number // 8};1"
        if number % 2:
            contents.append({"@type": "Component", "name": f"c{number}", "schema": "dtmi:test:leaf;1"})
        made.append(model)
    made.append({**made[0], "@id": "dtmi:test:leaf;1", "contents": []})
    return made


def calls_of(count: int) -> int:
    documents = ontology(count)
    calls = 0

    def count_call(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count_call)
    try:
        models = parse(documents)
    finally:
        sys.setprofile(before)
    assert len(models) == count + 1
    return calls


def test_twice_the_models_take_twice_the_work() -> None:
    calls_of(8)  # the tables of the language are read once
    small, large = calls_of(500), calls_of(2_000)
    # What is inherited grows with the depth of the tree, which is its logarithm.
    assert large / small < 4.6, f"{small:,} calls for 500 models, {large:,} for 2,000"

"""Three published ontologies load whole, and in time that grows with their size."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from gemel.models import compile_twin_type, parse

ONTOLOGIES = Path(__file__).parents[3] / "shared" / "data" / "ontologies"

pytestmark = pytest.mark.skipif(
    not ONTOLOGIES.is_dir(), reason="the ontologies are not here: ../shared/data/ontologies"
)


@pytest.mark.parametrize(
    ("name", "count"), [("realestatecore-v2", 1364), ("building-v3", 767), ("energygrid-v2", 113)]
)
def test_loads_whole(name: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    documents: list[dict[str, Any]] = json.loads((ONTOLOGIES / f"{name}.json").read_text("utf-8"))
    start = perf_counter()
    models = parse(documents)
    spent_s = perf_counter() - start
    assert models.ids == {document["@id"] for document in documents}
    assert len(models) == count
    slots = 0
    for document in documents:
        own = compile_twin_type(models, document["@id"])
        contents = document.get("contents", [])
        for content in contents if isinstance(contents, list) else [contents]:
            slots += content["name"] in own.slots or content["name"] in own.relationships
    with capsys.disabled():
        print(
            f"\n{name}: {count} interfaces parsed in {spent_s:.3f} s; {slots} own slots and relationships found"
        )
    # Far above what it takes (about 0.15 s for the largest): this catches growth worse than linear.
    assert spent_s < 5


def test_models_are_added_one_by_one() -> None:
    """Each model is read against those before it, as a service does that gets them over time."""
    documents = json.loads((ONTOLOGIES / "energygrid-v2.json").read_text("utf-8"))
    whole = parse(documents)
    waiting = {document["@id"]: document for document in documents}
    grown = parse([])
    while waiting:
        ready = [each for each in waiting if whole.dependencies(each) <= grown.ids]
        assert ready, "the ontology has a circle"
        for each in ready:
            grown = parse([waiting.pop(each)], grown)
    assert grown.ids == whole.ids
    assert all(grown.interface(each) == whole.interface(each) for each in whole.ids)

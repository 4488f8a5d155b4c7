"""The assets agree with themselves, with each other and with the recordings."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from gemel.demo.assets import MAPPING, PUMP_RIG, STATION, load_site

RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "pump-rig"
SITES = (STATION, PUMP_RIG)


def chain(models: dict[str, dict[str, Any]], model_id: str | None) -> list[str]:
    return [model_id, *chain(models, models[model_id].get("extends"))] if model_id else []


@pytest.mark.parametrize("name", SITES)
def test_twins_and_relationships_follow_the_models(name: str) -> None:
    site = load_site(name)
    models = {model["@id"]: model for model in site.models}
    kinds = {twin["$dtId"]: chain(models, twin["$metadata"]["$model"]) for twin in site.twins}
    for twin in site.twins:
        elements = [e for model in kinds[twin["$dtId"]] for e in models[model]["contents"]]
        components = {e["name"] for e in elements if e["@type"] == "Component"}
        assert {key for key, value in twin.items() if isinstance(value, dict)} == components | {"$metadata"}
    identities = {(item["$sourceId"], item["$relationshipId"]) for item in site.relationships}
    assert len(identities) == len(site.relationships)
    for item in site.relationships:
        elements = [e for model in kinds[item["$sourceId"]] for e in models[model]["contents"]]
        [relationship] = [e for e in elements if e["name"] == item["$relationshipName"]]
        assert relationship["@type"] == "Relationship"
        assert relationship["target"] in kinds[item["$targetId"]]
        properties = {key for key in item if not key.startswith("$")}
        assert properties <= {e["name"] for e in relationship.get("properties", [])}


def test_the_station_is_about_ten_twins() -> None:
    assert len(load_site(STATION).twins) == 10


@pytest.mark.parametrize("name", SITES)
def test_an_element_has_a_unit_exactly_when_it_has_a_semantic_type(name: str) -> None:
    for model in load_site(name).models:
        for element in model["contents"]:
            assert isinstance(element["@type"], list) == ("unit" in element), element["name"]


def test_units_are_found_through_components_and_extends() -> None:
    units = load_site(STATION).units()
    assert units["pump-1", "motor.temperature"] == "degreeCelsius"
    assert units["tank", "level"] == "metre"
    assert ("tank", "label") not in units


def test_the_mapping_names_paths_of_the_rig_and_every_column_of_the_recordings() -> None:
    mapping = yaml.safe_load(MAPPING.read_text(encoding="utf-8"))
    [twin] = mapping["twins"]
    site = load_site(PUMP_RIG)
    assert twin["twin"] in {entry["$dtId"] for entry in site.twins}
    measured = {path for name, path in site.units() if name == twin["twin"]}
    assert set(twin["values"]) == measured | {"anomaly", "changepoint"}
    if not RECORDINGS.is_dir():
        pytest.skip(f"the recordings are not at {RECORDINGS}")
    columns = {value["column"]: value.get("optional", False) for value in twin["values"].values()}
    columns[mapping["time"]["column"]] = False
    for file in RECORDINGS.glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            header = set(next(csv.reader(lines, delimiter=mapping["format"]["delimiter"])))
        assert header <= set(columns)
        assert {column for column, optional in columns.items() if not optional} <= header

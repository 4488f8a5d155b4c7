"""The demo's models, graphs and mapping, as they ship inside the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

__all__ = ["MAPPING", "PUMP_RIG", "STATION", "Site", "load_site"]

STATION = "station"
PUMP_RIG = "pump-rig"
ASSETS = files("gemel.demo") / "assets"
MAPPING = ASSETS / PUMP_RIG / "mapping.yaml"  # of the pump rig's recordings


@dataclass(frozen=True, slots=True)
class Site:
    """Models in DTDL, and twins and relationships in the body forms of the graph API."""

    models: list[dict[str, Any]]
    twins: list[dict[str, Any]]
    relationships: list[dict[str, Any]]

    def units(self) -> dict[tuple[str, str], str]:
        """Return (twin, dotted path) → DTDL unit, for every property and telemetry that has one."""
        by_id = {model["@id"]: model for model in self.models}
        return {
            (twin["$dtId"], path): unit
            for twin in self.twins
            for path, unit in _model_units(by_id, twin["$metadata"]["$model"], "")
        }


def load_site(name: str) -> Site:
    """Read a site's assets: `STATION` or `PUMP_RIG`."""
    folder = ASSETS / name
    graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    models = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    return Site(models, graph["twins"], graph["relationships"])


def _model_units(by_id: dict[str, dict[str, Any]], model_id: str, prefix: str) -> list[tuple[str, str]]:
    model = by_id[model_id]
    found = _model_units(by_id, model["extends"], prefix) if "extends" in model else []
    for element in model["contents"]:
        path = f"{prefix}{element['name']}"
        if element["@type"] == "Component":
            found += _model_units(by_id, element["schema"], f"{path}.")
        elif "unit" in element:
            found.append((path, element["unit"]))
    return found

"""A site brought in once, twice, and where its names are taken."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from gemel.base.errors import ConflictError, NotFoundError, PreconditionError
from gemel.demo.assets import PUMP_RIG, STATION, Site, load_site
from gemel.demo.prepare import prepare


class Graph:
    """As much of the graph's routes as preparation uses."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        place = unquote(path)
        if method == "GET":
            if place not in self.held:
                raise NotFoundError("ModelNotFound", "No.")
            return httpx.Response(200, content=json.dumps(self.held[place]))
        self.writes.append(place)
        if method == "POST":
            for model in options["json"]:
                self.held[f"/models/{model['@id']}"] = {"id": model["@id"], "model": model}
        else:
            assert options["headers"] == {"If-None-Match": "*"}
            if place in self.held:
                raise PreconditionError("PreconditionFailed", "It is there.")
            self.held[place] = options["json"]
        return httpx.Response(200, content=b"{}")


@pytest.fixture(params=[STATION, PUMP_RIG])
def site(request: pytest.FixtureRequest) -> Site:
    return load_site(request.param)


def test_the_first_time_everything_is_created_and_then_nothing(site: Site) -> None:
    graph = Graph()
    assert prepare(graph, site) == len(site.models) + len(site.twins) + len(site.relationships)
    held = dict(graph.held)
    assert prepare(graph, site) == 0
    assert graph.held == held
    assert graph.writes.count("/models") == 1


def test_only_what_is_missing_is_created(site: Site) -> None:
    graph = Graph()
    prepare(graph, site)
    del graph.held[f"/models/{site.models[-1]['@id']}"]
    del graph.held[f"/digitaltwins/{site.twins[0]['$dtId']}"]
    assert prepare(graph, site) == 2


def test_values_that_a_twin_has_by_now_do_not_matter() -> None:
    graph, site = Graph(), load_site(STATION)
    prepare(graph, site)
    graph.held["/digitaltwins/tank"]["label"] = "renamed"
    assert prepare(graph, site) == 0


def test_a_name_that_is_taken_by_something_else_is_told(site: Site) -> None:
    link = site.relationships[0]
    relationship = f"/digitaltwins/{link['$sourceId']}/relationships/{link['$relationshipId']}"
    changes: dict[str, dict[str, Any]] = {
        f"/models/{site.models[0]['@id']}": {"model": {"@id": site.models[0]["@id"]}},
        f"/digitaltwins/{site.twins[0]['$dtId']}": {"$metadata": {"$model": "dtmi:other;1"}},
        relationship: {"$relationshipName": link["$relationshipName"], "$targetId": "elsewhere"},
    }
    for place, change in changes.items():
        graph = Graph()
        prepare(graph, site)
        graph.held[place] = {**graph.held[place], **change}
        with pytest.raises(ConflictError, match=r"not the demo's.*--data"):
            prepare(graph, site)

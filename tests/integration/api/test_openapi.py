from __future__ import annotations

import json
import re
from typing import Any

import httpx
import jsonschema_rs
import pytest
from litestar.routes import HTTPRoute

from gemel.api.routing import info_of
from gemel.ingest.arrow import ARROW
from gemel.sources.permits import Permits
from support.api_site import PUMP, Site

REMOTE = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(""")

BODILESS = {
    "/v1/routes/{route_id}/skip",
    "/jobs/deletions",
    "/jobs/imports/{job_id}/cancel",
    "/v1/sources/{source}/start",
    "/v1/sources/{source}/stop",
    "/v1/sources/{source}/probe",
}
"""Acts that need nothing said."""
NOT_JSON = {"/", "/v1/changes", "/metrics", "/openapi", "/v1/jobs/{kind}/{job_id}/log"}

MAPPING = b"version: 2\nsource: s\ntwins: [{twin: a, values: {flow: f}}]\n"


@pytest.fixture(scope="module")
def spec(site: Site) -> dict[str, Any]:
    response = site.stranger().get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def operations(spec: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(m.upper(), path): each for path, item in spec["paths"].items() for m, each in item.items()}


def test_every_route_is_described_with_its_scope(site: Site, spec: dict[str, Any]) -> None:
    told = operations(spec)
    walked = set()
    for route in site.app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            info = info_of(handler)
            if info is None:
                continue
            (method,) = handler.http_methods
            walked.add((str(method), route.path_format))
            operation = told[str(method), route.path_format]
            assert operation["summary"].endswith((".", "…")), route.path
            assert operation["security"] == ([] if info.scope is None else [{"bearer": [str(info.scope)]}])
            assert operation["tags"]
    assert walked == set(told)
    assert len({each["operationId"] for each in told.values()}) == len(told)


def test_parameters_bodies_and_answers_are_complete(spec: dict[str, Any]) -> None:
    for (method, path), operation in operations(spec).items():
        named = {(p["name"], p["in"]) for p in operation["parameters"]}
        assert len(named) == len(operation["parameters"])
        for name in re.findall(r"\{(\w+)\}", path):
            assert (name, "path") in named, path
        for parameter in operation["parameters"]:
            assert parameter["description"], (path, parameter["name"])
        successes = [status for status in operation["responses"] if status[0] in "23" and status != "304"]
        assert "content" not in operation["responses"].get("304", {}), path
        assert len(successes) == 1
        answer = operation["responses"][successes[0]]
        assert ("content" in answer) == (successes[0] not in ("204", "302")), path
        if method in ("POST", "PUT", "PATCH") and path not in BODILESS:
            for media_type, content in operation["requestBody"]["content"].items():
                assert ("example" in content) != (media_type == ARROW), path  # JSON cannot show bytes
        if operation["security"]:
            assert {"401", "403", "400", "500", "503"} <= set(operation["responses"])


def test_every_reference_leads_somewhere(spec: dict[str, Any]) -> None:
    text = json.dumps(spec)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        node: Any = spec
        for step in reference.split("/"):
            node = node[step]
        assert node


def test_examples_follow_their_own_schemas(spec: dict[str, Any]) -> None:
    checked = 0
    for operation in operations(spec).values():
        answers = [each for each in operation["responses"].values() if "content" in each]
        for holder in [operation.get("requestBody", {}), *answers]:
            for media_type, content in holder.get("content", {}).items():
                if "example" in content and "json" in media_type and media_type != "application/x-ndjson":
                    schema = {**content["schema"], "components": spec["components"]}
                    jsonschema_rs.validate(schema, content["example"])
                    checked += 1
    assert checked > 15


def jobs(site: Site, client: httpx.Client) -> dict[str, str]:
    """Make a job of each kind, over and with an error; return where the routes of jobs find them."""
    uris = {"inputBlobUri": "https://8.8.8.8/in", "outputBlobUri": "https://8.8.8.8/out"}
    ended = "UPDATE job SET status = 'failed', finished = now(), error = %s"
    error = json.dumps(
        {"code": "ImportIncomplete", "message": "m", "details": [{"code": "c", "message": "m"}]}
    )
    client.put("/jobs/imports/j", json=uris).raise_for_status()
    site.owner.execute(ended, (error,))
    client.post("/jobs/deletions", headers={"operation-id": "d"}).raise_for_status()
    site.owner.execute(ended, (error,))
    return {
        "/jobs/imports": "/jobs/imports",
        "/jobs/imports/{job_id}": "/jobs/imports/j",
        "/jobs/deletions": "/jobs/deletions",
        "/jobs/deletions/{job_id}": "/jobs/deletions/d",
        "/v1/jobs": "/v1/jobs",
        "/v1/jobs/{kind}/{job_id}": "/v1/jobs/imports/j",
    }


def sources(site: Site, client: httpx.Client) -> dict[str, str]:
    """Describe a source; return where the routes of sources find it."""
    site.app.state.services.sources.permits = Permits.parse("/nowhere")
    text = "name: s\nkind: folder\nconnection: {folder: /nowhere/in}\nmapping: m.yaml"
    mapping = "{version: 1, source: x, format: {type: csv}, time: {column: at}, twins: [{twin: a, values: {flow: f}}]}"
    client.put("/v1/sources/s", json={"definition": text, "mapping": mapping}).raise_for_status()
    return {
        "/v1/sources": "/v1/sources",
        "/v1/sources/{source}": "/v1/sources/s",
        "/v1/sources/{source}/definition": "/v1/sources/s/definition",
        "/v1/sources/{source}/drift": "/v1/sources/s/drift",
    }


def routes(site: Site, client: httpx.Client, twin: dict[str, Any]) -> dict[str, str]:
    """Make a route that has a dead letter; return where the routes of event routes find it."""
    client.put("/v1/endpoints/hooks", json={"url": "https://hooks.example.com/"})
    client.put("/eventroutes/all", json={"endpointName": "hooks", "filter": "true"})
    client.put("/digitaltwins/c", json=twin)
    site.owner.execute("UPDATE event_route SET failures = 1, error = 'x', failing_since = now()")
    assert client.post("/v1/routes/all/skip").status_code == 200
    letter = client.get("/v1/dead-letters").json()["value"][0]["number"]
    return {
        "/v1/endpoints": "/v1/endpoints",
        "/v1/endpoints/{name}": "/v1/endpoints/hooks",
        "/eventroutes": "/eventroutes",
        "/eventroutes/{route_id}": "/eventroutes/all",
        "/v1/routes": "/v1/routes",
        "/v1/routes/{route_id}": "/v1/routes/all",
        "/v1/dead-letters": "/v1/dead-letters",
        "/v1/dead-letters/{number}": f"/v1/dead-letters/{letter}",
    }


def test_answers_follow_the_schemas(spec: dict[str, Any], site: Site, client: httpx.Client) -> None:
    twin = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}, "label": "x"}
    for name in ("a", "b"):
        client.put(f"/digitaltwins/{name}", json=twin)
    client.put("/digitaltwins/a/relationships/r", json={"$targetId": "b", "$relationshipName": "feeds"})
    body = b'{"id":"1","source":"s","type":"t","specversion":"1.0","subject":"nobody","data":{"x":1}}'
    client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    number = client.get("/v1/quarantine").json()["value"][0]["number"]
    client.put("/v1/mappings/plant", content=MAPPING)
    places = {
        "/models": "/models",
        "/models/{model_id}": f"/models/{PUMP}?includeModelDefinition=true",
        "/digitaltwins/{twin_id}": "/digitaltwins/a",
        "/digitaltwins/{twin_id}/components/{component}": "/digitaltwins/a/components/motor",
        "/digitaltwins/{twin_id}/relationships": "/digitaltwins/a/relationships",
        "/digitaltwins/{twin_id}/relationships/{relationship_id}": "/digitaltwins/a/relationships/r",
        "/digitaltwins/{twin_id}/incomingrelationships": "/digitaltwins/b/incomingrelationships",
        "/v1/twins/{twin_id}/history": "/v1/twins/a/history",
        "/v1/models": "/v1/models?search=pump",
        "/v1/models/{model_id}": f"/v1/models/{PUMP}",
        "/v1/check": "/v1/check",
        "/v1/indexes": "/v1/indexes",
        "/v1/twins/{twin_id}/lifecycle": "/v1/twins/a/lifecycle",
        "/v1/twins/{twin_id}/telemetry": "/v1/twins/a/telemetry",
        "/v1/twins/{twin_id}/timeline": "/v1/twins/a/timeline",
        "/v1/twins/{twin_id}/explain": "/v1/twins/a/explain",
        "/v1/diff": "/v1/diff?from=2020-01-01T00:00:00Z",
        "/v1/sources/{source}/position": "/v1/sources/s/position",
        "/v1/mappings": "/v1/mappings",
        "/v1/mappings/{name}": "/v1/mappings/plant",
        "/v1/quarantine": "/v1/quarantine",
        "/v1/quarantine/groups": "/v1/quarantine/groups?by=code&by=day",
        "/v1/quarantine/expiry": "/v1/quarantine/expiry",
        "/v1/quarantine/{number}": f"/v1/quarantine/{number}",
        "/v1/keys": "/v1/keys",
        "/v1/audit": "/v1/audit",
        "/v1/stats": "/v1/stats",
        "/v1/cost": "/v1/cost",
        "/v1/activity": "/v1/activity",
        "/healthz": "/healthz",
        "/readyz": "/readyz",
        "/openapi.json": "/openapi.json",
    }
    places |= jobs(site, client) | sources(site, client) | routes(site, client, twin)
    described = {path for (method, path) in operations(spec) if method == "GET"}
    assert described - set(places) == NOT_JSON
    for path, place in places.items():
        response = client.get(place)
        assert response.status_code == 200, place
        content = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        jsonschema_rs.validate({**content["schema"], "components": spec["components"]}, response.json())
    refused = client.get("/digitaltwins/none").json()
    failure = spec["components"]["responses"]["404"]["content"]["application/json"]["schema"]
    jsonschema_rs.validate({**failure, "components": spec["components"]}, refused)


def test_the_page_needs_nothing_from_elsewhere(site: Site) -> None:
    response = site.stranger().get("/", follow_redirects=True)
    assert response.status_code == 200
    assert response.url.path == "/openapi"
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert not REMOTE.search(response.text)
    assert "innerHTML" not in response.text


def test_the_description_is_the_same_each_time(site: Site, spec: dict[str, Any]) -> None:
    assert site.stranger().get("/openapi.json").json() == spec

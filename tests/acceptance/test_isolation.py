"""The isolation matrix: every route of the application, called with a key of one tenant and ids of another.

The routes are walked from the application, so that a new one cannot be forgotten: it has no row here and fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest
from litestar.routes import HTTPRoute

from gemel.api.routing import info_of
from gemel.base.settings import Settings
from gemel.security.principal import Scope
from support.api_site import MODELS, PUMP, Site
from support.postgres import Dsns

SECRET = "owned-by-one"
TWIN: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}, "label": SECRET}
PATCH = [{"op": "add", "path": "/label", "value": "taken"}]
MAPPING = f"""version: 2
source: {SECRET}
twins: [{{twin: "{{device}}", values: {{flow: v}}}}]
"""
EVENTS = {"Content-Type": "application/cloudevents-batch+json"}
FOLDER = "/nowhere/folder-of-one"
SOURCE = f"name: watch\nkind: folder\nconnection: {{folder: {FOLDER}, files: {SECRET}.csv}}\nmapping: m.yaml"
SOURCE_MAPPING = """
version: 1
source: x
format: {type: csv}
time: {column: at}
twins: [{twin: a, values: {flow: f}}]
"""
TENANT_TABLES = """
SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant' AND table_schema = 'public'"""


class Owned(NamedTuple):
    """What tenant one has that tenant two asks for."""

    quarantined: int
    key_id: str
    change: int
    page: str


@dataclass(frozen=True)
class Attempt:
    """How a route is called for what is another's, and what it must answer: a status, or 200 without any of it."""

    path: str
    status: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The text of the query, which an answer about it may repeat."""
        body = self.options.get("json")
        return str(body.get("query", "")) if isinstance(body, dict) else ""


def event(twin: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"e-{twin}",
        "source": "/one",
        "type": "t",
        "subject": twin,
        "time": "2026-01-31T12:00:00Z",
        "data": data,
    }


Rows = dict[tuple[str, str], list[Attempt]]


def attempts(owned: Owned) -> Rows:
    return {
        **on_models(owned),
        **on_twins(),
        **on_data(owned),
        **on_jobs(),
        **on_sources(),
        **on_the_rest(owned),
    }


def on_models(owned: Owned) -> Rows:
    return {
        ("GET", "/models"): [
            Attempt("/models", 200),
            Attempt(f"/models?dependenciesFor={PUMP}", 404),
            Attempt(f"/models?continuationToken={owned.page}", 400),
        ],
        ("POST", "/models"): [Attempt("/models", 400, {"json": [{**MODELS[1], "@id": "dtmi:two:X;1"}]})],
        ("GET", "/models/{model_id}"): [Attempt(f"/models/{PUMP}", 404)],
        ("PATCH", "/models/{model_id}"): [
            Attempt(
                f"/models/{PUMP}",
                404,
                {"json": [{"op": "replace", "path": "/decommissioned", "value": True}]},
            )
        ],
        ("DELETE", "/models/{model_id}"): [Attempt(f"/models/{PUMP}", 404)],
        ("GET", "/v1/models"): [Attempt("/v1/models?search=pump", 200)],
        ("GET", "/v1/indexes"): [Attempt("/v1/indexes", 200)],
        ("POST", "/v1/indexes"): [Attempt("/v1/indexes", 404, {"json": {"model": PUMP, "path": "label"}})],
        ("DELETE", "/v1/indexes/{path}"): [Attempt("/v1/indexes/label", 404)],
        ("GET", "/v1/models/{model_id}"): [Attempt(f"/v1/models/{PUMP}", 404)],
        ("PUT", "/v1/models/{model_id}/deprecation"): [
            Attempt(f"/v1/models/{PUMP}/deprecation", 404, {"json": {"successor": "dtmi:two:Own;1"}})
        ],
        ("DELETE", "/v1/models/{model_id}/deprecation"): [Attempt(f"/v1/models/{PUMP}/deprecation", 404)],
        ("POST", "/v1/models/upgrade"): [
            Attempt(
                "/v1/models/upgrade", 404, {"json": {"from": PUMP, "to": "dtmi:two:Own;1", "dryRun": False}}
            )
        ],
        ("POST", "/v1/models/{model_id}/log"): [
            Attempt(f"/v1/models/{PUMP}/log", 404, {"json": {"note": "mine"}})
        ],
        ("POST", "/query"): [
            Attempt("/query", 200, {"json": {"query": query}})
            for query in (
                "SELECT * FROM digitaltwins",
                "SELECT * FROM digitaltwins T WHERE T.$dtId = 'a'",
                f"SELECT * FROM digitaltwins T WHERE T.label = '{SECRET}'",
                f"SELECT * FROM digitaltwins T WHERE IS_OF_MODEL(T, '{PUMP}')",
                "SELECT * FROM relationships",
                "SELECT COUNT() FROM digitaltwins",
            )
        ],
    }


def on_twins() -> Rows:
    twin, link, component = (
        "/digitaltwins/a",
        "/digitaltwins/a/relationships/r",
        "/digitaltwins/a/components/motor",
    )
    message = {"headers": {"Message-Id": "m"}}
    return {
        ("GET", "/digitaltwins/{twin_id}"): [Attempt(twin, 404)],
        ("PUT", "/digitaltwins/{twin_id}"): [Attempt(twin, 400, {"json": TWIN | {"label": "taken"}})],
        ("PATCH", "/digitaltwins/{twin_id}"): [Attempt(twin, 404, {"json": PATCH})],
        ("DELETE", "/digitaltwins/{twin_id}"): [Attempt("/digitaltwins/c", 404)],
        ("GET", "/v1/check"): [Attempt("/v1/check", 200)],
        ("GET", "/v1/twins/{twin_id}/lifecycle"): [Attempt("/v1/twins/a/lifecycle", 404)],
        ("PUT", "/v1/twins/{twin_id}/lifecycle"): [
            Attempt("/v1/twins/a/lifecycle", 404, {"json": {"state": "maintenance", "reason": "x"}})
        ],
        ("GET", "/digitaltwins/{twin_id}/components/{component}"): [Attempt(component, 404)],
        ("PATCH", "/digitaltwins/{twin_id}/components/{component}"): [
            Attempt(component, 404, {"json": PATCH})
        ],
        ("GET", "/digitaltwins/{twin_id}/relationships"): [Attempt("/digitaltwins/a/relationships", 404)],
        ("GET", "/digitaltwins/{twin_id}/incomingrelationships"): [
            Attempt("/digitaltwins/b/incomingrelationships", 404)
        ],
        ("GET", "/digitaltwins/{twin_id}/relationships/{relationship_id}"): [Attempt(link, 404)],
        ("PUT", "/digitaltwins/{twin_id}/relationships/{relationship_id}"): [
            Attempt(link, 404, {"json": {"$targetId": "b", "$relationshipName": "feeds"}}),
            Attempt(
                "/digitaltwins/own/relationships/r",
                404,
                {"json": {"$targetId": "b", "$relationshipName": "owns"}},
            ),
        ],
        ("PATCH", "/digitaltwins/{twin_id}/relationships/{relationship_id}"): [
            Attempt(link, 404, {"json": PATCH})
        ],
        ("DELETE", "/digitaltwins/{twin_id}/relationships/{relationship_id}"): [Attempt(link, 404)],
        ("POST", "/digitaltwins/{twin_id}/telemetry"): [
            Attempt(f"{twin}/telemetry", 404, message | {"json": {"flow": 1}})
        ],
        ("POST", "/digitaltwins/{twin_id}/components/{component}/telemetry"): [
            Attempt(f"{component}/telemetry", 404, message | {"json": {"temperature": 1}})
        ],
    }


def on_data(owned: Owned) -> Rows:
    numbers = {"json": {"numbers": [owned.quarantined]}}
    every = {"json": {"source": "/one"}}
    batch = [event("a", flow=666.0), event("b", flow=666.0)]
    follow = {"headers": {"Last-Event-ID": str(owned.change)}}
    return {
        ("POST", "/v1/events"): [
            Attempt("/v1/events", 200, {"content": json.dumps(batch).encode(), "headers": EVENTS})
        ],
        ("GET", "/v1/sources/{source}/position"): [Attempt("/v1/sources/one/position", 200)],
        ("GET", "/v1/twins/{twin_id}/history"): [
            Attempt("/v1/twins/a/history", 404),
            Attempt("/v1/twins/a/history?path=flow&every=1m", 404),
            Attempt("/v1/twins/a/history", 404, {"headers": {"Accept": "text/csv"}}),
        ],
        ("GET", "/v1/twins/{twin_id}/timeline"): [
            Attempt("/v1/twins/a/timeline", 404),
            Attempt("/v1/twins/c/timeline?kind=telemetry&order=asc", 404),
        ],
        ("GET", "/v1/twins/{twin_id}/explain"): [
            Attempt("/v1/twins/a/explain", 404),
            Attempt("/v1/twins/a/explain?path=label", 404),
        ],
        ("GET", "/v1/diff"): [
            Attempt("/v1/diff?from=1970-01-01T00:00:00Z&telemetry=true", 200),
            Attempt("/v1/diff?from=1970-01-01T00:00:00Z&twin=a&depth=2", 404),
        ],
        ("GET", "/v1/twins/{twin_id}/telemetry"): [Attempt("/v1/twins/a/telemetry", 404)],
        ("GET", "/v1/changes"): [
            Attempt("/v1/changes", 200, follow),
            Attempt("/v1/changes?twin=a", 200, follow),
            Attempt(f"/v1/changes?model={PUMP}", 404, follow),
        ],
        ("GET", "/v1/quarantine"): [
            Attempt("/v1/quarantine", 200),
            Attempt("/v1/quarantine?code=TwinUnknown", 200),
            Attempt("/v1/quarantine?order=desc", 200),
            Attempt("/v1/quarantine?source=/one", 200),
        ],
        ("GET", "/v1/quarantine/{number}"): [Attempt(f"/v1/quarantine/{owned.quarantined}", 404)],
        ("GET", "/v1/quarantine/groups"): [
            Attempt("/v1/quarantine/groups", 200),
            Attempt("/v1/quarantine/groups?by=source&by=code", 200),
        ],
        ("GET", "/v1/quarantine/expiry"): [Attempt("/v1/quarantine/expiry", 200)],
        ("PUT", "/v1/quarantine/expiry"): [
            Attempt("/v1/quarantine/expiry", 200, {"json": {"days": 1, "dryRun": True}}),
            Attempt("/v1/quarantine/expiry", 200, {"json": {"days": 1}}),
        ],
        ("POST", "/v1/quarantine/replay"): [
            Attempt("/v1/quarantine/replay", 200, {"json": {**numbers["json"], "dryRun": True}}),
            Attempt("/v1/quarantine/replay", 200, numbers),
            Attempt("/v1/quarantine/replay", 200, {"json": {"code": "PathNotInModel"}}),
        ],
        ("POST", "/v1/quarantine/discard"): [
            Attempt("/v1/quarantine/discard", 200, numbers),
            Attempt("/v1/quarantine/discard", 200, every),
        ],
    }


def on_mappings() -> Rows:
    return {
        ("GET", "/v1/mappings"): [Attempt("/v1/mappings", 200)],
        ("GET", "/v1/mappings/{name}"): [Attempt("/v1/mappings/plant", 404)],
        ("PUT", "/v1/mappings/{name}"): [
            Attempt("/v1/mappings/others", 200, {"content": MAPPING.replace(SECRET, "two").encode()})
        ],
        ("DELETE", "/v1/mappings/{name}"): [Attempt("/v1/mappings/plant", 404)],
        ("POST", "/v1/push/{name}"): [Attempt("/v1/push/plant", 404, {"json": {"device": "a", "v": 666.0}})],
    }


def on_routes() -> Rows:
    endpoint = {"json": {"url": "https://hooks.example.com/taken"}}
    route = {"json": {"endpointName": "hooks", "filter": "true"}}
    return {
        ("GET", "/v1/endpoints"): [Attempt("/v1/endpoints", 200)],
        ("GET", "/v1/endpoints/{name}"): [Attempt("/v1/endpoints/hooks", 404)],
        ("PUT", "/v1/endpoints/{name}"): [Attempt("/v1/endpoints/others", 200, endpoint)],
        ("DELETE", "/v1/endpoints/{name}"): [Attempt("/v1/endpoints/hooks", 404)],
        ("GET", "/eventroutes"): [Attempt("/eventroutes", 200)],
        ("GET", "/eventroutes/{route_id}"): [Attempt("/eventroutes/all", 404)],
        # The endpoint is tenant one's, so that tenant two has no route to it.
        ("PUT", "/eventroutes/{route_id}"): [Attempt("/eventroutes/all", 400, route)],
        ("DELETE", "/eventroutes/{route_id}"): [Attempt("/eventroutes/all", 404)],
        ("GET", "/v1/routes"): [Attempt("/v1/routes", 200)],
        ("GET", "/v1/routes/{route_id}"): [Attempt("/v1/routes/all", 404)],
        ("POST", "/v1/routes/{route_id}/skip"): [Attempt("/v1/routes/all/skip", 404)],
    }


def on_sources() -> Rows:
    """Tenant one's source is `watch`; another of its name is another's own."""
    mine = {
        "json": {
            "definition": SOURCE.replace(SECRET, "mine").replace("watch", "own"),
            "mapping": SOURCE_MAPPING,
        }
    }
    return {
        ("GET", "/v1/sources"): [Attempt("/v1/sources", 200)],
        ("GET", "/v1/sources/{source}"): [Attempt("/v1/sources/watch", 404)],
        ("GET", "/v1/sources/{source}/definition"): [Attempt("/v1/sources/watch/definition", 404)],
        # The folder is allowed to tenant one alone.
        ("PUT", "/v1/sources/{source}"): [Attempt("/v1/sources/own", 400, mine)],
        ("POST", "/v1/sources/{source}/test"): [Attempt("/v1/sources/own/test", 400, mine)],
        ("POST", "/v1/sources/{source}/start"): [Attempt("/v1/sources/watch/start", 404)],
        ("POST", "/v1/sources/{source}/stop"): [Attempt("/v1/sources/watch/stop", 404)],
        ("DELETE", "/v1/sources/{source}"): [Attempt("/v1/sources/watch", 404)],
    }


def on_jobs() -> Rows:
    uris = {"inputBlobUri": "file:///jobs/one/graph.ndjson", "outputBlobUri": "file:../one/log.ndjson"}
    return {
        ("GET", "/jobs/imports"): [Attempt("/jobs/imports", 200)],
        ("PUT", "/jobs/imports/{job_id}"): [Attempt(f"/jobs/imports/{SECRET[:3]}", 400, {"json": uris})],
        ("GET", "/jobs/imports/{job_id}"): [Attempt("/jobs/imports/job", 404)],
        ("DELETE", "/jobs/imports/{job_id}"): [Attempt("/jobs/imports/job", 404)],
        ("POST", "/jobs/imports/{job_id}/cancel"): [Attempt("/jobs/imports/job/cancel", 404)],
        ("GET", "/jobs/deletions"): [Attempt("/jobs/deletions", 200)],
        ("POST", "/jobs/deletions"): [Attempt("/jobs/deletions?timeoutInMinutes=14", 400)],
        ("GET", "/jobs/deletions/{job_id}"): [Attempt("/jobs/deletions/job", 404)],
        ("GET", "/v1/jobs"): [Attempt("/v1/jobs", 200)],
        ("GET", "/v1/jobs/{kind}/{job_id}"): [Attempt("/v1/jobs/imports/job", 404)],
        ("GET", "/v1/jobs/{kind}/{job_id}/log"): [Attempt("/v1/jobs/imports/job/log", 404)],
        # The same id as tenant one's job, whose place it does not take.
        ("POST", "/v1/imports"): [Attempt("/v1/imports?id=job", 201, {"content": b"mine"})],
    }


def on_the_rest(owned: Owned) -> Rows:
    return {
        **on_mappings(),
        **on_routes(),
        ("GET", "/v1/stats"): [Attempt("/v1/stats", 200)],
        ("GET", "/v1/keys"): [Attempt("/v1/keys", 200)],
        ("POST", "/v1/keys"): [
            Attempt("/v1/keys", 400, {"json": {"name": "k", "scopes": ["read"], "tenant": "one"}}),
            Attempt("/v1/keys", 201, {"json": {"name": "k", "scopes": ["read"]}}),
        ],
        ("DELETE", "/v1/keys/{key_id}"): [Attempt(f"/v1/keys/{owned.key_id}", 404)],
        ("GET", "/v1/audit"): [Attempt("/v1/audit", 200), Attempt(f"/v1/audit?before={2**62}", 200)],
        ("GET", "/metrics"): [Attempt("/metrics", 200)],
        ("GET", "/healthz"): [Attempt("/healthz", 200)],
        ("GET", "/readyz"): [Attempt("/readyz", 200)],
        ("GET", "/"): [Attempt("/", 302)],
        ("GET", "/openapi"): [Attempt("/openapi", 200)],
        ("GET", "/openapi.json"): [Attempt("/openapi.json", 200)],
    }


@pytest.fixture(scope="module")
def site(database: Dsns) -> Iterator[Site]:
    site = Site(database, Settings(sources_allow=f"one={FOLDER}"))
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def owned(site: Site) -> Owned:
    """Fill tenant one with something of each kind, and tenant two with a model and a twin of its own."""
    client = site.client("one")
    assert client.post("/models", json=MODELS).status_code == 201
    for twin in ("a", "b", "c"):
        assert client.put(f"/digitaltwins/{twin}", json=TWIN).status_code == 200
    link = {"$targetId": "b", "$relationshipName": "feeds"}
    assert client.put("/digitaltwins/a/relationships/r", json=link).status_code == 200
    batch = [event("a", flow=1.0), event("b", label=SECRET), event(SECRET, flow=1.0)]
    headers = {**EVENTS, "Gemel-Source": "one", "Gemel-Position": SECRET}
    sent = client.post("/v1/events", content=json.dumps(batch).encode(), headers=headers).json()
    assert (sent["accepted"], sent["late"], sent["quarantined"]) == (1, 1, 1)
    page = (
        client.get("/models", headers={"max-items-per-page": "1"})
        .json()["nextLink"]
        .split("continuationToken=")[1]
    )
    hook = {"url": f"https://hooks.example.com/{SECRET}", "headers": {"X-Key": SECRET}}
    assert client.put("/v1/endpoints/hooks", json=hook).status_code == 200
    assert client.put("/v1/mappings/plant", content=MAPPING.encode()).status_code == 200
    route = {"endpointName": "hooks", "filter": f"subject = '{SECRET}'"}
    assert client.put("/eventroutes/all", json=route).status_code == 204
    texts = {"definition": SOURCE, "mapping": SOURCE_MAPPING}
    assert client.put("/v1/sources/watch", json=texts).status_code == 200
    made = client.post("/v1/keys", json={"name": SECRET, "scopes": ["read"]}).json()
    job = client.post("/v1/imports?id=job", content=json.dumps({"Section": SECRET}).encode())
    assert job.status_code == 201, job.text
    other = site.client("two")
    own = {
        "@context": "dtmi:dtdl:context;3",
        "@id": "dtmi:two:Own;1",
        "@type": "Interface",
        "contents": [{"@type": "Relationship", "name": "owns"}],
    }
    assert other.post("/models", json=[own]).status_code == 201
    assert other.put("/digitaltwins/own", json={"$metadata": {"$model": "dtmi:two:Own;1"}}).status_code == 200
    return Owned(sent["rejected"][0]["quarantine"], made["keyId"], 1, page)


def walked(site: Site) -> set[tuple[str, str]]:
    return {
        (str(method), route.path_format)
        for route in site.app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if info_of(handler) is not None
        for method in handler.http_methods
    }


def everything(site: Site, tenant: int) -> dict[str, list[Any]]:
    """Return all rows of a tenant, by table, as the owner sees them."""
    tables = sorted(row[0] for row in site.owner.execute(TENANT_TABLES).fetchall())
    assert {"twin", "latest", "sample", "audit", "api_key", "change", "quarantine"} <= set(tables)
    return {
        table: site.owner.execute(
            f"SELECT t::text FROM {table} t WHERE tenant = %s ORDER BY 1", (tenant,)
        ).fetchall()
        for table in tables
    }


def call(client: httpx.Client, method: str, attempt: Attempt) -> tuple[int, str]:
    """Return the status and the text of an answer; of a stream, what comes within half a second."""
    if not attempt.path.startswith("/v1/changes"):
        response = client.request(method, attempt.path, **attempt.options)
        return response.status_code, response.text + json.dumps(dict(response.headers))
    timeout = httpx.Timeout(10, read=0.5)
    with client.stream(method, attempt.path, **attempt.options, timeout=timeout) as response:
        text = ""
        try:
            for line in response.iter_lines():
                text += line + "\n"
        except httpx.ReadTimeout:
            pass
        return response.status_code, text


def test_the_matrix_has_every_route(site: Site, owned: Owned) -> None:
    assert set(attempts(owned)) == walked(site)


def test_no_route_gives_or_changes_what_is_anothers(site: Site, owned: Owned) -> None:
    client = site.client("two")
    before = everything(site, site.tenants["one"])
    for (method, path), tries in attempts(owned).items():
        for attempt in tries:
            status, text = call(client, method, attempt)
            assert status == attempt.status, f"{method} {path} {attempt}: {status} {text}"
            if attempt.said:
                text = text.replace(attempt.said, "")
            assert SECRET not in text, f"{method} {path}: {text}"
            after = everything(site, site.tenants["one"])
            assert after == before, f"{method} {path} changed what is another's: {attempt}"


def test_no_moment_gives_what_is_anothers(site: Site, owned: Owned) -> None:
    reads = (
        "/digitaltwins/a",
        "/digitaltwins/a/components/motor",
        "/digitaltwins/a/relationships",
        "/digitaltwins/a/relationships/r",
        "/digitaltwins/b/incomingrelationships",
        "/v1/twins/a/history",
        "/v1/twins/a/telemetry",
        "/v1/twins/a/explain",
        "/v1/twins/a/lifecycle",
    )
    now = datetime.now(UTC).isoformat()
    for moment in ({"asOf": now}, {"knownAt": now}, {"asOf": now, "knownAt": now}):
        for path in reads:
            assert site.client("one").get(path, params=moment).status_code == 200, path
            answer = site.client("two").get(path, params=moment)
            assert answer.status_code == 404, path
            assert SECRET not in answer.text
        query = {"query": "SELECT * FROM digitaltwins"} | moment
        assert SECRET in site.client("one").post("/query", json=query).text
        found = site.client("two").post("/query", json=query).json()["value"]
        assert [twin["$dtId"] for twin in found] == ["own"]
    for path in ("/v1/twins/a/timeline?kind=twin", "/v1/diff?from=2026-01-01T00:00:00Z&twin=a"):
        then = f"{path}&knownAt={quote(now)}"
        assert [site.client(tenant).get(then).status_code for tenant in ("one", "two")] == [200, 404], path


def test_lists_hold_the_callers_own_only(site: Site, owned: Owned) -> None:
    client = site.client("two", *Scope)
    models = client.get("/models").json()["value"]
    assert [model["id"] for model in models] == ["dtmi:two:Own;1"]
    found = client.post("/query", json={"query": "SELECT * FROM digitaltwins"}).json()["value"]
    assert [twin["$dtId"] for twin in found] == ["own"]
    stats = client.get("/v1/stats").json()
    assert (stats["twins"], stats["models"], stats["relationships"]) == (1, 1, 0)
    assert client.get("/v1/sources/one/position").json()["position"] is None
    assert owned.key_id not in [key["keyId"] for key in client.get("/v1/keys").json()["value"]]
    assert client.get(f"/v1/quarantine/{owned.quarantined}").status_code == 404
    text = client.get("/v1/audit", params={"limit": 1000}).text
    assert SECRET not in text


def test_a_key_of_one_tenant_named_for_another_does_not_hold(site: Site) -> None:
    token = site.token("one")
    _, number, rest = token.split("_", 2)
    forged = f"gk_{site.tenants['two']}_{rest}"
    assert number == str(site.tenants["one"])
    headers = {"Authorization": f"Bearer {forged}"}
    assert site.stranger().get("/models", headers=headers).status_code == 401

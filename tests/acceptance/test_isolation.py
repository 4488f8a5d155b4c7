"""The isolation matrix: every route of the application, called with a key of one tenant and ids of another.

The routes are walked from the application, so that a new one cannot be forgotten: it has no row in
tests/support/isolation.py and fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from litestar.routes import HTTPRoute

from gemel.api.routing import info_of
from gemel.base.settings import Settings
from gemel.security.principal import Scope
from support.api_site import MODELS, Site
from support.isolation import (
    EVENTS,
    FOLDER,
    MAPPING,
    SECRET,
    SOURCE,
    SOURCE_MAPPING,
    TWIN,
    Attempt,
    Owned,
    attempts,
    event,
)
from support.postgres import Dsns

TENANT_TABLES = """
SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant' AND table_schema = 'public'"""


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

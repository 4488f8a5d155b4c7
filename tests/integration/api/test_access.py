"""Who may do what: every route, walked from the application, without a key, with a wrong one, without the scope."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from litestar.routes import HTTPRoute

from gemel.api.application import HANDLERS, Application
from gemel.api.routing import RouteInfo, info_of
from gemel.base.clock import iso_us, now_us
from gemel.security.principal import Scope
from support.api_site import Site

OPEN = {"/", "/healthz", "/readyz", "/openapi", "/openapi.json"}


class Route(NamedTuple):
    method: str
    path: str
    info: RouteInfo | None


def walk(app: Application) -> Iterator[Route]:
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            for method in handler.http_methods:
                place = re.sub(r"\{number\}", "1", route.path_format)
                yield Route(method, re.sub(r"\{\w+\}", "x", place), info_of(handler))


def call(client: httpx.Client, route: Route) -> httpx.Response:
    if route.path == "/v1/changes":
        with client.stream(route.method, route.path) as response:
            if response.status_code == 200:
                return httpx.Response(200)
            response.read()
            return response
    return client.request(route.method, route.path)


@pytest.fixture(scope="module")
def routes(site: Site) -> list[Route]:
    return list(walk(site.app))


def test_every_route_declares_its_scope(routes: list[Route]) -> None:
    assert len(routes) > len(HANDLERS)
    for route in routes:
        if route.method == "OPTIONS":
            continue
        assert route.info is not None, route
        assert (route.info.scope is None) == (route.path in OPEN), route
        if route.method != "GET" and route.path != "/query":
            assert route.info.action is not None, f"{route} is a write that the audit trail would not see"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer x", "Basic Zm9v", "Bearer gk_1_aaaaaaaa_" + "A" * 43, "Bearer \u00e9\u00ff"],
)
def test_every_route_but_the_open_ones_needs_a_key(
    site: Site, routes: list[Route], authorization: str
) -> None:
    client = site.stranger()
    if authorization:
        client.headers["Authorization"] = authorization.encode("latin-1").decode("latin-1")
    for route in routes:
        if route.path in OPEN and route.method == "GET":
            assert call(client, route).status_code in (200, 302), route
            continue
        response = call(client, route)
        assert response.status_code == 401, route
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["x-ms-error-code"] == "TokenInvalid"


@pytest.mark.parametrize("held", list(Scope))
def test_every_route_needs_its_own_scope(site: Site, routes: list[Route], held: Scope) -> None:
    client = site.client("one", held)
    for route in routes:
        if route.info is None or route.info.scope is None:
            continue
        response = call(client, route)
        if route.info.scope is held:
            assert response.status_code not in (401, 403), route
        else:
            assert response.status_code == 403, route
            assert response.json()["error"]["code"] == "ScopeMissing"
            assert str(route.info.scope) in response.json()["error"]["message"]


def test_options_needs_a_key_but_no_scope(site: Site) -> None:
    assert site.stranger().options("/models").status_code == 401
    assert site.client("one", Scope.READ).options("/models").status_code == 204


def test_a_revoked_key_ends(site: Site) -> None:
    admin, other = site.client(), site.client("one", Scope.READ)
    key_id = other.headers["Authorization"].split("_")[1 + 1]
    assert other.get("/models").status_code == 200
    assert admin.delete(f"/v1/keys/{key_id}").status_code == 204
    assert other.get("/models").status_code == 401
    assert admin.delete(f"/v1/keys/{key_id}").status_code == 404


def test_keys_are_made_and_listed_over_http(site: Site) -> None:
    admin = site.client()
    made = admin.post("/v1/keys", json={"name": "line 1", "scopes": ["ingest", "read"]})
    assert made.status_code == 201, made.text
    assert made.headers["Cache-Control"] == "no-store"
    token = made.json()["key"]
    own = httpx.Client(base_url=site.url, headers={"Authorization": f"Bearer {token}"})
    with own:
        assert own.get("/models").status_code == 200
        assert own.get("/v1/keys").status_code == 403
    listed = {key["keyId"]: key for key in admin.get("/v1/keys").json()["value"]}
    assert listed[made.json()["keyId"]]["scopes"] == ["ingest", "read"]
    assert token not in admin.get("/v1/keys").text
    for body in (
        {},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "", "scopes": ["read"]},
    ):
        assert admin.post("/v1/keys", json=body).status_code == 400


def test_refusals_and_acts_are_in_the_audit_trail(site: Site) -> None:
    reader, trace = site.client("two", Scope.READ), "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    refused = reader.put("/digitaltwins/a%2Fb", json={}, headers=traced)
    assert refused.headers["traceresponse"].startswith(f"00-{trace}-")
    site.client("two").delete("/digitaltwins/nobody")
    site.client("two").put("/digitaltwins/bad", content=b"{")
    site.client("two").post("/models", json=[])
    reader.get("/digitaltwins/nobody")
    rows = [row[:3] for row in site.audited("two")]
    assert ("twin.put", "a/b", "ScopeMissing") in rows
    assert ("twin.delete", "nobody", "DigitalTwinNotFound") in rows
    assert ("twin.put", "bad", "BodyMalformed") in rows
    assert ("model.add", "", "InvalidArgument") in rows
    assert "twin.get" not in [row[0] for row in rows]
    assert trace in [row[5] for row in site.audited("two")]
    before = site.owner.execute("SELECT coalesce(max(audit_no), 0) FROM audit").fetchone()
    site.stranger().post("/v1/events", content=b"[]")
    site.stranger().get("/digitaltwins/x")
    told = site.owner.execute(
        "SELECT action, target, result FROM audit WHERE tenant = 0 AND audit_no > %s", before
    ).fetchall()
    assert told == [("events.ingest", "", "TokenInvalid")]
    shown = site.client("two").get("/v1/audit", params={"limit": 1000}).json()["value"]
    assert [entry["result"] for entry in shown].count("ScopeMissing") >= 1
    assert shown[0]["number"] > shown[-1]["number"]
    older = (
        site.client("two").get("/v1/audit", params={"before": shown[0]["number"], "limit": 1}).json()["value"]
    )
    assert older[0]["number"] == shown[1]["number"]


def test_every_call_of_a_flood_of_strangers_has_its_row(site: Site) -> None:
    calls, traces = 300, [f"{number:032x}" for number in range(0xF100D, 0xF100D + 300)]

    async def flood() -> list[int]:
        async with httpx.AsyncClient(base_url=site.url, timeout=60) as stranger:
            acts = (
                stranger.delete(
                    "/digitaltwins/flooded", headers={"traceparent": f"00-{trace}-{trace[:16]}1-01"}
                )
                for trace in traces
            )
            return [answer.status_code for answer in await asyncio.gather(*acts)]

    assert asyncio.run(flood()) == [401] * calls
    # At once: who was answered has a row.
    assert sum(row[1] == "flooded" for row in site.audited(0)) == calls
    named = site.client("two", Scope.READ)
    for _ in range(40):
        named.delete("/digitaltwins/mine")
    assert sum(row[1] == "mine" for row in site.audited("two")) == 40


def test_faults_and_outages_leave_rows_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client, services = site.client("two"), site.app.state.services

    def told(target: str) -> list[str]:
        return [row[2] for row in site.audited("two") if row[1] == target]

    def fail(_: object) -> None:
        raise RuntimeError("a defect")

    # So that the caller is still known when the database is away, on a slow machine too.
    monkeypatch.setattr("gemel.security.keys.CACHE_TTL_S", 600.0)
    with monkeypatch.context() as patched:
        patched.setattr("gemel.api.adt_twins.call_of", fail)
        assert client.delete("/digitaltwins/defect").status_code == 500
    assert told("defect") == ["InternalError"]
    services.database.reachable = False
    try:
        answer = client.delete("/digitaltwins/away")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        unknown = site.client("two").delete("/digitaltwins/unproven")  # its key is not in the cache
        assert unknown.status_code == 503
        assert site.stranger().delete("/digitaltwins/nameless").status_code == 401
        assert told("away") == []
    finally:
        services.database.reachable = True
    unproven = ("twin.delete", "unproven", "DatabaseUnavailable")
    nameless = ("twin.delete", "nameless", "TokenInvalid")
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        platform = [row[:3] for row in site.audited(0)]
        if told("away") and {unproven, nameless} <= set(platform):
            break
        time.sleep(0.05)
    assert told("away") == ["DatabaseUnavailable"]
    assert (platform.count(unproven), platform.count(nameless)) == (1, 1)


def test_the_audit_trail_is_filtered(site: Site) -> None:
    start = now_us()
    client = site.client("two")
    for name in ("f-1", "f-2", "other"):
        client.put(f"/digitaltwins/{name}", json={})
        client.delete(f"/digitaltwins/{name}")

    def shown(**params: str | int) -> list[dict[str, Any]]:
        answer = client.get("/v1/audit", params={"from": iso_us(start), **params})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["value"])

    assert {entry["tenant"] for entry in shown()} == {"two"}
    assert [entry["target"] for entry in shown(action="twin.del")] == ["other", "f-2", "f-1"]
    assert [entry["action"] for entry in shown(target="f-2")] == ["twin.delete", "twin.put"]
    assert {entry["action"] for entry in shown(result="DigitalTwinNotFound")} == {"twin.delete"}
    assert shown(action="twin", result="ok") == []
    assert len(shown(actor="test", action="twin")) == 6
    assert shown(actor="nobody") == []
    first = shown(action="twin", limit=4)
    rest = shown(action="twin", limit=4, before=first[-1]["number"])
    numbers = [entry["number"] for entry in (*first, *rest)]
    assert (len(first), len(rest)) == (4, 2)
    assert numbers == sorted(numbers, reverse=True)
    middle = first[-1]["at"]
    assert len(shown(action="twin", to=middle)) == 2
    assert len(client.get("/v1/audit", params={"from": middle, "action": "twin"}).json()["value"]) == 4
    for params in ({"from": "yesterday"}, {"to": "2026-01-31"}, {"before": "-1"}, {"action": "\0"}):
        assert client.get("/v1/audit", params=params).status_code == 400, params

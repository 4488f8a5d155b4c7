"""Endpoints and event routes over HTTP: what is kept, shown, refused and audited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gemel.security.principal import Scope
from support.api_site import Site

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK: dict[str, Any] = {
    "url": "https://hooks.example.com/x",
    "secret": SECRET,
    "headers": {"X-Key": "hidden"},
}


@pytest.fixture(autouse=True)
def _empty(site: Site) -> Iterator[None]:
    yield
    site.owner.execute("DELETE FROM event_route")
    site.owner.execute("DELETE FROM endpoint")


def code_of(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


def test_an_endpoint_is_kept_and_its_secrets_are_not_shown(site: Site, client: httpx.Client) -> None:
    made = client.put("/v1/endpoints/hooks", json=HOOK)
    assert made.status_code == 200
    shown = made.json()
    assert (shown["name"], shown["kind"], shown["url"]) == ("hooks", "webhook", HOOK["url"])
    assert (shown["signed"], shown["headers"]) == (True, ["X-Key"])
    assert client.get("/v1/endpoints/hooks").json() == shown
    assert client.get("/v1/endpoints").json() == {"value": [shown]}
    row = str(site.owner.execute("SELECT e::text FROM endpoint e").fetchall())
    for answer in (made.text, client.get("/v1/endpoints").text, row, str(site.audited("one"))):
        assert "hidden" not in answer
        assert SECRET[6:] not in answer
    again = client.put("/v1/endpoints/hooks", json={"url": "https://hooks.example.com/y"}).json()
    assert (again["signed"], again["headers"], again["created"]) == (False, [], shown["created"])
    assert client.delete("/v1/endpoints/hooks").status_code == 204
    assert code_of(client.get("/v1/endpoints/hooks")) == "EndpointNotFound"
    acts = [(row[0], row[1], row[2]) for row in site.audited("one") if row[0].startswith("endpoint.")]
    assert acts == [
        ("endpoint.put", "hooks", "ok"),
        ("endpoint.show", "hooks", "ok"),
        ("endpoint.list", "", "ok"),
        ("endpoint.list", "", "ok"),
        ("endpoint.put", "hooks", "ok"),
        ("endpoint.delete", "hooks", "ok"),
        ("endpoint.show", "hooks", "EndpointNotFound"),
    ]


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("a%20b", HOOK, "InvalidArgument"),
        ("x" * 65, HOOK, "InvalidArgument"),
        ("hooks", {}, "InvalidArgument"),
        ("hooks", [], "InvalidArgument"),
        ("hooks", {**HOOK, "url": 5}, "InvalidArgument"),
        ("hooks", {**HOOK, "color": "red"}, "InvalidArgument"),
        ("hooks", {**HOOK, "kind": "kafka"}, "InvalidArgument"),
        ("hooks", {"kind": "mqtt", "url": "https://a.example.com"}, "OutboundRefused"),
        ("hooks", {"kind": "mqtt", "url": "mqtt://u:p@a.example.com"}, "OutboundRefused"),
        ("hooks", {"kind": "mqtt", "url": "mqtt://a.example.com/plant/#"}, "OutboundRefused"),
        ("hooks", {"kind": "mqtt", "url": "mqtt://127.0.0.1"}, "OutboundRefused"),
        ("hooks", {"kind": "mqtt", "url": "mqtt://a.example.com", "version": "4"}, "InvalidArgument"),
        ("hooks", {"kind": "mqtt", "url": "mqtt://a.example.com", "password": "p"}, "InvalidArgument"),
        ("hooks", {**HOOK, "kind": "pigeon"}, "EventRouteEndpointInvalid"),
        ("hooks", {**HOOK, "secret": "password"}, "InvalidArgument"),
        ("hooks", {**HOOK, "headers": {"X Key": "v"}}, "InvalidArgument"),
        ("hooks", {**HOOK, "headers": {"X-Key": "a\r\nX-Other: b"}}, "InvalidArgument"),
        ("hooks", {**HOOK, "headers": {"X-Key": "é"}}, "InvalidArgument"),
        ("hooks", {**HOOK, "headers": {"Content-Type": "text/plain"}}, "InvalidArgument"),
        ("hooks", {**HOOK, "headers": {"webhook-signature": "v1,x"}}, "InvalidArgument"),
        ("hooks", {**HOOK, "headers": {"x-key": "a", "X-Key": "b"}}, "InvalidArgument"),
        ("hooks", {**HOOK, "headers": {f"x-{n}": "a" for n in range(17)}}, "InvalidArgument"),
        ("hooks", {**HOOK, "url": "ftp://hooks.example.com/"}, "OutboundRefused"),
        ("hooks", {**HOOK, "url": "http://user:pass@hooks.example.com/"}, "OutboundRefused"),
        ("hooks", {**HOOK, "url": "http://127.0.0.1:9/"}, "OutboundRefused"),
        ("hooks", {**HOOK, "url": "http://169.254.169.254/latest"}, "OutboundRefused"),
        ("hooks", {**HOOK, "url": "http://[::1]/"}, "OutboundRefused"),
        ("hooks", {**HOOK, "url": "http://10.1.2.3/"}, "OutboundRefused"),
        ("hooks", {**HOOK, "url": "https://hooks.example.com/" + "x" * 2048}, "InvalidArgument"),
    ],
)
def test_what_is_no_endpoint_is_refused(client: httpx.Client, name: str, body: Any, code: str) -> None:
    response = client.put(f"/v1/endpoints/{name}", json=body)
    assert (response.status_code, code_of(response)) == (400, code)
    assert SECRET[6:] not in response.text
    assert client.get("/v1/endpoints").json() == {"value": []}


def test_an_endpoint_in_use_stays(client: httpx.Client) -> None:
    client.put("/v1/endpoints/hooks", json=HOOK)
    assert client.put("/eventroutes/all", json={"endpointName": "hooks", "filter": "true"}).status_code == 204
    refused = client.delete("/v1/endpoints/hooks")
    assert (refused.status_code, code_of(refused)) == (409, "EndpointInUse")
    assert "all" in refused.text
    assert client.delete("/eventroutes/all").status_code == 204
    assert client.delete("/v1/endpoints/hooks").status_code == 204


def test_routes_are_kept_paged_and_changed(site: Site, client: httpx.Client) -> None:
    client.put("/v1/endpoints/hooks", json=HOOK)
    for name in ("b", "A", "c"):
        body = {"endpointName": "hooks", "filter": f"subject = '{name}'"}
        made = client.put(f"/eventroutes/{name}", json=body, params={"api-version": "2023-10-31"})
        assert (made.status_code, made.content) == (204, b"")
    assert client.get("/eventroutes/b").json() == {
        "id": "b",
        "endpointName": "hooks",
        "filter": "subject = 'b'",
    }
    first = client.get("/eventroutes", headers={"max-items-per-page": "2"}).json()
    second = client.get(first["nextLink"], headers={"max-items-per-page": "2"}).json()
    assert [each["id"] for each in first["value"] + second["value"]] == ["A", "b", "c"]
    assert second["nextLink"] is None
    client.put("/eventroutes/b", json={"endpointName": "hooks", "filter": "false"})
    assert client.get("/eventroutes/b").json()["filter"] == "false"
    states = {each["id"]: each["state"] for each in client.get("/v1/routes").json()["value"]}
    assert states == {"A": "delivering", "b": "disabled", "c": "delivering"}
    assert client.delete("/eventroutes/b").status_code == 204
    assert (
        code_of(client.get("/eventroutes/b")) == code_of(client.get("/v1/routes/b")) == "EventRouteNotFound"
    )
    acts = [row[0] for row in site.audited("one") if row[0].startswith("route.")]
    assert acts[-5:] == ["route.put"] * 4 + ["route.delete"]


def test_a_route_shows_its_lag(site: Site, client: httpx.Client) -> None:
    client.put("/v1/endpoints/hooks", json=HOOK)
    client.put("/eventroutes/all", json={"endpointName": "hooks", "filter": "true"})
    before = client.get("/v1/routes/all").json()
    assert (before["lagChanges"], before["lagSeconds"], before["delivered"]) == (0, 0.0, 0)
    # Nothing delivers here: this server has no deliveries.
    twin = {"$metadata": {"$model": "dtmi:test:Motor;1"}, "speed": 1.0}
    assert client.put("/digitaltwins/lagging", json=twin).status_code == 200
    after = client.get("/v1/routes/all").json()
    assert after["lagChanges"] == 2
    assert after["lagSeconds"] > 0
    refused = client.post("/v1/routes/all/skip")
    assert (refused.status_code, code_of(refused)) == (400, "OperationNotAllowed")
    site.owner.execute("UPDATE event_route SET failures = 1, error = 'x', failing_since = now()")
    (generation,) = site.owner.execute("SELECT generation FROM generation").fetchall()[0]
    event_id = f"{generation}.{before['deliveredUpTo'] + 1}.0"
    assert client.post("/v1/routes/all/skip").json() == {"skipped": event_id}
    moved = client.get("/v1/routes/all").json()
    assert (moved["failures"], moved["error"], moved["delivered"]) == (0, None, 0)
    assert site.audited("one")[-1][:3] == ("route.skip", f"all/{event_id}", "ok")
    site.owner.execute("UPDATE event_route SET failures = 1")
    assert "nothing left" in client.post("/v1/routes/all/skip").text
    site.owner.execute("UPDATE event_route SET stopped = 'forgotten'")
    assert "forgotten" in client.post("/v1/routes/all/skip").text
    assert client.get("/v1/routes/all").json()["state"] == "stopped"


def test_there_are_limits(client: httpx.Client) -> None:
    for number in range(32):
        assert client.put(f"/v1/endpoints/e{number}", json=HOOK).status_code == 200
        route = {"endpointName": f"e{number}", "filter": "true"}
        assert client.put(f"/eventroutes/r{number}", json=route).status_code == 204
    assert code_of(client.put("/v1/endpoints/more", json=HOOK)) == "LimitExceeded"
    more = {"endpointName": "e0", "filter": "true"}
    assert code_of(client.put("/eventroutes/more", json=more)) == "LimitExceeded"
    assert client.put("/v1/endpoints/e0", json=HOOK).status_code == 200
    assert client.put("/eventroutes/r0", json=more).status_code == 204


def test_scopes(site: Site, client: httpx.Client) -> None:
    client.put("/v1/endpoints/hooks", json=HOOK)
    writer, reader = site.client("one", Scope.WRITE), site.client("one", Scope.READ)
    route = {"endpointName": "hooks", "filter": "true"}
    assert writer.put("/v1/endpoints/hooks", json=HOOK).status_code == 403
    assert reader.get("/v1/endpoints").status_code == 403
    assert reader.put("/eventroutes/all", json=route).status_code == 403
    assert writer.put("/eventroutes/all", json=route).status_code == 204
    assert reader.get("/eventroutes").status_code == reader.get("/v1/routes").status_code == 200
    assert reader.post("/v1/routes/all/skip").status_code == 403

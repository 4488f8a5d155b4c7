"""Every conditional header on every route that writes: what does not hold is not performed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gemel.api.application import HANDLERS
from gemel.api.routing import info_of, parameters_of

PIPED = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:Piped;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "label", "schema": "string"},
        {"@type": "Component", "name": "motor", "schema": "dtmi:test:Motor;1"},
        {
            "@type": "Relationship",
            "name": "feeds",
            "properties": [{"@type": "Property", "name": "length", "schema": "double"}],
        },
    ],
}
MODEL = {"$metadata": {"$model": "dtmi:test:Piped;1"}}
TWIN = {**MODEL, "label": "new", "motor": {"$metadata": {}, "speed": 1.0}}
LINK = {"$targetId": "end", "$relationshipName": "feeds"}
STALE = 'W/"00000000-0000-0000-0000-000000000000"'
CHANGES: list[tuple[str, str, Any]] = [
    ("PUT", "/digitaltwins/one", TWIN),
    ("PATCH", "/digitaltwins/one", [{"op": "add", "path": "/label", "value": "new"}]),
    ("PATCH", "/digitaltwins/one/components/motor", [{"op": "add", "path": "/speed", "value": 9}]),
    ("PUT", "/v1/twins/one/lifecycle", {"state": "maintenance", "reason": "test"}),
    ("PUT", "/digitaltwins/one/relationships/r", LINK),
    ("PATCH", "/digitaltwins/one/relationships/r", [{"op": "add", "path": "/length", "value": 2}]),
    ("DELETE", "/digitaltwins/one/relationships/r", None),
    ("DELETE", "/digitaltwins/one", None),
]


@pytest.fixture
def etag_of(client: httpx.Client) -> Any:
    """Make the twin and relationship anew; say what a path's etag is."""
    assert client.post("/models", json=[PIPED]).status_code in (201, 409)
    client.delete("/digitaltwins/one/relationships/r")
    for twin in ("one", "end"):
        client.delete(f"/digitaltwins/{twin}")
        made = client.put(f"/digitaltwins/{twin}", json={**MODEL, "motor": {"$metadata": {}}})
        assert made.status_code == 200, made.text
    assert client.put("/digitaltwins/one/relationships/r", json=LINK).status_code == 200

    def read(path: str) -> str | None:
        tag: str | None = client.get(path).headers.get("ETag")
        return tag

    return read


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": STALE}, 412),
        ({"If-Match": f'"a", {STALE}'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-Match": "*", "If-None-Match": "*"}, 412),
        ({"If-Match": "nonsense"}, 400),
        ({"If-None-Match": STALE}, 400),
    ],
)
def test_a_change_whose_condition_does_not_hold_is_not_performed(
    client: httpx.Client,
    etag_of: Any,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    before = etag_of(path)
    answer = client.request(method, path, json=body, headers=headers)
    code = "PreconditionFailed" if status == 412 else "InvalidArgument"
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert etag_of(path) == before is not None


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize("form", ["{tag}", '"other", {tag}', "*"])
def test_a_change_whose_condition_holds_is_performed(
    client: httpx.Client, etag_of: Any, method: str, path: str, body: Any, form: str
) -> None:
    if path == "/digitaltwins/one" and method == "DELETE":
        client.delete("/digitaltwins/one/relationships/r")
    tag = etag_of(path)
    answer = client.request(method, path, json=body, headers={"If-Match": form.format(tag=tag)})
    assert answer.status_code in (200, 204), answer.text
    assert etag_of(path) != tag


@pytest.mark.parametrize("header", ["*", STALE])
@pytest.mark.parametrize(("path", "body"), [(CHANGES[0][1], TWIN), (CHANGES[4][1], LINK)])
def test_nothing_is_made_under_if_match(
    client: httpx.Client, etag_of: Any, path: str, body: Any, header: str
) -> None:
    client.delete("/digitaltwins/one/relationships/r")
    if body is TWIN:
        client.delete(path)
    answer = client.put(path, json=body, headers={"If-Match": header})
    assert (answer.status_code, answer.json()["error"]["code"]) == (412, "PreconditionFailed")
    assert client.get(path).status_code == 404
    assert client.put(path, json=body, headers={"If-None-Match": "*"}).status_code == 200


def filled(place: str) -> str:
    """Return a path that a route takes."""
    return "/".join(
        ("1" if ":int}" in part else "dtmi:x:y;1") if "{" in part else part for part in place.split("/")
    )


def test_every_other_writing_route_refuses_conditions(client: httpx.Client) -> None:
    refused = 0
    for handler in HANDLERS:
        info = info_of(handler)
        if info is None or info.action is None or "conditions" in handler.resolve_dependencies():
            continue
        method = next(iter(handler.http_methods))
        if method == "GET":
            continue
        [place] = handler.paths
        path = filled(place)
        for header, value in (("If-Match", STALE), ("If-None-Match", "*")):
            answer = client.request(method, path, headers={header: value})
            assert answer.status_code == 400, (method, path, answer.text)
            assert header.lower() in answer.json()["error"]["message"]
            refused += 1
    assert refused > 20


def test_every_route_that_reads_takes_a_moment_or_refuses_one(client: httpx.Client) -> None:
    without = set()
    for handler in HANDLERS:
        info = info_of(handler)
        if info is None or info.scope is None or next(iter(handler.http_methods)) != "GET":
            continue
        told = {getattr(each.kwarg_definition, "name", "") for each in parameters_of(handler).values()}
        [place] = handler.paths
        path = filled(place)
        for name in ("asOf", "knownAt"):
            if name in told:
                continue
            without.add(place)
            for moment in ("2026-01-31T12:00:00Z", "yesterday", ""):
                answer = client.get(path, params={name: moment})
                assert answer.status_code == 400, (path, answer.text)
                said = answer.json()["error"]["message"]
                assert "cannot be asked of a moment" in said or "tells of a window of time" in said
    assert {"/models", "/v1/check", "/v1/stats", "/v1/keys", "/eventroutes"} <= without


@pytest.mark.parametrize(
    "path", ["/digitaltwins/one", "/digitaltwins/one/components/motor", "/digitaltwins/one/relationships/r"]
)
def test_what_a_reader_has_is_not_sent_again(client: httpx.Client, etag_of: Any, path: str) -> None:
    whole, tag = client.get(path), etag_of(path)
    for held in (tag, f'"other", {tag}', "*"):
        same = client.get(path, headers={"If-None-Match": held})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    stale = client.get(path, headers={"If-None-Match": STALE})
    assert (stale.status_code, stale.json()) == (200, whole.json())
    change = [{"op": "add", "path": "/length" if "relation" in path else "/label", "value": 3}]
    if path.endswith("motor"):
        change[0]["path"] = "/speed"
    elif path.endswith("one"):
        change[0]["value"] = "changed"
    assert client.patch(path, json=change).status_code == 204
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200
    refused = client.get(path, headers={"If-None-Match": "nonsense"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidArgument")


def test_what_was_is_always_sent(client: httpx.Client, etag_of: Any) -> None:
    path = "/digitaltwins/one"
    at = client.get(path).json()["$metadata"]["$lastUpdateTime"]
    answer = client.get(path, params={"asOf": at}, headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert answer.json()["$dtId"] == "one"

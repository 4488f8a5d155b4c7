"""The data plane's contract, operation by operation: statuses, codes, headers and bodies, as data.

Source: the published specification of api-version 2023-10-31, and recordings of the service that this replaces.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gemel.base.settings import Settings
from support.adt_cases import (
    BASE,
    CASES,
    CONTEXT,
    HEIR,
    LINK,
    LISTS,
    MODELS,
    OPERATIONS,
    ROUTE,
    TWIN,
    WITH_ETAG,
    Case,
    replace,
)
from support.api_site import Site
from support.postgres import Dsns

ETAG = re.compile(r'W/"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,7}Z")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(database: Dsns) -> Iterator[Site]:
    site = Site(database, Settings())
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def client(site: Site) -> httpx.Client:
    client = site.client()
    client.headers["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
    client.headers["tracestate"] = "vendor=value"
    return client


def numbered(value: Any, number: int) -> Any:
    return json.loads(re.sub(r"(?<=[a-z])N\b", str(number), json.dumps(value)))


@pytest.fixture
def number(client: httpx.Client) -> int:
    """What a case's requests are about, made anew."""
    number = next(numbers)
    lone = {"@context": CONTEXT, "@id": "dtmi:c:LoneN;1", "@type": "Interface"}
    gone = {"@context": CONTEXT, "@id": "dtmi:c:GoneN;1", "@type": "Interface"}
    made = [client.post("/models", json=numbered([*MODELS, lone, gone], number))]
    made += [
        client.put(f"/digitaltwins/{twin}{number}", json=numbered(TWIN, number))
        for twin in ("t", "u", "lone")
    ]
    made.append(client.put(f"/digitaltwins/t{number}/relationships/r", json=numbered(LINK, number)))
    made.append(client.put("/v1/endpoints/hooks", json={"url": "https://hooks.example.com/"}))
    made.append(client.put("/eventroutes/all", json=ROUTE))
    made.append(client.patch(f"/models/dtmi:c:Gone{number};1", json=replace("/decommissioned", True)))
    for response in made:
        assert response.status_code < 300, response.text
    return number


def send(client: httpx.Client, case: Case, number: int) -> httpx.Response:
    method, _ = OPERATIONS[case.operation]
    path, body = numbered(case.path, number), numbered(case.body, number)
    content = case.raw if case.raw is not None else (None if body is None else json.dumps(body).encode())
    headers = {**case.headers} if content is None else {"Content-Type": "application/json", **case.headers}
    version = ("&" if "?" in path else "?") + "api-version=2023-10-31"
    return client.request(method, path + version, content=content, headers=headers)


def test_every_operation_is_served(client: httpx.Client) -> None:
    spec = client.get("/openapi.json").json()
    served = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, item in spec["paths"].items()
        for method in item
    }
    assert len(OPERATIONS) == 32
    assert {name for name, place in OPERATIONS.items() if place not in served} == set()


def test_every_operation_has_cases() -> None:
    assert {case.operation for case in CASES} == set(OPERATIONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation}-{case.status}-{case.code}")
def test_an_operation_answers_as_the_contract_says(client: httpx.Client, case: Case, number: int) -> None:
    response = send(client, case, number)
    assert response.status_code == case.status, response.text
    trace = response.headers["traceresponse"].split("-")
    assert (trace[0], trace[1], len(trace[2]), trace[3]) == ("00", TRACE, 16, "01")
    if case.status >= 400:
        error = response.json()["error"]
        assert error["code"] == case.code, error
        assert response.headers["x-ms-error-code"] == case.code
        assert error["message"]
        assert all(detail["code"] and detail["message"] for detail in error.get("details", ()))
        return
    assert "x-ms-error-code" not in response.headers
    if case.status == 204:
        assert response.content == b""
    if case.operation in WITH_ETAG:
        assert ETAG.fullmatch(response.headers["ETag"])
    if case.operation in LISTS:
        page = response.json()
        assert set(page) == {"value", "nextLink"}
        assert page["nextLink"] is None or page["nextLink"].startswith("/")
    if case.operation == "Query_QueryTwins":
        assert set(response.json()) == {"value", "continuationToken"}
        assert float(response.headers["query-charge"]) >= 0


def test_the_bodies_are_as_recorded(client: httpx.Client, number: int) -> None:
    twin_id = f"t{number}"
    got = client.get(f"/digitaltwins/{twin_id}")
    twin = got.json()
    assert (twin["$dtId"], twin["$etag"], twin["label"]) == (twin_id, got.headers["ETag"], "one")
    assert twin["$metadata"]["$model"] == numbered(HEIR, number)
    assert TIME.fullmatch(twin["$metadata"]["$lastUpdateTime"])
    assert TIME.fullmatch(twin["$metadata"]["label"]["lastUpdateTime"])
    assert twin["tank"]["volume"] == 1.5
    assert TIME.fullmatch(twin["tank"]["$metadata"]["volume"]["lastUpdateTime"])
    assert client.get(f"/digitaltwins/{twin_id}/components/tank").json() == twin["tank"]
    link = client.get(f"/digitaltwins/{twin_id}/relationships/r")
    assert link.json() == {
        "$relationshipId": "r",
        "$etag": link.headers["ETag"],
        "$sourceId": twin_id,
        "$targetId": f"u{number}",
        "$relationshipName": "feeds",
        "length": 2.5,
    }
    (incoming,) = client.get(f"/digitaltwins/u{number}/incomingrelationships").json()["value"]
    assert incoming == {
        "$relationshipId": "r",
        "$sourceId": twin_id,
        "$relationshipName": "feeds",
        "$relationshipLink": f"/digitaltwins/{twin_id}/relationships/r",
    }
    (model,) = client.get("/models", params={"dependenciesFor": numbered(BASE, number)}).json()["value"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", model.pop("uploadTime"))
    assert model == {
        "id": numbered(BASE, number),
        "displayName": {"en": "Base"},
        "description": {},
        "decommissioned": False,
    }
    counted = client.post(
        "/query", json={"query": f"SELECT COUNT() FROM digitaltwins T WHERE T.$dtId = '{twin_id}'"}
    )
    assert counted.json() == {"value": [{"COUNT": 1}], "continuationToken": None}


def test_messages_that_clients_are_known_to_look_at(client: httpx.Client, number: int) -> None:
    wrong = {**numbered(TWIN, number), "nothing": 1}
    refused = client.put(f"/digitaltwins/t{number}", json=wrong).json()["error"]
    assert refused["message"] == "Invalid twin specified"
    assert "nothing" in refused["details"][0]["message"]
    moved = client.patch(f"/digitaltwins/t{number}", json=[{"op": "move", "from": "/label", "path": "/x"}])
    assert moved.json()["error"]["message"].startswith("Unsupported operation type: 'move'")
    query = client.post("/query", json={"query": "foo"}).json()["error"]["message"]
    assert "Line" in query or "line" in query


@pytest.mark.parametrize(
    "version",
    ["2020-10-31", "2021-06-30-preview", "2022-05-31", "2023-02-27-preview", "2023-06-30", "2023-10-31"],
)
def test_every_version_of_the_api_answers_alike(client: httpx.Client, version: str) -> None:
    response = client.get("/models", params={"api-version": version})
    assert response.json()["value"] == client.get("/models").json()["value"]


@pytest.mark.parametrize(
    "version", ["2020-10-30", "2023-11-01", "2020-13-41", "2023-10-31-beta", "", "latest"]
)
def test_other_versions_are_refused(client: httpx.Client, version: str) -> None:
    response = client.get("/models", params={"api-version": version})
    assert (response.status_code, response.headers["x-ms-error-code"]) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        f"00-{TRACE}-0000000000000000-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
    ],
)
def test_a_trace_that_is_none_starts_a_new_one(client: httpx.Client, traceparent: str) -> None:
    response = client.get("/models", headers={"traceparent": traceparent, "tracestate": "=,="})
    assert response.status_code == 200
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", response.headers["traceresponse"])
    assert TRACE not in response.headers["traceresponse"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Basic eDp5", "Bearer x", "Bearer gk_1_a_b", "Bearer \xff\xfe", "gk_1_a_b"],
)
def test_a_token_that_does_not_hold_is_401(client: httpx.Client, authorization: str) -> None:
    response = client.get("/models", headers={b"Authorization": authorization.encode("latin-1")})
    assert response.status_code == 401, response.text
    assert response.headers["x-ms-error-code"] == response.json()["error"]["code"] == "TokenInvalid"
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert "traceresponse" in response.headers


def test_pages_keep_their_size_to_the_end(client: httpx.Client, number: int) -> None:
    names = [f"many-{each}" for each in range(5)]
    for name in names:
        made = client.put(f"/digitaltwins/t{number}/relationships/{name}", json=numbered(LINK, number))
        assert made.status_code == 200
    for path in (f"/digitaltwins/t{number}/relationships", f"/digitaltwins/u{number}/incomingrelationships"):
        found, sizes, following = [], [], path
        while following:
            first = {"max-items-per-page": "2"} if following == path else {}
            page = client.get(following, headers=first).json()
            found += [each["$relationshipId"] for each in page["value"]]
            sizes.append(len(page["value"]))
            following = page["nextLink"]
        assert (sizes, sorted(found)) == ([2, 2, 2], sorted([*names, "r"]))

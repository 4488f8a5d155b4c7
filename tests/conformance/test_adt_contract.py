"""The data plane's contract, operation by operation: statuses, codes, headers and bodies, as data.

Source: the published specification of api-version 2023-10-31, and recordings of the service that this replaces.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gemel.base.settings import Settings
from support.api_site import Site
from support.postgres import Dsns

OPERATIONS = {
    "DigitalTwinModels_Add": ("POST", "/models"),
    "DigitalTwinModels_List": ("GET", "/models"),
    "DigitalTwinModels_GetById": ("GET", "/models/{}"),
    "DigitalTwinModels_Update": ("PATCH", "/models/{}"),
    "DigitalTwinModels_Delete": ("DELETE", "/models/{}"),
    "Query_QueryTwins": ("POST", "/query"),
    "DigitalTwins_GetById": ("GET", "/digitaltwins/{}"),
    "DigitalTwins_Add": ("PUT", "/digitaltwins/{}"),
    "DigitalTwins_Update": ("PATCH", "/digitaltwins/{}"),
    "DigitalTwins_Delete": ("DELETE", "/digitaltwins/{}"),
    "DigitalTwins_GetRelationshipById": ("GET", "/digitaltwins/{}/relationships/{}"),
    "DigitalTwins_AddRelationship": ("PUT", "/digitaltwins/{}/relationships/{}"),
    "DigitalTwins_UpdateRelationship": ("PATCH", "/digitaltwins/{}/relationships/{}"),
    "DigitalTwins_DeleteRelationship": ("DELETE", "/digitaltwins/{}/relationships/{}"),
    "DigitalTwins_ListRelationships": ("GET", "/digitaltwins/{}/relationships"),
    "DigitalTwins_ListIncomingRelationships": ("GET", "/digitaltwins/{}/incomingrelationships"),
    "DigitalTwins_SendTelemetry": ("POST", "/digitaltwins/{}/telemetry"),
    "DigitalTwins_SendComponentTelemetry": ("POST", "/digitaltwins/{}/components/{}/telemetry"),
    "DigitalTwins_GetComponent": ("GET", "/digitaltwins/{}/components/{}"),
    "DigitalTwins_UpdateComponent": ("PATCH", "/digitaltwins/{}/components/{}"),
    "EventRoutes_List": ("GET", "/eventroutes"),
    "EventRoutes_GetById": ("GET", "/eventroutes/{}"),
    "EventRoutes_Add": ("PUT", "/eventroutes/{}"),
    "EventRoutes_Delete": ("DELETE", "/eventroutes/{}"),
    "ImportJobs_List": ("GET", "/jobs/imports"),
    "ImportJobs_Add": ("PUT", "/jobs/imports/{}"),
    "ImportJobs_GetById": ("GET", "/jobs/imports/{}"),
    "ImportJobs_Delete": ("DELETE", "/jobs/imports/{}"),
    "ImportJobs_Cancel": ("POST", "/jobs/imports/{}/cancel"),
    "DeleteJobs_Add": ("POST", "/jobs/deletions"),
    "DeleteJobs_List": ("GET", "/jobs/deletions"),
    "DeleteJobs_GetById": ("GET", "/jobs/deletions/{}"),
}
CONTEXT = "dtmi:dtdl:context;2"
BASE, HEIR, TANK = "dtmi:c:BaseN;1", "dtmi:c:HeirN;1", "dtmi:c:TankN;1"
MODELS = [
    {"@context": CONTEXT, "@id": BASE, "@type": "Interface", "displayName": "Base"},
    {
        "@context": CONTEXT,
        "@id": TANK,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "volume", "schema": "double"},
            {"@type": "Telemetry", "name": "level", "schema": "double"},
        ],
    },
    {
        "@context": CONTEXT,
        "@id": HEIR,
        "@type": "Interface",
        "extends": BASE,
        "contents": [
            {"@type": "Property", "name": "label", "schema": "string"},
            {"@type": "Telemetry", "name": "flow", "schema": "double"},
            {"@type": "Component", "name": "tank", "schema": TANK},
            {
                "@type": "Relationship",
                "name": "feeds",
                "properties": [{"@type": "Property", "name": "length", "schema": "double"}],
            },
        ],
    },
]
NEW = {"@context": CONTEXT, "@id": "dtmi:c:NewN;1", "@type": "Interface"}
TWIN = {"$metadata": {"$model": HEIR}, "label": "one", "tank": {"$metadata": {}, "volume": 1.5}}
LINK = {"$targetId": "uN", "$relationshipName": "feeds", "length": 2.5}
MESSAGE = {"Message-Id": "m"}
STALE = {"If-Match": 'W/"00000000-0000-0000-0000-000000000000"'}
ANY = {"If-Match": "*"}
NONE = {"If-None-Match": "*"}
ETAG = re.compile(r'W/"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,7}Z")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WAITING = {name for name in OPERATIONS if name.startswith(("EventRoutes_", "ImportJobs_", "DeleteJobs_"))}
numbers = itertools.count(1)


def replace(path: str, value: Any) -> list[dict[str, Any]]:
    """Return a JSON Patch of one step."""
    return [{"op": "replace", "path": path, "value": value}]


@dataclass(frozen=True)
class Case:
    """One request to an operation, and what it is answered. N in it is a number of the case's own.

    There are the models BaseN, HeirN (of BaseN) and TankN, the twins tN and uN of HeirN, and tN feeds uN by r.
    """

    operation: str
    path: str
    status: int
    code: str = ""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None


def cases_of(operation: str, path: str, *rows: tuple[Any, ...]) -> list[Case]:
    """Return cases of an operation; a row is status, code, and what is not as usual of the request."""
    return [Case(operation, **{"path": path, "status": row[0], "code": row[1], **row[2]}) for row in rows]


MALFORMED = (400, "BodyMalformed", {"raw": b"{"})
CASES = [
    *cases_of(
        "DigitalTwinModels_Add",
        "/models",
        (201, "", {"body": [NEW]}),
        (
            400,
            "DTDLParserError",
            {"body": [{"@context": CONTEXT, "@id": "dtmi:c:NewN;1", "@type": "Interfac"}]},
        ),
        (400, "DTDLParserError", {"body": [{"@context": CONTEXT, "@id": "nonsense", "@type": "Interface"}]}),
        (400, "ModelVersionNotSupported", {"body": [{**NEW, "@context": "dtmi:dtdl:context;1"}]}),
        (400, "ModelVersionNotSupported", {"body": [{**NEW, "@context": "dtmi:dtdl:context;5"}]}),
        (400, "InvalidArgument", {"body": []}),
        (400, "InvalidArgument", {"body": {}}),
        (409, "ModelIdAlreadyExists", {"body": MODELS}),
        MALFORMED,
    ),
    *cases_of(
        "DigitalTwinModels_List",
        "/models",
        (200, "", {}),
        (200, "", {"headers": {"max-items-per-page": "1"}}),
        (
            200,
            "",
            {"path": f"/models?dependenciesFor={HEIR}&dependenciesFor={BASE}&includeModelDefinition=true"},
        ),
        (400, "InvalidArgument", {"headers": {"max-items-per-page": "0"}}),
        (400, "InvalidArgument", {"headers": {"max-items-per-page": "many"}}),
        (400, "InvalidArgument", {"path": "/models?includeModelDefinition=perhaps"}),
        (400, "InvalidArgument", {"path": "/models?dependenciesFor=nonsense"}),
        (400, "InvalidArgument", {"path": "/models?continuationToken=nonsense"}),
        (404, "ModelNotFound", {"path": "/models?dependenciesFor=dtmi:c:None;1"}),
    ),
    *cases_of(
        "DigitalTwinModels_GetById",
        f"/models/{BASE}",
        (200, "", {}),
        (200, "", {"path": f"/models/{BASE}?includeModelDefinition=true"}),
        (400, "InvalidArgument", {"path": "/models/nonsense"}),
        (404, "ModelNotFound", {"path": "/models/dtmi:c:None;1"}),
    ),
    *cases_of(
        "DigitalTwinModels_Update",
        f"/models/{HEIR}",
        (204, "", {"body": replace("/decommissioned", True)}),
        (204, "", {"body": replace("/decommissioned", False)}),
        (400, "JsonPatchInvalid", {"body": replace("/displayName", "x")}),
        (400, "JsonPatchInvalid", {"body": [{"op": "add", "path": "/decommissioned", "value": True}]}),
        (400, "JsonPatchInvalid", {"body": replace("/decommissioned", "yes")}),
        (400, "JsonPatchInvalid", {"body": [{}]}),
        (400, "InvalidArgument", {"path": "/models/nonsense", "body": replace("/decommissioned", True)}),
        (404, "ModelNotFound", {"path": "/models/dtmi:c:None;1", "body": replace("/decommissioned", True)}),
        (
            409,
            "ModelReferencesNotDecommissioned",
            {"path": f"/models/{BASE}", "body": replace("/decommissioned", True)},
        ),
        MALFORMED,
    ),
    *cases_of(
        "DigitalTwinModels_Delete",
        "/models/dtmi:c:LoneN;1",
        (204, "", {}),
        (400, "InvalidArgument", {"path": "/models/nonsense"}),
        (404, "ModelNotFound", {"path": "/models/dtmi:c:None;1"}),
        (409, "ModelReferencesNotDeleted", {"path": f"/models/{BASE}"}),
    ),
    *cases_of(
        "Query_QueryTwins",
        "/query",
        (200, "", {"body": {"query": "SELECT * FROM digitaltwins T WHERE T.$dtId = 'tN'"}}),
        (200, "", {"body": {"query": "SELECT COUNT() FROM digitaltwins"}}),
        (200, "", {"body": {"query": "SELECT * FROM relationships"}, "headers": {"max-items-per-page": "1"}}),
        (400, "SqlQueryError", {"body": {"query": "foo"}}),
        (400, "SqlQueryError", {"body": {"query": ""}}),
        (400, "BadRequest", {"body": {}}),
        (400, "BadRequest", {"body": {"continuationToken": "nonsense"}}),
        (400, "InvalidArgument", {"body": {"query": 7}}),
        (400, "InvalidArgument", {"body": []}),
        (
            400,
            "InvalidArgument",
            {"body": {"query": "SELECT * FROM digitaltwins"}, "headers": {"max-items-per-page": "0"}},
        ),
        MALFORMED,
    ),
    *cases_of(
        "DigitalTwins_GetById",
        "/digitaltwins/tN",
        (200, "", {}),
        (400, "InvalidArgument", {"path": "/digitaltwins/a%20b"}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none"}),
    ),
    *cases_of(
        "DigitalTwins_Add",
        "/digitaltwins/tN",
        (200, "", {"body": TWIN}),
        (200, "", {"body": {**TWIN, "$dtId": "ignored"}}),
        (200, "", {"path": "/digitaltwins/newN", "body": TWIN, "headers": NONE}),
        (400, "InvalidArgument", {"body": TWIN, "headers": {"If-None-Match": STALE["If-Match"]}}),
        (400, "InvalidArgument", {"path": "/digitaltwins/a%20b", "body": TWIN}),
        (400, "ValidationFailed", {"body": {}}),
        (400, "ValidationFailed", {"body": []}),
        (400, "ValidationFailed", {"body": {**TWIN, "label": 1}}),
        (400, "ValidationFailed", {"body": {**TWIN, "nothing": 1}}),
        (400, "ValidationFailed", {"body": {"$metadata": {"$model": HEIR}}}),
        (400, "ModelDecommissioned", {"body": {"$metadata": {"$model": "dtmi:c:GoneN;1"}}}),
        (412, "PreconditionFailed", {"body": TWIN, "headers": NONE}),
        MALFORMED,
    ),
    *cases_of(
        "DigitalTwins_Update",
        "/digitaltwins/tN",
        (204, "", {"body": replace("/label", "two")}),
        (204, "", {"body": replace("/label", "two"), "headers": ANY}),
        (204, "", {"body": [{"op": "remove", "path": "/label"}]}),
        (400, "InvalidArgument", {"body": replace("/label", "two"), "headers": {"If-Match": "nonsense"}}),
        (400, "JsonPatchInvalid", {"body": [{"op": "move", "from": "/label", "path": "/x"}]}),
        (400, "JsonPatchInvalid", {"body": [{"op": "test", "path": "/label", "value": "one"}]}),
        (400, "JsonPatchInvalid", {"body": [{}]}),
        (400, "JsonPatchInvalid", {"body": []}),
        (400, "JsonPatchInvalid", {"body": {}}),
        (400, "JsonPatchInvalid", {"body": [{"op": "replace", "path": "label", "value": 1}]}),
        (400, "ValidationFailed", {"body": replace("/label", 1)}),
        (400, "ValidationFailed", {"body": [{"op": "add", "path": "/nothing", "value": 1}]}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none", "body": replace("/label", "two")}),
        (412, "PreconditionFailed", {"body": replace("/label", "two"), "headers": STALE}),
        MALFORMED,
    ),
    *cases_of(
        "DigitalTwins_Delete",
        "/digitaltwins/loneN",
        (204, "", {}),
        (204, "", {"headers": ANY}),
        (400, "InvalidArgument", {"headers": {"If-Match": "nonsense"}}),
        (400, "RelationshipsNotDeleted", {"path": "/digitaltwins/tN"}),
        (400, "RelationshipsNotDeleted", {"path": "/digitaltwins/uN"}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none"}),
        (412, "PreconditionFailed", {"headers": STALE}),
    ),
    *cases_of(
        "DigitalTwins_GetRelationshipById",
        "/digitaltwins/tN/relationships/r",
        (200, "", {}),
        (400, "InvalidArgument", {"path": "/digitaltwins/tN/relationships/a%20b"}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none/relationships/r"}),
        (404, "RelationshipNotFound", {"path": "/digitaltwins/tN/relationships/none"}),
    ),
    *cases_of(
        "DigitalTwins_AddRelationship",
        "/digitaltwins/tN/relationships/r",
        (200, "", {"body": LINK}),
        (
            200,
            "",
            {
                "path": "/digitaltwins/uN/relationships/new",
                "body": {**LINK, "$targetId": "tN"},
                "headers": NONE,
            },
        ),
        (400, "InvalidArgument", {"body": LINK, "headers": {"If-None-Match": STALE["If-Match"]}}),
        (400, "InvalidArgument", {"body": {}}),
        (400, "InvalidRelationship", {"body": {**LINK, "$relationshipName": "owns"}}),
        (
            400,
            "OperationNotAllowed",
            {"path": "/digitaltwins/tN/relationships/self", "body": {**LINK, "$targetId": "tN"}},
        ),
        (400, "ValidationFailed", {"body": {**LINK, "length": "long"}}),
        (400, "ValidationFailed", {"body": {**LINK, "nothing": 1}}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none/relationships/r", "body": LINK}),
        (404, "TargetTwinNotFound", {"body": {**LINK, "$targetId": "none"}}),
        (412, "PreconditionFailed", {"body": LINK, "headers": NONE}),
        MALFORMED,
    ),
    *cases_of(
        "DigitalTwins_UpdateRelationship",
        "/digitaltwins/tN/relationships/r",
        (204, "", {"body": replace("/length", 3.0)}),
        (400, "InvalidArgument", {"body": replace("/length", 3.0), "headers": {"If-Match": "nonsense"}}),
        (400, "JsonPatchInvalid", {"body": [{}]}),
        (400, "ValidationFailed", {"body": replace("/length", "long")}),
        (
            404,
            "DigitalTwinNotFound",
            {"path": "/digitaltwins/none/relationships/r", "body": replace("/length", 3.0)},
        ),
        (
            404,
            "RelationshipNotFound",
            {"path": "/digitaltwins/tN/relationships/none", "body": replace("/length", 3)},
        ),
        (412, "PreconditionFailed", {"body": replace("/length", 3.0), "headers": STALE}),
        MALFORMED,
    ),
    *cases_of(
        "DigitalTwins_DeleteRelationship",
        "/digitaltwins/tN/relationships/r",
        (204, "", {}),
        (204, "", {"headers": ANY}),
        (400, "InvalidArgument", {"headers": {"If-Match": "nonsense"}}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none/relationships/r"}),
        (404, "RelationshipNotFound", {"path": "/digitaltwins/tN/relationships/none"}),
        (412, "PreconditionFailed", {"headers": STALE}),
    ),
    *cases_of(
        "DigitalTwins_ListRelationships",
        "/digitaltwins/tN/relationships",
        (200, "", {}),
        (200, "", {"path": "/digitaltwins/tN/relationships?relationshipName=feeds"}),
        (400, "InvalidArgument", {"path": "/digitaltwins/a%20b/relationships"}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none/relationships"}),
    ),
    *cases_of(
        "DigitalTwins_ListIncomingRelationships",
        "/digitaltwins/uN/incomingrelationships",
        (200, "", {}),
        (400, "InvalidArgument", {"path": "/digitaltwins/a%20b/incomingrelationships"}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none/incomingrelationships"}),
    ),
    *cases_of(
        "DigitalTwins_SendTelemetry",
        "/digitaltwins/tN/telemetry",
        (204, "", {"body": {"flow": 1.5}, "headers": MESSAGE}),
        (
            204,
            "",
            {
                "body": {"flow": 1},
                "headers": {**MESSAGE, "Telemetry-Source-Time": "2026-01-31T12:00:00+01:00"},
            },
        ),
        (400, "MissingArgument", {"body": {"flow": 1.5}}),
        (
            400,
            "InvalidArgument",
            {"body": {"flow": 1}, "headers": {**MESSAGE, "Telemetry-Source-Time": "noon"}},
        ),
        (400, "InvalidArgument", {"body": [], "headers": MESSAGE}),
        (400, "ValidationFailed", {"body": {"flow": "much"}, "headers": MESSAGE}),
        (400, "ValidationFailed", {"body": {"nothing": 1}, "headers": MESSAGE}),
        (
            404,
            "DigitalTwinNotFound",
            {"path": "/digitaltwins/none/telemetry", "body": {"flow": 1}, "headers": MESSAGE},
        ),
        (400, "BodyMalformed", {"raw": b"{", "headers": MESSAGE}),
    ),
    *cases_of(
        "DigitalTwins_SendComponentTelemetry",
        "/digitaltwins/tN/components/tank/telemetry",
        (204, "", {"body": {"level": 1.5}, "headers": MESSAGE}),
        (400, "MissingArgument", {"body": {"level": 1.5}}),
        (400, "ValidationFailed", {"body": {"level": "high"}, "headers": MESSAGE}),
        (
            404,
            "DigitalTwinNotFound",
            {
                "path": "/digitaltwins/none/components/tank/telemetry",
                "body": {"level": 1},
                "headers": MESSAGE,
            },
        ),
        (
            404,
            "ComponentNotFound",
            {"path": "/digitaltwins/tN/components/none/telemetry", "body": {"level": 1}, "headers": MESSAGE},
        ),
    ),
    *cases_of(
        "DigitalTwins_GetComponent",
        "/digitaltwins/tN/components/tank",
        (200, "", {}),
        (400, "InvalidArgument", {"path": "/digitaltwins/a%20b/components/tank"}),
        (404, "DigitalTwinNotFound", {"path": "/digitaltwins/none/components/tank"}),
        (404, "ComponentNotFound", {"path": "/digitaltwins/tN/components/none"}),
    ),
    *cases_of(
        "DigitalTwins_UpdateComponent",
        "/digitaltwins/tN/components/tank",
        (204, "", {"body": replace("/volume", 2.0)}),
        (400, "InvalidArgument", {"body": replace("/volume", 2.0), "headers": {"If-Match": "nonsense"}}),
        (400, "JsonPatchInvalid", {"body": [{}]}),
        (400, "ValidationFailed", {"body": replace("/volume", "full")}),
        (
            404,
            "DigitalTwinNotFound",
            {"path": "/digitaltwins/none/components/tank", "body": replace("/volume", 2.0)},
        ),
        (
            404,
            "ComponentNotFound",
            {"path": "/digitaltwins/tN/components/none", "body": replace("/volume", 2.0)},
        ),
        (412, "PreconditionFailed", {"body": replace("/volume", 2.0), "headers": STALE}),
        MALFORMED,
    ),
]
WITH_ETAG = {
    "DigitalTwins_GetById", "DigitalTwins_Add", "DigitalTwins_Update", "DigitalTwins_GetRelationshipById",
    "DigitalTwins_AddRelationship", "DigitalTwins_UpdateRelationship", "DigitalTwins_GetComponent",
    "DigitalTwins_UpdateComponent",
}  # fmt: skip
LISTS = {
    "DigitalTwinModels_List", "DigitalTwins_ListRelationships", "DigitalTwins_ListIncomingRelationships",
    "EventRoutes_List", "ImportJobs_List", "DeleteJobs_List",
}  # fmt: skip


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
    assert {name for name, place in OPERATIONS.items() if place not in served} <= WAITING


def test_every_operation_has_cases() -> None:
    assert {case.operation for case in CASES} | WAITING == set(OPERATIONS)


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
    ["", "Bearer", "Bearer\t", "Basic eDp5", "Bearer x", "Bearer gk_1_a_b", "Bearer \xff\xfe", "gk_1_a_b"],
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

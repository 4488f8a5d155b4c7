"""The data plane's operations, and requests to each with what they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "BASE",
    "CASES",
    "CONTEXT",
    "HEIR",
    "LINK",
    "LISTS",
    "MODELS",
    "OPERATIONS",
    "ROUTE",
    "TWIN",
    "WITH_ETAG",
    "Case",
    "replace",
]

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
ROUTE = {"endpointName": "hooks", "filter": "true"}
MESSAGE = {"Message-Id": "m"}
STALE = {"If-Match": 'W/"00000000-0000-0000-0000-000000000000"'}
ANY = {"If-Match": "*"}
NONE = {"If-None-Match": "*"}


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
    *cases_of(
        "EventRoutes_List",
        "/eventroutes",
        (200, "", {}),
        (200, "", {"headers": {"max-items-per-page": "1"}}),
        (400, "InvalidArgument", {"headers": {"max-items-per-page": "0"}}),
        (400, "InvalidArgument", {"path": "/eventroutes?continuationToken=nonsense"}),
    ),
    *cases_of(
        "EventRoutes_GetById",
        "/eventroutes/all",
        (200, "", {}),
        (404, "EventRouteNotFound", {"path": "/eventroutes/none"}),
    ),
    *cases_of(
        "EventRoutes_Add",
        "/eventroutes/all",
        (204, "", {"body": ROUTE}),
        (204, "", {"body": {**ROUTE, "id": "all"}, "path": "/eventroutes/other"}),
        (204, "", {"body": {**ROUTE, "filter": "type = 'Microsoft.DigitalTwins.Twin.Update'"}}),
        (400, "InvalidArgument", {"body": []}),
        (400, "EventRouteEndpointInvalid", {"body": {**ROUTE, "endpointName": "none"}}),
        (400, "EventRouteEndpointInvalid", {"body": {"filter": "true"}}),
        (400, "EventRouteFilterInvalid", {"body": {**ROUTE, "filter": "type = "}}),
        (400, "EventRouteFilterInvalid", {"body": {"endpointName": "hooks"}}),
        (400, "EventRouteIdInvalid", {"body": ROUTE, "path": "/eventroutes/a%20b"}),
        MALFORMED,
    ),
    *cases_of(
        "EventRoutes_Delete",
        "/eventroutes/all",
        (204, "", {}),
        (404, "EventRouteNotFound", {"path": "/eventroutes/none"}),
    ),
    # A job that starts outlives its case, and a deletion job takes every other case's twins: see tests of jobs.
    *cases_of(
        "ImportJobs_List",
        "/jobs/imports",
        (200, "", {}),
        (400, "InvalidArgument", {"headers": {"max-items-per-page": "0"}}),
    ),
    *cases_of(
        "ImportJobs_Add",
        "/jobs/imports/jN",
        (400, "ValidationFailed", {"body": {"inputBlobUri": "ftp://x/y", "outputBlobUri": "ftp://x/z"}}),
        (400, "ValidationFailed", {"body": {"inputBlobUri": "file:in", "outputBlobUri": "file:out"}}),
        (400, "ValidationFailed", {"body": {}}),
        MALFORMED,
    ),
    *cases_of("ImportJobs_GetById", "/jobs/imports/none", (404, "ImportJobNotFound", {})),
    *cases_of("ImportJobs_Delete", "/jobs/imports/none", (404, "ImportJobNotFound", {})),
    *cases_of("ImportJobs_Cancel", "/jobs/imports/none/cancel", (404, "ImportJobNotFound", {})),
    *cases_of(
        "DeleteJobs_Add",
        "/jobs/deletions",
        (400, "ValidationFailed", {"path": "/jobs/deletions?timeoutInMinutes=0"}),
        (400, "InvalidArgument", {"path": "/jobs/deletions?timeoutInMinutes=soon"}),
    ),
    *cases_of(
        "DeleteJobs_List",
        "/jobs/deletions",
        (200, "", {}),
        (400, "InvalidArgument", {"headers": {"max-items-per-page": "0"}}),
    ),
    *cases_of("DeleteJobs_GetById", "/jobs/deletions/none", (404, "DeleteJobNotFound", {})),
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

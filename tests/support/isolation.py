"""The rows of the isolation matrix: how each route is called for what is another tenant's, and what it must answer.

Tenant one owns what tests/acceptance/test_isolation.py makes for it; tenant two asks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from support.api_site import MODELS, PUMP

__all__ = [
    "EVENTS",
    "FOLDER",
    "MAPPING",
    "SECRET",
    "SOURCE",
    "SOURCE_MAPPING",
    "TWIN",
    "Attempt",
    "Owned",
    "attempts",
    "event",
]

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
        **on_corrections(),
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
            Attempt("/v1/quarantine/groups?by=readFrom", 200),
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


def on_corrections() -> Rows:
    span = {"from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z", "paths": ["flow"], "reason": "x"}
    sample = {"path": "flow", "time": "2026-01-31T12:00:00Z", "value": 666.0}
    correction, replacement = {"json": span}, {"json": {**span, "samples": [sample]}}
    return {
        ("POST", "/v1/twins/{twin_id}/history/delete"): [
            Attempt("/v1/twins/a/history/delete", 404, correction)
        ],
        ("POST", "/v1/twins/{twin_id}/history/replace"): [
            Attempt("/v1/twins/a/history/replace", 404, replacement)
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
        ("GET", "/v1/dead-letters"): [Attempt("/v1/dead-letters", 200)],
        ("GET", "/v1/dead-letters/{number}"): [Attempt("/v1/dead-letters/1", 404)],
        ("POST", "/v1/dead-letters/replay"): [
            Attempt("/v1/dead-letters/replay", 200, {"json": {"route": "all"}})
        ],
        ("POST", "/v1/dead-letters/discard"): [
            Attempt("/v1/dead-letters/discard", 200, {"json": {"numbers": [1]}})
        ],
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
        ("GET", "/v1/sources/{source}/drift"): [Attempt("/v1/sources/watch/drift", 404)],
        ("DELETE", "/v1/sources/{source}/drift"): [Attempt("/v1/sources/watch/drift", 404)],
        # The folder is allowed to tenant one alone.
        ("PUT", "/v1/sources/{source}"): [Attempt("/v1/sources/own", 400, mine)],
        ("POST", "/v1/sources/{source}/test"): [Attempt("/v1/sources/own/test", 400, mine)],
        ("POST", "/v1/sources/{source}/probe"): [Attempt("/v1/sources/watch/probe", 404)],
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
        ("GET", "/v1/cost"): [Attempt("/v1/cost", 200), Attempt("/v1/cost?every=1h", 200)],
        ("GET", "/v1/activity"): [Attempt("/v1/activity", 200)],
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

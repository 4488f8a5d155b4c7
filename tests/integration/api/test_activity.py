"""What goes on, as the server tells it, and whether it is well."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gemel.api import health
from gemel.observe.exposition import RouteLag, SourceState
from support.api_site import PUMP, Site

BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def event(number: int, twin: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/busy",
        "type": "t",
        "subject": twin,
        "data": data,
    }


def outside(site: Site) -> Any:
    return site.app.state.services.metrics.outside


def test_activity_tells_of_the_caller_s_tenant_alone(
    site: Site, client: httpx.Client, other: httpx.Client
) -> None:
    twin = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
    assert client.put("/digitaltwins/busy", json=twin).status_code == 200
    events = [event(1, "busy", flow=1.0), event(2, "nobody", flow=1.0)]
    assert client.post("/v1/events", content=json.dumps(events), headers=BATCH).status_code == 200
    outside(site).sources = (
        SourceState(site.tenants["one"], "line", "mqtt", "waiting"),
        SourceState(site.tenants["two"], "secret", "mqtt", "running"),
    )
    outside(site).routes = (RouteLag(site.tenants["one"], "orders", "delivering", 4, 0.5),)
    told = client.get("/v1/activity").json()
    busy = {each["name"]: each for each in told["sources"]}
    assert (busy["/busy"]["events"], busy["/busy"]["totals"]["accepted"]) == (2, 1)
    assert busy["/busy"]["codes"] == {"TwinUnknown": 1}
    assert busy["/busy"]["fresh"]["p95Ms"] > 0
    assert (busy["line"]["state"], busy["line"]["failing"]) == ("waiting", True)
    assert told["sources"][0]["name"] == "line"
    assert told["codes"] == {"TwinUnknown": 1}
    assert {"receive", "decode", "order", "commit"} <= told["stages"].keys()
    assert told["fromReceipt"]["p50Ms"] > 0
    assert (told["routes"][0]["behind"], told["routes"][0]["stuck"]) == (4, False)
    assert told["queues"]["patches"] == 0
    rival = other.get("/v1/activity").text
    for name in ("busy", "line", "orders", "TwinUnknown"):
        assert name not in rival
    assert "secret" in rival


def test_metrics_of_a_key_are_of_its_tenant_alone(
    site: Site, client: httpx.Client, other: httpx.Client
) -> None:
    outside(site).tenants = {number: name for name, number in site.tenants.items()}
    assert 'tenant="one"' in client.get("/metrics").text
    assert 'tenant="one"' not in other.get("/metrics").text


def test_a_failing_source_or_a_stuck_route_degrades_and_does_not_stop(
    site: Site, client: httpx.Client
) -> None:
    def ready() -> dict[str, str]:
        answer = client.get("/readyz")
        assert answer.status_code == 200
        told: dict[str, str] = answer.json()
        return told

    outside(site).sources, outside(site).routes = (), ()
    assert ready() == dict.fromkeys(("database", "disk", "sources", "routes"), "ok") | {"status": "ready"}
    outside(site).sources = (SourceState(1, "line", "mqtt", "failed"),)
    assert (ready()["status"], ready()["sources"]) == ("degraded", "failing")
    outside(site).sources = (SourceState(1, "line", "mqtt", "running"),)
    for lag in (RouteLag(1, "r", "delivering", 9, health.STUCK_S + 1), RouteLag(1, "r", "stopped", 0, 0.0)):
        outside(site).routes = (lag,)
        assert (ready()["status"], ready()["routes"]) == ("degraded", "stuck")
    outside(site).routes = (RouteLag(1, "r", "disabled", 9, 1e6),)
    assert ready()["status"] == "ready"


def test_a_full_disk_and_a_part_that_died_are_said(
    site: Site, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ROOM_BYTES_MIN", 1 << 62)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "DatabaseFull")
    assert client.get("/healthz").status_code == 200
    site.is_alive = False
    answer = client.get("/healthz")
    site.is_alive = True
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "PartDied")

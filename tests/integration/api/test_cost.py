"""GET /v1/cost: what is stored by tier, and what came and went, of the caller's tenant alone."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gemel.security.principal import Scope
from gemel.store.sizes import Gauge, keep_stored
from gemel.store.traffic import keep_traffic
from support.api_site import PUMP, Site
from support.rpc import messages

EVENTS = {"Content-Type": "application/cloudevents-batch+json"}


def keep(site: Site) -> None:
    """Do what the worker does every few seconds."""
    keep_traffic(site.owner, site.app.traffic.take())
    site.owner.execute("SELECT pg_stat_force_next_flush()")
    keep_stored(site.owner, Gauge().measure(site.owner) or {})


def cost(client: httpx.Client, **params: str) -> dict[str, Any]:
    answer = client.get("/v1/cost", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def traffic(client: httpx.Client, channel: str) -> dict[str, int]:
    found = [row for row in cost(client)["traffic"] if row["channel"] == channel]
    return found[0] if found else {"calls": 0, "received": 0, "sent": 0}


def batch(count: int, start: int = 0) -> bytes:
    return json.dumps(
        [
            {
                "specversion": "1.0",
                "id": str(n),
                "source": "/cost",
                "type": "t",
                "subject": "p",
                "time": f"2026-01-31T12:{n // 60:02}:{n % 60:02}Z",
                "data": {"flow": float(n)},
            }
            for n in range(start, start + count)
        ]
    ).encode()


def test_samples_are_counted_in_their_tier(site: Site, client: httpx.Client, other: httpx.Client) -> None:
    twin = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
    assert client.put("/digitaltwins/p", json=twin).status_code == 200
    assert client.post("/v1/events", content=batch(120), headers=EVENTS).json()["accepted"] == 120
    keep(site)
    found = cost(client)
    assert found["samples"] == 120
    assert found["bytesPerSample"] == round(found["bytes"] / 120, 1)
    assert found["bytes"] == sum(tier["bytes"] for tier in found["stored"])
    tiers = {tier["tier"]: tier for tier in found["stored"]}
    assert sum(tier["samples"] or 0 for tier in found["stored"]) == 120
    assert {"graph", "state", "feed", "audit"} <= tiers.keys()
    assert tiers["graph"]["samples"] is tiers["graph"]["bytesPerSample"] is None
    assert cost(other)["samples"] == 0


def test_bodies_are_counted_both_ways_for_whose_key_it_is(
    site: Site, client: httpx.Client, other: httpx.Client
) -> None:
    keep(site)
    before, others = traffic(client, "http"), traffic(other, "http")
    sent, got = batch(10, 200), 0
    got += len(client.post("/v1/events", content=sent, headers=EVENTS).content)
    got += len(client.get("/digitaltwins/p").content)
    refused = client.get("/digitaltwins/nobody")
    got += len(refused.content)
    assert (refused.status_code, site.stranger().get("/models").status_code) == (404, 401)
    own = {"calls": 3, "received": len(sent), "sent": got}
    keep_traffic(site.owner, site.app.traffic.take())
    after = traffic(client, "http")
    # What was asked to look is in it: one answer of the first look.
    assert {name: after[name] - before[name] for name in ("calls", "received")} == {
        "calls": own["calls"] + 1,
        "received": own["received"],
    }
    assert after["sent"] - before["sent"] > own["sent"]
    assert traffic(other, "http")["received"] == others["received"]


def test_grpc_counts_messages(site: Site, client: httpx.Client) -> None:
    pb = messages()
    asked = pb.TwinRequest(twin="p")
    answer = site.stub().GetTwin(asked, metadata=site.metadata())
    keep(site)
    found = traffic(client, "grpc")
    assert (found["calls"], found["received"], found["sent"]) == (1, asked.ByteSize(), answer.ByteSize())


def test_stretches_add_up(site: Site, client: httpx.Client) -> None:
    keep(site)
    found = cost(client, every="1h")
    sums: dict[str, int] = {}
    for row in found["within"]:
        assert row["time"].endswith(":00:00.000000Z")
        sums[row["channel"]] = sums.get(row["channel"], 0) + row["received"]
    assert sums == {row["channel"]: row["received"] for row in found["traffic"]}
    assert cost(client, to="2020-01-01T00:00:00Z")["traffic"] == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"every": "90m"}, "whole hours"),
        ({"every": "soon"}, "not a duration"),
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from must be before to"),
        ({"from": "1990-01-01T00:00:00Z", "every": "1h"}, "more than 10000"),
    ],
)
def test_what_makes_no_sense_is_refused(client: httpx.Client, params: dict[str, str], said: str) -> None:
    answer = client.get("/v1/cost", params=params)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidArgument")
    assert said in answer.json()["error"]["message"]


def test_it_needs_the_scope_read(site: Site) -> None:
    assert site.client("one", Scope.INGEST).get("/v1/cost").status_code == 403

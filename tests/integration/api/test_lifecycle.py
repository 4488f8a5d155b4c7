"""The lifecycle over HTTP: documents, conditions, refusals, and the audit trail."""

from __future__ import annotations

from typing import NamedTuple

import httpx
import pytest

from gemel.security.principal import Scope
from support.api_site import PUMP, Site


class Pump(NamedTuple):
    """A fresh twin that is active since 2026, and a client of its tenant."""

    client: httpx.Client
    twin: str

    @property
    def place(self) -> str:
        return f"/v1/twins/{self.twin}/lifecycle"


@pytest.fixture
def pump(client: httpx.Client, request: pytest.FixtureRequest) -> Pump:
    twin = f"p{abs(hash(request.node.name))}"
    body = {"$metadata": {"$model": PUMP, "$validFrom": "2026-01-01T00:00:00Z"}, "motor": {"$metadata": {}}}
    assert client.put(f"/digitaltwins/{twin}", json=body).status_code == 200
    return Pump(client, twin)


def test_a_transition_is_answered_with_the_history(site: Site, pump: Pump) -> None:
    born = pump.client.get(pump.place)
    assert born.json()["state"] == "active"
    assert born.json()["allowed"] == ["maintenance", "decommissioned"]
    body = {"state": "maintenance", "reason": "bearing worn", "validFrom": "2026-02-01T00:00:00Z"}
    made = pump.client.put(pump.place, json=body, headers={"If-Match": born.headers["ETag"]})
    assert made.status_code == 200
    assert (
        made.headers["ETag"]
        == pump.client.get(f"/digitaltwins/{pump.twin}").headers["ETag"]
        != born.headers["ETag"]
    )
    assert made.json() == pump.client.get(pump.place).json()
    first, second = made.json()["history"]
    assert (first["reason"], first["actor"]) == (None, "test")
    then = pump.client.get(pump.place, params={"asOf": "2026-01-15T00:00:00Z"}).json()
    assert (then["state"], then["since"]) == ("active", "2026-01-01T00:00:00.000000Z")
    assert pump.client.get(pump.place, params={"asOf": "2025-12-31T00:00:00Z"}).status_code == 404
    assert (first["from"], first["to"]) == ("2026-01-01T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z")
    assert (second["state"], second["reason"], second["actor"]) == ("maintenance", "bearing worn", "test")
    assert (second["to"], second["superseded"]) == (None, None)
    assert pump.client.get(f"/digitaltwins/{pump.twin}").json()["$lifecycle"] == "maintenance"
    assert ("twin.lifecycle", pump.twin, "ok") in [row[:3] for row in site.audited("one")]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"state": "planned", "reason": "x"}, 409, "LifecycleTransitionInvalid"),
        ({"state": "gone", "reason": "x"}, 400, "InvalidArgument"),
        ({"state": "maintenance"}, 400, "InvalidArgument"),
        ({"state": "maintenance", "reason": ""}, 400, "InvalidArgument"),
        ({"state": "maintenance", "reason": 5}, 400, "InvalidArgument"),
        ({"state": "maintenance", "reason": "x", "validFrom": "yesterday"}, 400, "InvalidArgument"),
        (
            {"state": "maintenance", "reason": "x", "validFrom": "2999-01-01T00:00:00Z"},
            400,
            "InvalidArgument",
        ),
        (
            {"state": "maintenance", "reason": "x", "validFrom": "1969-01-01T00:00:00Z"},
            400,
            "InvalidArgument",
        ),
        ({"state": "maintenance", "reason": "x", "from": "2026-03-01T00:00:00Z"}, 400, "InvalidArgument"),
        ([], 400, "InvalidArgument"),
    ],
)
def test_refusals(site: Site, pump: Pump, body: object, status: int, code: str) -> None:
    answer = pump.client.put(pump.place, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert pump.client.get(pump.place).json()["state"] == "active"
    assert ("twin.lifecycle", pump.twin, code) in [row[:3] for row in site.audited("one")]


def test_another_state_is_refused_with_those_there_are(pump: Pump) -> None:
    message = pump.client.put(pump.place, json={"state": "gone", "reason": "x"}).json()["error"]["message"]
    assert "'gone'" in message
    assert "planned, commissioned, active, maintenance, decommissioned" in message


def test_conditions_and_scopes(site: Site, pump: Pump) -> None:
    body = {"state": "maintenance", "reason": "x"}
    assert pump.client.put(pump.place, json=body, headers={"If-Match": 'W/"other"'}).status_code == 412
    assert pump.client.put("/v1/twins/none/lifecycle", json=body).status_code == 404
    reader = site.client("one", Scope.READ)
    assert (reader.get(pump.place).status_code, reader.put(pump.place, json=body).status_code) == (200, 403)

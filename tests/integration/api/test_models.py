from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.api_site import PUMP

TWIN: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
NEXT = "dtmi:test:Motor;1"


def test_making_a_twin_of_a_deprecated_model_tells_so(client: httpx.Client) -> None:
    place = f"/v1/models/{PUMP}/deprecation"
    assert "Deprecation" not in client.put("/digitaltwins/old", json=TWIN).headers
    later = {"from": "2261-01-01T00:00:00Z"}
    assert client.put(place, json=later).status_code == 204
    assert "Deprecation" not in client.put("/digitaltwins/old", json=TWIN).headers
    body = {
        "from": "2026-01-01T00:00:00Z",
        "removal": "2027-06-30T00:00:00Z",
        "successor": NEXT,
        "note": "old",
    }
    assert client.put(place, json=body).status_code == 204
    answer = client.put("/digitaltwins/old", json=TWIN)
    assert answer.status_code == 200
    assert answer.headers["Deprecation"] == "@1767225600"
    assert answer.headers["Sunset"] == "Wed, 30 Jun 2027 00:00:00 GMT"
    assert answer.headers["Link"] == '</models/dtmi%3Atest%3AMotor%3B1>; rel="successor-version"'
    assert client.delete(place).status_code == 204
    assert "Deprecation" not in client.put("/digitaltwins/old", json=TWIN).headers
    assert client.delete("/digitaltwins/old").status_code == 204


def test_what_is_wrong_with_a_deprecation_or_note_is_said(client: httpx.Client) -> None:
    place = f"/v1/models/{PUMP}"
    for path, body, code in (
        ("deprecation", {"from": "yesterday"}, "InvalidArgument"),
        ("deprecation", {"until": "2027-06-30T00:00:00Z"}, "InvalidArgument"),
        ("deprecation", {"successor": "dtmi:test:None;1"}, "InvalidArgument"),
    ):
        answer = client.put(f"{place}/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    for note in ({"note": ""}, {"note": "x" * 4001}, {}):
        assert client.post(f"{place}/log", json=note).status_code == 400
    assert client.get("/v1/models/pump").json()["error"]["code"] == "InvalidArgument"


def test_a_search_is_bounded(client: httpx.Client) -> None:
    found = client.get("/v1/models", params={"search": "test", "limit": 1}).json()["value"]
    assert len(found) == 1
    assert client.get("/v1/models").status_code == 400
    assert client.get("/v1/models", params={"search": "x" * 201}).status_code == 400


@pytest.mark.parametrize("body", [[], [[]], [[[]]], [[[]], []], {}])
def test_what_holds_no_model_is_refused(client: httpx.Client, body: object) -> None:
    answer = client.post("/models", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidArgument")

"""Mappings over HTTP: kept in versions, and messages of any shape pushed through them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gemel.security.principal import Scope
from support.api_site import PUMP, Site

MAPPING = """version: 2   # of the plant
source: plant
topic: plant/{line}/data
time: {path: ts, format: unix_ms}
twins:
  - twin: "{device}"
    each: samples
    values:
      flow: {path: f, unit: m^3/hour, to: L/hour}
"""
TS = 1_769_860_800_000


@pytest.fixture(scope="module", autouse=True)
def _twins(client: httpx.Client) -> None:
    for twin in ("p-1", "p-2"):
        body = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
        assert client.put(f"/digitaltwins/{twin}", json=body).status_code == 200


def code_of(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


def put(client: httpx.Client, name: str, text: str = MAPPING) -> dict[str, Any]:
    answer = client.put(f"/v1/mappings/{name}", content=text.encode())
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def push(client: httpx.Client, name: str, *messages: Any, **headers: str) -> Any:
    content = "\n".join(json.dumps(each) for each in messages).encode()
    given = {"Content-Type": "application/x-ndjson", "Gemel-Topic": "plant/north/data"}
    answer = client.post(f"/v1/push/{name}", content=content, headers=given | headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sample(device: str, at_ms: int, flow: object) -> dict[str, Any]:
    return {"device": device, "ts": at_ms, "f": flow}


def test_a_mapping_is_kept_in_versions(site: Site, client: httpx.Client, other: httpx.Client) -> None:
    first = put(client, "plant")
    assert (first["name"], first["version"]) == ("plant", 1)
    assert put(client, "plant", MAPPING.replace("  # of the plant", "")) == first
    second = put(client, "plant", MAPPING.replace("L/hour", "L/s"))
    assert (second["version"], second["digest"] != first["digest"]) == (2, True)
    assert client.get("/v1/mappings/plant?version=1").json() == first | {"document": MAPPING}
    assert client.get("/v1/mappings/plant").json()["version"] == 2
    assert [each["name"] for each in client.get("/v1/mappings").json()["value"]] == ["plant"]
    assert other.get("/v1/mappings").json() == {"value": []}
    assert code_of(other.get("/v1/mappings/plant")) == "MappingNotFound"
    assert code_of(client.get("/v1/mappings/plant?version=9")) == "MappingNotFound"
    assert client.delete("/v1/mappings/plant").status_code == 204
    assert code_of(client.delete("/v1/mappings/plant")) == "MappingNotFound"
    acts = [row[:3] for row in site.audited("one") if row[0].startswith("mapping.")]
    assert acts[:1] == [("mapping.put", f"plant@{first['digest']}", "ok")]
    assert acts[-2:] == [("mapping.delete", "plant", "ok"), ("mapping.delete", "plant", "MappingNotFound")]


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("plant", "version: 1", "MappingInvalid"),
        ("plant", "a: [", "MappingInvalid"),
        ("plant", MAPPING.replace("path: f", "path: 'f['"), "MappingInvalid"),
        ("plant", "x\0y", "InvalidArgument"),
        ("plant", "#" * 300_000, "InvalidArgument"),
        ("-plant", MAPPING, "InvalidArgument"),
    ],
)
def test_a_wrong_mapping_is_not_kept(client: httpx.Client, name: str, text: str, code: str) -> None:
    answer = client.put(f"/v1/mappings/{name}", content=text.encode())
    assert (answer.status_code, code_of(answer)) == (400, code)


def test_messages_are_pushed_and_what_does_not_fit_waits(client: httpx.Client) -> None:
    kept = put(client, "flows")
    messages: list[dict[str, Any]] = [
        {"samples": [sample("p-1", TS, 1.5), sample("p-2", TS, "?"), sample("p-1", TS + 1, 2.5)]},
        {"samples": [sample("nobody", TS, 1.0)]},
        {"else": 1},
    ]
    found = push(client, "flows", *messages)
    assert (found["events"], found["accepted"], found["quarantined"]) == (5, 2, 3)
    codes = {each["index"]: each["code"] for each in found["rejected"]}
    assert codes == {1: "MappingFailed", 3: "TwinUnknown", 4: "MappingFailed"}
    assert "twins[0].values.flow" in found["rejected"][0]["message"]
    history = client.get("/v1/twins/p-1/history?path=flow").text
    assert "1500.0" in history
    assert "2500.0" in history
    waiting = client.get(f"/v1/quarantine/{found['rejected'][0]['quarantine']}").json()
    assert (waiting["source"], waiting["readFrom"]) == ("plant", "flows")
    raw = json.loads(waiting["raw"])
    assert (raw["data"], raw["topic"]) == ({"samples": [messages[0]["samples"][1]]}, "plant/north/data")
    assert raw["mapping"] == f"flows@{kept['digest']}"
    again = push(client, "flows", messages[0])
    assert (again["accepted"], again["duplicate"], again["quarantined"]) == (0, 2, 1)
    assert again["rejected"][0]["quarantine"] == found["rejected"][0]["quarantine"]
    replayed = client.post("/v1/quarantine/replay", json={"code": "MappingFailed"}).json()
    assert {each["code"] for each in replayed["rejected"]} == {"MappingFailed"}
    told = client.get("/v1/twins/p-1/explain?path=flow").text
    assert f"flows@{kept['digest']}" in told


def test_one_body_is_one_message_unless_it_is_lines(client: httpx.Client) -> None:
    put(client, "whole", "version: 2\nsource: w\ntwins: [{twin: p-2, values: {flow: a.f}}]\n")
    body = json.dumps({"a": {"f": 7.5}}, indent=2).encode()
    named = {"Gemel-Message-Id": "m-1"}
    first = client.post("/v1/push/whole", content=body, headers=named).json()
    again = client.post("/v1/push/whole", content=body, headers=named).json()
    unnamed = client.post("/v1/push/whole", content=body).json()
    assert [each["accepted"] for each in (first, again, unnamed)] == [1, 0, 1]
    assert again["duplicate"] == 1


def test_a_position_goes_with_the_messages(client: httpx.Client) -> None:
    put(client, "pos", "version: 2\nsource: w\ntwins: [{twin: p-2, values: {flow: f}}]\n")
    sent = push(client, "pos", {"f": 1.0}, {"f": "?"}, **{"Gemel-Source": "feed", "Gemel-Position": "17"})
    held = client.get(f"/v1/quarantine/{sent['rejected'][0]['quarantine']}").json()
    assert (held["source"], held["readFrom"]) == ("w", "feed")
    assert client.get("/v1/sources/feed/position").json()["position"] == "17"


def test_pushing_needs_a_mapping_and_the_scope(site: Site, client: httpx.Client) -> None:
    assert code_of(client.post("/v1/push/nothing", json={})) == "MappingNotFound"
    reader = site.client("one", Scope.READ)
    assert code_of(reader.post("/v1/push/flows", json={})) == "ScopeMissing"
    assert code_of(reader.put("/v1/mappings/x", content=MAPPING.encode())) == "ScopeMissing"

from __future__ import annotations

import httpx


def test_a_twin_is_made_read_patched_and_deleted(client: httpx.Client) -> None:
    body = {
        "$metadata": {"$model": "dtmi:test:Pump;1"},
        "label": "P1",
        "motor": {"$metadata": {}, "speed": 1.5},
    }
    made = client.put("/digitaltwins/p1", json=body, headers={"If-None-Match": "*"})
    assert made.status_code == 200, made.text
    assert made.json()["$etag"] == made.headers["ETag"]
    assert client.put("/digitaltwins/p1", json=body, headers={"If-None-Match": "*"}).status_code == 412
    got = client.get("/digitaltwins/p1")
    assert got.json() == made.json()
    patch = [{"op": "replace", "path": "/label", "value": "P2"}]
    patched = client.patch("/digitaltwins/p1", json=patch, headers={"If-Match": got.headers["ETag"]})
    assert patched.status_code == 204, patched.text
    assert patched.content == b""
    stale = client.patch("/digitaltwins/p1", json=patch, headers={"If-Match": got.headers["ETag"]})
    assert stale.status_code == 412
    assert stale.headers["x-ms-error-code"] == "PreconditionFailed"
    assert stale.json()["error"]["code"] == "PreconditionFailed"
    assert client.get("/digitaltwins/p1").headers["ETag"] == patched.headers["ETag"]
    assert client.get("/digitaltwins/p1").json()["label"] == "P2"
    component = client.get("/digitaltwins/p1/components/motor")
    assert component.json()["speed"] == 1.5
    again = client.patch(
        "/digitaltwins/p1/components/motor", json=[{"op": "add", "path": "/speed", "value": 2}]
    )
    assert again.status_code == 204
    assert client.get("/digitaltwins/p1").json()["motor"]["speed"] == 2
    assert client.delete("/digitaltwins/p1").status_code == 204
    assert client.get("/digitaltwins/p1").status_code == 404
    assert client.get("/digitaltwins/p1").json()["error"]["code"] == "DigitalTwinNotFound"

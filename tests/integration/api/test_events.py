from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gemel.security.principal import Scope
from support.api_site import PUMP, Site

TWIN: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
SINGLE, BATCH, LINES = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-ndjson",
)


def event(number: int, twin: str = "p1", second: int = 0, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/test",
        "type": "t",
        "subject": twin,
        "time": f"2026-01-31T12:00:{second:02}Z",
        "data": data or {"flow": float(number)},
    }


def send(client: httpx.Client, events: Any, kind: str = BATCH, **headers: str) -> httpx.Response:
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    return client.post("/v1/events", content=body, headers={"Content-Type": kind, **headers})


@pytest.fixture(scope="module", autouse=True)
def twins(client: httpx.Client) -> None:
    for twin in ("p1", "p2"):
        assert client.put(f"/digitaltwins/{twin}", json=TWIN).status_code == 200


def test_each_content_type_is_taken_and_counted(client: httpx.Client) -> None:
    lines = b"\n".join(json.dumps(event(n, second=n)).encode() for n in (3, 4))
    for kind, body, count in (
        (SINGLE, event(1, second=1), 1),
        ("application/json", event(2, second=2), 1),
        (LINES, lines, 2),
        (BATCH, [event(n, second=n) for n in (5, 6, 7)], 3),
        (BATCH + "; charset=utf-8", [], 0),
    ):
        response = send(client, body, kind)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert (answer["events"], answer["accepted"], answer["quarantined"]) == (count, count, 0)
    assert client.get("/v1/twins/p1/telemetry").json()["values"]["flow"]["value"] == 7.0
    again = send(client, [event(n, second=n) for n in range(1, 8)]).json()
    assert (again["events"], again["duplicate"], again["accepted"]) == (7, 7, 0)
    changed = send(client, [event(3, second=3, flow=99.0), event(9, second=0, flow=1.0)]).json()
    assert (changed["corrected"], changed["late"]) == (1, 1)


def test_other_content_types_and_bodies_that_are_none_are_refused(client: httpx.Client) -> None:
    assert send(client, [], "text/plain").status_code == 415
    for body in (b"", b"{", b"[1,", b"\xff"):
        response = send(client, body)
        assert response.status_code == 400, body
        assert response.json()["error"]["code"] == "BodyMalformed"


def test_a_bad_event_is_quarantined_and_the_rest_lands(client: httpx.Client) -> None:
    batch = [
        event(20, second=20),
        event(21, twin="nobody"),
        event(22, second=22, nothing=1.0),
        event(23, second=23, count="x"),
        {"id": "24"},
        event(25, second=25),
    ]
    answer = send(client, batch).json()
    assert (answer["events"], answer["accepted"], answer["quarantined"]) == (6, 2, 4)
    codes = {each["index"]: each["code"] for each in answer["rejected"]}
    assert codes == {1: "TwinUnknown", 2: "PathNotInModel", 3: "WrongType", 4: "EventMalformed"}
    assert client.get("/v1/stats").json()["quarantined"] == 4
    listed = client.get("/v1/quarantine").json()["value"]
    assert [entry["code"] for entry in listed] == [codes[index] for index in sorted(codes)]
    newest = client.get("/v1/quarantine", params={"order": "desc", "limit": 3}).json()["value"]
    assert newest == listed[:0:-1]
    rest = client.get("/v1/quarantine", params={"order": "desc", "after": newest[-1]["number"]}).json()[
        "value"
    ]
    assert rest == listed[:1]
    assert client.get("/v1/quarantine", params={"order": "up"}).status_code == 400
    number = answer["rejected"][0]["quarantine"]
    assert json.loads(client.get(f"/v1/quarantine/{number}").json()["raw"]) == batch[1]
    only = client.get("/v1/quarantine", params={"code": "WrongType", "source": "/test"}).json()["value"]
    assert [entry["id"] for entry in only] == ["23"]
    assert client.get("/v1/quarantine", params={"after": listed[-1]["number"]}).json()["value"] == []


def test_the_mended_is_replayed_and_the_rest_discarded(client: httpx.Client) -> None:
    assert client.put("/digitaltwins/nobody", json=TWIN).status_code == 200
    replayed = client.post("/v1/quarantine/replay", json={"code": "TwinUnknown"}).json()
    assert (replayed["events"], replayed["accepted"], replayed["quarantined"]) == (1, 1, 0)
    assert client.get("/v1/twins/nobody/telemetry").json()["values"]["flow"]["value"] == 21.0
    bodies: list[Any] = [{}, {"numbers": [-1]}, {"numbers": "x"}, {"nonsense": 1}, []]
    for body in bodies:
        assert client.post("/v1/quarantine/discard", json=body).status_code == 400
    assert client.post("/v1/quarantine/discard", json={"source": "/other"}).json() == {"discarded": 0}
    assert client.post("/v1/quarantine/discard", json={"code": "WrongType"}).json() == {"discarded": 1}
    assert client.get("/v1/stats").json()["quarantined"] == 2


def test_positions_and_missing_twins_go_with_the_commit(site: Site, client: httpx.Client) -> None:
    where = "/v1/sources/file%2Fa.csv/position"
    assert client.get(where).json() == {"source": "file/a.csv", "position": None}
    headers = {"Gemel-Source": "file/a.csv", "Gemel-Position": "row 7"}
    assert send(client, [event(1, "made")], **headers).json()["quarantined"] == 1
    assert client.get(where).json()["position"] == "row 7"
    assert send(client, [], **{"Gemel-Position": "row 8"}).json()["error"]["code"] == "MissingArgument"
    ingester = site.client("one", Scope.INGEST)
    create = {"Gemel-Create-Model": PUMP}
    assert send(ingester, [event(2, "made")], **create).status_code == 403
    assert send(client, [event(2, "made")], **create).json()["accepted"] == 1
    assert client.get("/digitaltwins/made").json()["$metadata"]["$model"] == PUMP
    assert send(client, [event(3, "other")], **{"Gemel-Create-Model": "dtmi:no:Model;1"}).status_code in (
        400,
        404,
    )


def test_telemetry_of_twin_and_component_is_one_event(client: httpx.Client) -> None:
    headers = {"Message-Id": "m1", "Telemetry-Source-Time": "2026-01-31T13:00:00Z"}
    assert client.post("/digitaltwins/p2/telemetry", json={"flow": 3.5}, headers=headers).status_code == 204
    where = "/digitaltwins/p2/components/motor/telemetry"
    assert client.post(where, json={"temperature": 61.5}, headers=headers).status_code == 204
    values = client.get("/v1/twins/p2/telemetry").json()["values"]
    assert values["flow"]["value"] == 3.5
    assert values["motor.temperature"]["value"] == 61.5
    assert values["motor.temperature"]["sourceTime"] == "2026-01-31T13:00:00.000000Z"


@pytest.mark.parametrize(
    ("place", "body", "headers", "status", "code"),
    [
        ("p2", {"flow": 1}, {"Message-Id": ""}, 400, "InvalidArgument"),
        ("p2", {"flow": 1}, None, 400, "MissingArgument"),
        ("p2", {"flow": "x"}, {}, 400, "ValidationFailed"),
        ("p2", {"nothing": 1}, {}, 400, "ValidationFailed"),
        ("p2", [1], {}, 400, "InvalidArgument"),
        ("p2", {"flow": 1}, {"Telemetry-Source-Time": "noon"}, 400, None),
        ("p2", {"flow": 1}, {"Telemetry-Source-Time": "2026-01-31T13:00:00"}, 400, None),
        ("p2", {"flow": 1}, {"Telemetry-Source-Time": "2126-01-31T13:00:00Z"}, 400, "ValidationFailed"),
        ("none", {"flow": 1}, {}, 404, "DigitalTwinNotFound"),
    ],
)
def test_bad_telemetry_is_refused_and_not_quarantined(
    client: httpx.Client, place: str, body: Any, headers: dict[str, str] | None, status: int, code: str | None
) -> None:
    before = client.get("/v1/stats").json()["quarantined"]
    sent = {} if headers is None else {"Message-Id": "m", **headers}
    response = client.post(f"/digitaltwins/{place}/telemetry", json=body, headers=sent)
    assert response.status_code == status, response.text
    assert code is None or response.json()["error"]["code"] == code
    assert client.get("/v1/stats").json()["quarantined"] == before


def test_telemetry_of_a_component_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    where = "/digitaltwins/p2/components/nothing/telemetry"
    response = client.post(where, json={"temperature": 1}, headers={"Message-Id": "m"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "ComponentNotFound"


def test_what_came_in_is_counted(client: httpx.Client) -> None:
    stats = client.get("/v1/stats").json()
    assert stats["twins"] == 4
    assert stats["models"] == 2
    totals = stats["totals"]
    assert totals["duplicate"] == 7
    assert totals["corrected"] == 1
    assert totals["late"] >= 1
    assert totals["quarantined"] >= 4
    assert totals["events"] >= 20
    assert stats["rate"] > 0
    page = client.get("/metrics").text
    assert 'gemel_samples_total{outcome="duplicate",source="/test",tenant="one"}' in page


def test_writes_are_audited_once(site: Site, client: httpx.Client) -> None:
    before = len(site.audited("one"))
    send(client, [event(n, second=n) for n in range(30, 40)], **{"Gemel-Source": "audited"})
    (row,) = site.audited("one")[before:]
    assert row[:3] == ("events.ingest", "audited (10 events)", "ok")


def test_ten_thousand_bad_events_are_answered(client: httpx.Client) -> None:
    batch = [event(n, twin=f"nobody-{n}") for n in range(10_000)]
    answer = send(client, [event(50, second=50), *batch]).json()
    assert (answer["events"], answer["accepted"], answer["quarantined"]) == (10_001, 1, 10_000)
    assert len(answer["rejected"]) == 10_000


def test_one_event_in_binary_mode_is_as_good_as_in_json(client: httpx.Client) -> None:
    one = event(600, second=40, flow=7.5)
    headers = {f"ce-{name}": value for name, value in one.items() if name != "data"}
    answer = send(client, one["data"], "application/json", **headers)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["events"], result["accepted"] + result["late"], result["rejected"]) == (1, 1, [])
    # The same in JSON is the same, and the other way round without a time.
    assert send(client, one, SINGLE).json()["duplicate"] == 1
    untimed = {name: value for name, value in headers.items() if name != "ce-time"} | {"ce-id": "a%20b"}
    assert send(client, {"flow": 8.0}, "application/json", **untimed).json()["accepted"] == 1
    structured = {name: value for name, value in one.items() if name != "time"} | {"id": "a b"}
    assert send(client, structured, SINGLE).json()["duplicate"] == 1
    # What is wrong with its data or twin waits, as one of JSON.
    (rejected,) = send(client, {"flow": "wet"}, "application/json", **headers).json()["rejected"]
    assert (rejected["index"], rejected["code"]) == (0, "WrongType")
    held = json.loads(client.get(f"/v1/quarantine/{rejected['quarantine']}").json()["raw"])
    assert held == one | {"datacontenttype": "application/json", "data": {"flow": "wet"}}
    (rejected,) = send(client, b"{", "application/json", **headers).json()["rejected"]
    assert rejected["code"] == "EventMalformed"
    lacking = {name: value for name, value in headers.items() if name != "ce-id"}
    refused = send(client, one["data"], "application/json", **lacking)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "MissingArgument")
    assert "ce-id" in refused.json()["error"]["message"]
    assert send(client, b"x", "text/plain", **headers).status_code == 415

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa
import pytest

from support.api_site import PUMP, Site

START = 1_769_860_800  # 2026-01-31T12:00:00Z


def stamp(second: float) -> str:
    return datetime.fromtimestamp(START + second, UTC).isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module", autouse=True)
def samples(client: httpx.Client) -> None:
    twin = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
    assert client.put("/digitaltwins/p1", json=twin, params={"validFrom": stamp(0)}).status_code == 200
    events = [
        {
            "specversion": "1.0",
            "id": str(n),
            "source": "/h",
            "type": "t",
            "subject": "p1",
            "time": stamp(n),
            "data": {"flow": n / 4, "label": f"l,{n}", "count": n},
        }
        for n in range(100)
        if not 40 <= n < 60
    ]
    sent = client.post(
        "/v1/events",
        content=json.dumps(events).encode(),
        headers={"Content-Type": "application/cloudevents-batch+json"},
    )
    assert sent.json()["accepted"] == 240, sent.text


def get(client: httpx.Client, accept: str = "application/json", **params: Any) -> httpx.Response:
    params = {name.rstrip("_"): value for name, value in params.items()}
    response = client.get("/v1/twins/p1/history", params=params, headers={"Accept": accept})
    assert response.status_code == 200, response.text
    return response


def pages(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after = None
    while True:
        page = get(client, **params, **({} if after is None else {"after": after})).json()
        assert len(page["values"]) <= params["limit"]
        rows += page["values"]
        after = page["after"]
        if after is None:
            return rows


def test_every_sample_comes_back_once_in_order_of_time(client: httpx.Client) -> None:
    whole = get(client, path=["flow", "label"], limit=1000).json()
    assert whole["twin"] == "p1"
    assert whole["after"] is None
    assert len(whole["values"]) == 160
    assert [row["time"] for row in whole["values"]] == sorted(row["time"] for row in whole["values"])
    assert whole["values"][0] | {"recorded": ""} == {
        "path": whole["values"][0]["path"],
        "time": "2026-01-31T12:00:00.000000Z",
        "value": whole["values"][0]["value"],
        "removed": False,
        "quality": "good",
        "revision": 0,
        "recorded": "",
    }
    assert pages(client, path=["flow", "label"], limit=7) == whole["values"]


def test_the_window_is_half_open(client: httpx.Client) -> None:
    rows = get(client, path="flow", from_=stamp(10), to=stamp(12)).json()["values"]
    assert [row["value"] for row in rows] == [2.5, 2.75]
    offset = stamp(10).replace("12:00:10", "13:00:10").replace("Z", "+01:00")
    assert get(client, path="flow", from_=offset, to=stamp(12)).json()["values"] == rows


def test_buckets_and_gaps_that_are_filled(client: httpx.Client) -> None:
    asked = {
        "path": "flow",
        "from_": stamp(0),
        "to": stamp(100),
        "every": "10s",
        "agg": "mean,min,max,first,last,count",
    }
    rows = get(client, **asked).json()["values"]
    assert len(rows) == 8
    assert rows[0] == {
        "path": "flow",
        "time": "2026-01-31T12:00:00.000000Z",
        "mean": 1.125,
        "min": 0.0,
        "max": 2.25,
        "first": 0.0,
        "last": 2.25,
        "count": 10,
    }
    filled = get(client, **asked, fill="previous").json()["values"]
    assert len(filled) == 10
    assert filled[4]["last"] == filled[5]["mean"] == 39 / 4
    assert filled[4]["count"] == 0
    for fill in ({}, {"fill": "previous"}):
        paged = pages(client, **asked, **fill, limit=3)
        assert paged == (filled if fill else rows)


def test_csv_has_the_same_rows(client: httpx.Client) -> None:
    rows = get(client, path=["flow", "label", "count"]).json()["values"]
    response = get(client, "text/csv", path=["flow", "label", "count"])
    assert response.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["time"] for row in read] == [row["time"] for row in rows]
    for one, other in zip(read, rows, strict=True):
        assert type(other["value"])(one["value"]) == other["value"]
    limited = get(client, "text/csv", path="flow", limit=10)
    assert limited.headers["Gemel-After"]
    rest = get(client, "text/csv", path="flow", after=limited.headers["Gemel-After"])
    assert len(rest.text.splitlines()) == 71


def test_arrow_has_the_same_rows(client: httpx.Client) -> None:
    kind = "application/vnd.apache.arrow.stream"
    response = get(client, kind, path="flow")
    assert response.headers["content-type"] == kind
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("value").type == pa.float64()
    assert table["value"].to_pylist() == [row["value"] for row in get(client, path="flow").json()["values"]]
    mixed = pa.ipc.open_stream(get(client, kind, path=["flow", "label"]).content).read_all()
    assert mixed.schema.field("value").type == pa.string()
    buckets = pa.ipc.open_stream(
        get(client, kind, path="flow", every="1m", agg=["count", "max"]).content
    ).read_all()
    assert buckets.column_names == ["path", "time", "count", "max"]
    assert buckets["count"].to_pylist() == [40, 40]


def test_arrow_without_pyarrow_says_what_is_missing(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    accept = {"Accept": "application/vnd.apache.arrow.stream"}
    response = client.get("/v1/twins/p1/history", headers=accept)
    assert response.json()["error"]["code"] == "ExtraMissing"
    assert "gemel[arrow]" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"path": "nothing"}, "PathNotInModel"),
        ({"from": "noon"}, "InvalidArgument"),
        ({"from": "2026-01-31T12:00:00"}, "InvalidArgument"),
        ({"from": stamp(5), "to": stamp(5)}, "InvalidArgument"),
        ({"every": "x"}, "InvalidArgument"),
        ({"every": "0s"}, "InvalidArgument"),
        ({"every": "999999999999w"}, "InvalidArgument"),
        ({"every": "1s", "agg": "median"}, "InvalidArgument"),
        ({"agg": "mean"}, "MissingArgument"),
        ({"every": "1s", "fill": "next", "from": stamp(0), "to": stamp(9)}, "InvalidArgument"),
        ({"every": "1s", "fill": "previous"}, "MissingArgument"),
        ({"limit": "0"}, "InvalidArgument"),
        ({"after": "x"}, "InvalidArgument"),
        ({"after": "1.99999999"}, "InvalidArgument"),
        ({"after": "1.-1"}, "InvalidArgument"),
    ],
)
def test_what_cannot_be_asked_is_refused(client: httpx.Client, params: dict[str, str], code: str) -> None:
    response = client.get("/v1/twins/p1/history", params=params)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == code


def test_an_accept_that_names_none_is_refused(client: httpx.Client) -> None:
    assert client.get("/v1/twins/p1/history", headers={"Accept": "image/png"}).status_code == 415
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    assert client.get("/v1/twins/p1/history", headers={"Accept": browser}).status_code == 200


def test_last_values_are_of_properties_and_telemetry(site: Site, client: httpx.Client) -> None:
    answer = client.get("/v1/twins/p1/telemetry").json()
    assert answer["twin"] == "p1"
    assert {path: value["value"] for path, value in answer["values"].items()} == {
        "flow": 24.75,
        "label": "l,99",
        "count": 99,
    }
    assert set(answer["values"]["flow"]) == {"value", "sourceTime", "recorded", "quality", "unit"}
    client.patch("/digitaltwins/p1", json=[{"op": "remove", "path": "/label"}])
    assert "label" not in client.get("/v1/twins/p1/telemetry").json()["values"]
    removed = get(client, path="label", from_=stamp(1000)).json()["values"]
    assert [(row["value"], row["removed"]) for row in removed] == [(None, True)]
    assert client.get("/v1/twins/none/telemetry").status_code == 404
    assert client.get("/v1/twins/none/history").status_code == 404

"""`asOf` and `knownAt` on the routes that read: what was so, what was known, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from support.api_site import PUMP, Site

EVENTS = {"Content-Type": "application/cloudevents-batch+json"}
READS = [
    "/digitaltwins/m",
    "/digitaltwins/m/components/motor",
    "/digitaltwins/m/relationships",
    "/digitaltwins/m/relationships/r",
    "/digitaltwins/m/incomingrelationships",
    "/v1/twins/m/telemetry",
    "/v1/twins/m/history",
]


def at(hour: int) -> str:
    return f"2026-01-05T{hour:02}:00:00Z"


def send(client: httpx.Client, twin: str, hour: int, revision: int = 0, **data: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": f"{twin}-{hour}-{revision}",
        "source": "/s",
        "type": "t",
        "subject": twin,
        "time": at(hour),
        "revision": revision,
        "data": data,
    }
    answer = client.post("/v1/events", json=[event], headers=EVENTS)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put(client: httpx.Client, twin: str, **more: Any) -> dict[str, Any]:
    body = {
        "$metadata": {"$model": PUMP, "$validFrom": at(0)},
        "motor": {"$metadata": {}},
        **more,
    }
    answer = client.put(f"/digitaltwins/{twin}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def known(answer: dict[str, Any]) -> str:
    """The recorded time of a twin's last change."""
    return str(answer["$metadata"]["$lastUpdateTime"])


def get(client: httpx.Client, place: str, **params: str) -> dict[str, Any]:
    answer = client.get(place, params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_late_sample_and_a_correction_change_what_was_and_not_what_was_known(client: httpx.Client) -> None:
    put(client, "late")
    send(client, "late", 8, count=1)
    send(client, "late", 12, count=3)
    before = known(get(client, "/digitaltwins/late"))
    assert get(client, "/digitaltwins/late", asOf=at(11))["count"] == 1
    assert send(client, "late", 10, count=2)["late"] == 1
    assert get(client, "/digitaltwins/late", asOf=at(11))["count"] == 2
    assert get(client, "/digitaltwins/late", asOf=at(11), knownAt=before)["count"] == 1
    assert send(client, "late", 12, 1, count=30)["corrected"] == 1
    assert get(client, "/digitaltwins/late")["count"] == 30
    assert get(client, "/digitaltwins/late", asOf=at(13), knownAt=before)["count"] == 3
    assert get(client, "/digitaltwins/late", knownAt=before)["count"] == 3
    then = get(client, "/v1/twins/late/history", path="count", knownAt=before)["values"]
    assert [row["value"] for row in then] == [1, 3]
    now = get(client, "/v1/twins/late/history", path="count", asOf=at(11))["values"]
    assert [row["value"] for row in now] == [1, 2]
    buckets = {"every": "1d", "agg": "last", "path": "count"}
    assert get(client, "/v1/twins/late/history", **buckets)["values"][0]["last"] == 30
    assert get(client, "/v1/twins/late/history", **buckets, knownAt=before)["values"][0]["last"] == 3


def test_what_was_answered_then_is_answered_again(client: httpx.Client) -> None:
    first = put(client, "again", label="x")
    patch = [{"op": "add", "path": "/label", "value": "y"}]
    assert client.patch("/digitaltwins/again", json=patch).status_code == 204
    put(client, "again", count=1)
    answer = client.get("/digitaltwins/again", params={"knownAt": known(first)})
    assert answer.json() == first
    assert answer.headers["ETag"] == first["$etag"]
    assert get(client, "/digitaltwins/again")["$etag"] != first["$etag"]


def test_a_deleted_twin_is_read_by_its_id_before_its_deletion(client: httpx.Client) -> None:
    put(client, "gone", label="old")
    send(client, "gone", 9, flow=1.5)
    before = known(get(client, "/digitaltwins/gone"))
    assert client.delete("/digitaltwins/gone").status_code == 204
    assert client.get("/digitaltwins/gone").status_code == 404
    assert get(client, "/digitaltwins/gone", asOf=at(10))["label"] == "old"
    rows = get(client, "/v1/twins/gone/history", asOf=at(10), path="flow")["values"]
    assert [row["value"] for row in rows] == [1.5]
    assert get(client, "/v1/twins/gone/telemetry", asOf=at(10))["values"]["flow"]["value"] == 1.5
    made = client.put(
        "/digitaltwins/gone", json={"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}, "label": "new"}
    )
    assert made.status_code == 200
    assert get(client, "/digitaltwins/gone")["label"] == "new"
    assert get(client, "/digitaltwins/gone", asOf=at(10))["label"] == "old"
    assert get(client, "/digitaltwins/gone", knownAt=before)["label"] == "old"
    missing = client.get("/v1/twins/gone/history", params={"asOf": at(10), "path": "nothing"})
    assert missing.json()["error"]["code"] == "PathNotInModel"
    assert client.get("/digitaltwins/gone", params={"asOf": "2026-01-04T00:00:00Z"}).status_code == 404


def test_relationships_as_they_were(client: httpx.Client) -> None:
    for twin in ("from", "to", "to-2"):
        put(client, twin)
    link = {"$targetId": "to", "$relationshipName": "feeds", "$validFrom": at(6)}
    made = client.put("/digitaltwins/from/relationships/r", json=link).json()
    client.put("/digitaltwins/from/relationships/r", json=link | {"$targetId": "to-2"})
    place = "/digitaltwins/from/relationships"
    assert get(client, place)["value"][0]["$targetId"] == "to-2"
    assert get(client, place, asOf=at(7))["value"] == [made]
    assert get(client, f"{place}/r", asOf=at(7)) == made
    assert get(client, place, asOf=at(5))["value"] == []
    assert client.get(f"{place}/r", params={"asOf": at(5)}).status_code == 404
    incoming = "/digitaltwins/to/incomingrelationships"
    assert get(client, incoming)["value"] == []
    assert [each["$sourceId"] for each in get(client, incoming, asOf=at(7))["value"]] == ["from"]
    client.delete(f"{place}/r")
    again = client.put(f"{place}/r", json=link)
    assert again.status_code == 400
    assert "earlier relationship" in again.json()["error"]["message"]


def test_pages_of_the_past_go_on_in_it(client: httpx.Client) -> None:
    put(client, "hub")
    for number in range(3):
        put(client, f"spoke-{number}", label="spoke")
        link = {"$targetId": f"spoke-{number}", "$relationshipName": "feeds", "$validFrom": at(6)}
        client.put(f"/digitaltwins/hub/relationships/r{number}", json=link)
    for number in range(3):
        client.delete(f"/digitaltwins/hub/relationships/r{number}")
        client.patch(f"/digitaltwins/spoke-{number}", json=[{"op": "remove", "path": "/label"}])
    page = client.get(
        "/digitaltwins/hub/relationships", params={"asOf": at(7)}, headers={"max-items-per-page": "2"}
    ).json()
    rest = client.get(page["nextLink"]).json()
    assert [each["$relationshipId"] for each in page["value"] + rest["value"]] == ["r0", "r1", "r2"]
    query = {"query": "SELECT * FROM digitaltwins T WHERE T.label = 'spoke'", "asOf": at(7)}
    first = client.post("/query", json=query, headers={"max-items-per-page": "2"}).json()
    second = client.post("/query", json={"continuationToken": first["continuationToken"]}).json()
    assert [row["$dtId"] for row in first["value"] + second["value"]] == ["spoke-0", "spoke-1", "spoke-2"]
    assert second["continuationToken"] is None
    assert client.post("/query", json={"query": query["query"]}).json()["value"] == []
    by_parameter = client.post("/query", params={"asOf": at(7)}, json={"query": query["query"]}).json()
    assert len(by_parameter["value"]) == 3


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("asOf", "yesterday", "RFC 3339"),
        ("asOf", "", "RFC 3339"),
        ("knownAt", "2026-01-05T00:00:00", "RFC 3339"),
        ("knownAt", "2026-01-05", "RFC 3339"),
        ("asOf", "1969-12-31T00:00:00Z", "1970"),
        ("asOf", "99999-01-01T00:00:00Z", "RFC 3339"),
        pytest.param("knownAt", (datetime.now(UTC) + timedelta(days=1)).isoformat(), "future", id="tomorrow"),
        ("asOf", "9999-12-31T23:59:59Z", "future"),
    ],
)
def test_moments_that_are_none_are_refused(
    client: httpx.Client, path: str, name: str, text: str, said: str
) -> None:
    put(client, "m")
    answer = client.get(path, params={name: text})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "InvalidArgument"
    assert name in error["message"]
    assert said in error["message"]


def test_a_query_refuses_them_too(client: httpx.Client) -> None:
    for body in ({"asOf": "x"}, {"knownAt": ""}, {"asOf": "2262-01-01T00:00:00Z"}):
        answer = client.post("/query", json={"query": "SELECT * FROM digitaltwins"} | body)
        assert answer.json()["error"]["code"] == "InvalidArgument"


def test_a_forged_token_is_refused(site: Site, client: httpx.Client) -> None:
    from gemel.history.moment import Moment
    from gemel.query.token import Position, encode_position

    for moment in (Moment(-1, 0), Moment(2**62, 0), Moment(0, 2**63 - 1)):
        token = encode_position(
            Position("SELECT * FROM digitaltwins", (1,), moment=moment), site.tenants["one"]
        )
        answer = client.post("/query", json={"continuationToken": token})
        assert answer.json()["error"]["code"] == "BadRequest"


def test_a_token_with_another_query_or_moment_is_refused(client: httpx.Client, other: httpx.Client) -> None:
    for number in range(3):
        put(client, f"token-{number}", label="token")
    text = "SELECT * FROM digitaltwins T WHERE T.label = 'token'"
    then = get(client, "/digitaltwins/token-2")["$metadata"]["$lastUpdateTime"]

    def ask(caller: httpx.Client = client, **body: str) -> tuple[int, str]:
        answer = caller.post("/query", json=body, headers={"max-items-per-page": "1"})
        return answer.status_code, answer.json().get("error", {}).get("code", "")

    for moment in ({}, {"knownAt": then}):
        first = client.post(
            "/query", json={"query": text} | moment, headers={"max-items-per-page": "1"}
        ).json()
        token = first["continuationToken"]
        assert ask(continuationToken=token) == (200, "")
        assert ask(continuationToken=token, query=text) == (200, "")
        assert ask(continuationToken=token, query=text, **moment) == (200, "")
        assert ask(continuationToken=token, query=text + " ") == (400, "BadRequest")
        assert ask(continuationToken=token, query="nonsense") == (400, "BadRequest")
        assert ask(continuationToken=token, query=text, asOf=at(1)) == (400, "BadRequest")
        assert ask(continuationToken=token, knownAt=at(1)) == (400, "BadRequest")
        assert ask(other, continuationToken=token) == (400, "BadRequest")


def test_links_of_lists_are_of_their_twin_moment_and_tenant(
    client: httpx.Client, other: httpx.Client
) -> None:
    for caller in (client, other):
        put(caller, "list-2")
        for twin in ("list-1", "list-2"):
            put(caller, twin)
            for number in range(2):
                link = {"$targetId": "list-2" if twin == "list-1" else "list-1", "$relationshipName": "feeds"}
                caller.put(f"/digitaltwins/{twin}/relationships/r{number}", json=link)
    for kind in ("relationships", "incomingrelationships"):
        page = client.get(f"/digitaltwins/list-1/{kind}", headers={"max-items-per-page": "1"}).json()
        link = page["nextLink"]
        assert len(client.get(link).json()["value"]) == 1
        for answer in (
            client.get(link.replace("list-1", "list-2")),
            client.get(link + f"&asOf={at(1)}"),
            other.get(link),
        ):
            assert answer.json()["error"]["code"] == "InvalidArgument", answer.text


def test_a_moment_before_the_retention_line_is_refused(site: Site, client: httpx.Client) -> None:
    put(client, "kept", label="x")
    now = known(get(client, "/digitaltwins/kept"))
    site.owner.execute(
        "UPDATE tenant_head SET retention_line = '2026-01-05T06:00:00Z' WHERE tenant = %s",
        (site.tenants["one"],),
    )
    try:
        for path in ("/digitaltwins/kept", "/v1/twins/kept/telemetry"):
            answer = client.get(path, params={"asOf": at(5)})
            assert answer.status_code == 400
            error = answer.json()["error"]
            assert error["code"] == "MomentBeforeRetention"
            assert re.search("2026-01-05T06:00", error["message"])
            assert client.get(path, params={"asOf": at(6)}).status_code == 200
            assert client.get(path, params={"knownAt": now}).status_code == 200
        query = {"query": "SELECT * FROM digitaltwins", "asOf": at(5)}
        assert client.post("/query", json=query).json()["error"]["code"] == "MomentBeforeRetention"
    finally:
        site.owner.execute(
            "UPDATE tenant_head SET retention_line = NULL WHERE tenant = %s", (site.tenants["one"],)
        )


@pytest.mark.parametrize("moment", ["asOf=2026-01-31T12:00:00Z", "knownAt=2026-01-31T12:00:00Z", "asOf="])
def test_the_past_is_not_written(client: httpx.Client, moment: str) -> None:
    answer = client.patch(f"/digitaltwins/nobody?{moment}", json=[])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidArgument")
    assert client.put(f"/digitaltwins/nobody?{moment}", json={}).status_code == 400
    assert client.delete(f"/digitaltwins/nobody?{moment}").json()["error"]["code"] == "InvalidArgument"


@pytest.mark.parametrize("path", [*READS, "/v1/twins/m/lifecycle"])
@pytest.mark.parametrize(
    "name", ["asof", "as_of", "AsOf", "as-of", "knownat", "known_at", "KNOWNAT", "knownAt_"]
)
def test_a_moment_spelt_otherwise_is_no_present(client: httpx.Client, path: str, name: str) -> None:
    put(client, "m")
    answer = client.get(path, params={name: at(1)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidArgument"), answer.text
    right = "asOf" if name.lower().startswith("as") else "knownAt"
    assert repr(name) in answer.json()["error"]["message"]
    assert f"Write it {right}." in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/eventroutes",
        "/v1/stats",
        "/jobs/imports",
        "/v1/check",
        "/v1/changes",
    ],
)
def test_what_takes_no_moment_says_so(client: httpx.Client, path: str) -> None:
    for name in ("asOf", "knownAt", "as_of"):
        answer = client.get(path, params={name: at(1)})
        assert answer.json()["error"]["code"] == "InvalidArgument", answer.text
        assert "cannot be asked of a moment" in answer.json()["error"]["message"]


def test_parameters_that_a_route_has_not(client: httpx.Client) -> None:
    put(client, "m")
    for path, name, said in (
        ("/v1/twins/m/history", "evry", "every, fill, from"),
        ("/v1/twins/m/history", "From", "Write it from."),
        ("/v1/stats", "limit", "It takes none."),
        ("/models", "includemodeldefinition", "Write it includeModelDefinition."),
        ("/models", "dependencies_for", "Write it dependenciesFor."),
        ("/digitaltwins/m", "API-Version", "Write it api-version."),
    ):
        answer = client.get(path, params={name: "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidArgument"), answer.text
        assert said in answer.json()["error"]["message"]
    assert client.get("/digitaltwins/m", params={"timeout": "5", "sv": "x"}).status_code == 200
    assert client.get("/v1/stats", params={"api-version": "2023-10-31"}).status_code == 200
    patched = client.patch("/digitaltwins/m", params={"as_of": at(1)}, json=[])
    assert "not written" in patched.json()["error"]["message"]

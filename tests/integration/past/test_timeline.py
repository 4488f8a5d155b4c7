"""What a timeline tells of a twin's own life and of its relationships, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gemel.graph.paging import Listing
from gemel.history.moment import END_US
from gemel.past.timeline import KINDS
from support.api_site import PUMP, Site

MOTOR = "dtmi:test:Motor;1"
PLAIN: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}


def done(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json() if response.content else None


def told(client: httpx.Client, twin: str, **params: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = done(client.get(f"/v1/twins/{twin}/timeline", params=params))["entries"]
    return entries


def test_model_lifecycle_and_deletion(client: httpx.Client) -> None:
    done(client.put("/digitaltwins/m", json=PLAIN))
    done(client.put("/digitaltwins/m", json={"$metadata": {"$model": MOTOR}}))
    state = {"state": "maintenance", "reason": "worn out"}
    done(client.put("/v1/twins/m/lifecycle", json=state))
    done(client.delete("/digitaltwins/m"))
    done(client.put("/digitaltwins/m", json=PLAIN))
    entries = told(client, "m", kind="twin", order="asc")
    assert [(e["what"], e["before"], e["after"]) for e in entries] == [
        ("twin.created", None, {"model": PUMP, "lifecycle": "active"}),
        ("twin.model", {"model": PUMP}, {"model": MOTOR}),
        ("twin.lifecycle", {"lifecycle": "active"}, {"lifecycle": "maintenance"}),
        ("twin.deleted", {"model": MOTOR, "lifecycle": "maintenance"}, None),
        ("twin.created", None, {"model": PUMP, "lifecycle": "active"}),
    ]
    assert entries[2]["reason"] == "worn out"
    assert all(e["time"] == e["recorded"] for e in entries)
    actions = [e["cause"]["action"] for e in entries]
    assert actions[:2] + actions[3:] == ["twin.put", "twin.put", "twin.delete", "twin.put"]
    assert "lifecycle" in actions[2]


def test_relationships_as_either_end_sees_them(client: httpx.Client) -> None:
    for twin in ("ra", "rb", "rc"):
        done(client.put(f"/digitaltwins/{twin}", json=PLAIN))
    place = "/digitaltwins/ra/relationships/r"
    for target in ("rb", "rc"):
        done(client.put(place, json={"$targetId": target, "$relationshipName": "feeds"}))
    done(client.delete(place))

    def of(twin: str) -> list[tuple[Any, ...]]:
        entries = told(client, twin, kind="relationship", order="asc")
        assert {(e["relationship"], e["name"], e["source"]) for e in entries} == {("r", "feeds", "ra")}
        targets = [[(e[side] or {}).get("$targetId") for side in ("before", "after")] for e in entries]
        return [(e["what"], e["direction"], *ends) for e, ends in zip(entries, targets, strict=True)]

    assert of("ra") == [
        ("relationship.created", "outgoing", None, "rb"),
        ("relationship.changed", "outgoing", "rb", "rc"),
        ("relationship.removed", "outgoing", "rc", None),
    ]
    assert of("rb") == [
        ("relationship.created", "incoming", None, "rb"),
        ("relationship.removed", "incoming", "rb", None),
    ]
    assert of("rc") == [
        ("relationship.created", "incoming", None, "rc"),
        ("relationship.removed", "incoming", "rc", None),
    ]


def test_what_was_written_before_causes_were_kept_is_told_so(site: Site, client: httpx.Client) -> None:
    done(client.put("/digitaltwins/old", json=PLAIN | {"label": "x"}))
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "t",
        "subject": "old",
        "data": {"flow": 1.0},
    }
    done(client.post("/v1/events", json=event))
    site.owner.execute("ALTER TABLE audit DISABLE TRIGGER audit_is_append_only")
    site.owner.execute("UPDATE audit SET recorded_from = NULL, recorded_to = NULL")
    site.owner.execute("ALTER TABLE audit ENABLE TRIGGER audit_is_append_only")
    site.owner.execute("DELETE FROM origin")
    kinds = ["twin", "property", "telemetry"]
    assert [e["cause"] for e in told(client, "old", kind=kinds)] == [None] * 3
    values = done(client.get("/v1/twins/old/explain"))["values"]
    assert [([rule["rule"] for rule in v["rules"]], v["cause"]) for v in values] == [
        (["newestTime"], None)
    ] * 2


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/twins/none/timeline", 404, "DigitalTwinNotFound"),
        ("/v1/twins/t/timeline?path=nothing", 400, "PathNotInModel"),
        ("/v1/twins/t/timeline?kind=all", 400, "InvalidArgument"),
        ("/v1/twins/t/timeline?order=up", 400, "InvalidArgument"),
        ("/v1/twins/t/timeline?limit=0", 400, "InvalidArgument"),
        ("/v1/twins/t/timeline?limit=1001", 400, "InvalidArgument"),
        ("/v1/twins/t/timeline?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "InvalidArgument"),
        ("/v1/twins/t/timeline?after=nonsense", 400, "InvalidArgument"),
        ("/v1/twins/none/explain", 404, "DigitalTwinNotFound"),
        ("/v1/twins/t/explain?path=nothing", 400, "PathNotInModel"),
        ("/v1/diff", 400, "MissingArgument"),
        ("/v1/diff?from=yesterday", 400, "InvalidArgument"),
        ("/v1/diff?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "InvalidArgument"),
        ("/v1/diff?from=2026-01-02T00:00:00Z&depth=1", 400, "MissingArgument"),
        ("/v1/diff?from=2026-01-02T00:00:00Z&twin=t&depth=11", 400, "InvalidArgument"),
        ("/v1/diff?from=2026-01-02T00:00:00Z&twin=none", 404, "DigitalTwinNotFound"),
        ("/v1/diff?from=2026-01-02T00:00:00Z&twin=%22", 400, "InvalidArgument"),
        ("/v1/diff?from=2026-01-02T00:00:00Z&after=nonsense", 400, "InvalidArgument"),
    ],
)
def test_what_cannot_be_told_is_refused(client: httpx.Client, path: str, status: int, code: str) -> None:
    done(client.put("/digitaltwins/t", json=PLAIN))
    response = client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text


# What a request that says nothing else asks for.
OF_TIMELINE: tuple[Any, ...] = ("t", 0, END_US - 1, True, END_US, sorted(set(KINDS) - {"telemetry"}), [])
OF_DIFF = (None, 0, False, END_US)
STATES = [
    {"at": at, "key": key}
    for at, key in [
        (-1, "v" + "0" * 20),
        (2**62, "r"),
        (0, "x"),
        (0, "v9"),
        (0, "v" + "x" * 20),
        (0, "r\0"),
        (0, ""),
    ]
] + [
    {"from_us": start, "to_us": end, "no": no, "source": source, "id": name}
    for start, end, no, source, name in [
        (5, 4, 0, -1, ""),
        (-1, 4, 0, -1, ""),
        (1, 4, 0, -1, ""),
        (0, 2**62, 0, -1, ""),
        (0, 1, -1, -1, ""),
        (0, 1, 2**70, -1, ""),
        (0, 1, 0, -9, ""),
        (0, 1, 0, 0, "\0"),
        (0, 1, 0, 0, "x" * 2000),
    ]
]


@pytest.mark.parametrize("state", STATES)
def test_tokens_that_no_list_gave_are_refused(
    site: Site, client: httpx.Client, state: dict[str, Any]
) -> None:
    done(client.put("/digitaltwins/t", json=PLAIN))
    for kind, of, path in (
        ("timeline", OF_TIMELINE, "/v1/twins/t/timeline?"),
        ("diff", OF_DIFF, "/v1/diff?from=1970-01-01T00:00:00Z&"),
    ):
        token = Listing(site.tenants["one"], kind, of).encode(**state)
        response = client.get(f"{path}after={token}")
        assert (response.status_code, response.json()["error"]["code"]) == (400, "InvalidArgument"), (
            response.text
        )


def test_a_token_goes_on_with_its_own_list_alone(client: httpx.Client, other: httpx.Client) -> None:
    for twin in ("own-1", "own-2"):
        done(client.put(f"/digitaltwins/{twin}", json=PLAIN | {"label": "x", "count": 1}))
        done(other.put(f"/digitaltwins/{twin}", json=PLAIN | {"label": "x", "count": 1}))
    start, end = "1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
    for place, same, others in (
        (
            "/v1/twins/own-1/timeline",
            {"kind": ["property", "twin"]},
            ({"kind": "property"}, {"order": "asc"}, {"path": "count"}, {"from": end}),
        ),
        (
            "/v1/diff",
            {"from": start},
            ({"from": end}, {"from": start, "to": end}, {"from": start, "twin": "own-1"}),
        ),
    ):
        page = done(client.get(place, params={**same, "limit": 1}))
        assert page["after"] is not None
        done(client.get(place, params={**same, "limit": 5, "after": page["after"]}))
        for each in others:
            refused(client.get(place, params={**each, "after": page["after"]}))
        elsewhere = {**same, "after": page["after"]} | ({"twin": "own-2"} if place == "/v1/diff" else {})
        refused(client.get(place.replace("own-1", "own-2"), params=elsewhere))
        refused(other.get(place, params={**same, "after": page["after"]}))
    page = done(client.get("/v1/diff", params={"from": start, "limit": 1}))
    done(client.get("/v1/diff", params={"from": start, "to": page["to"], "after": page["after"]}))


def refused(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (400, "InvalidArgument"), response.text


def test_the_greatest_place_of_a_token_is_the_end(site: Site, client: httpx.Client) -> None:
    done(client.put("/digitaltwins/t", json=PLAIN | {"label": "x"}))
    token = Listing(site.tenants["one"], "timeline", OF_TIMELINE).encode(at=0, key="v" + "9" * 20)
    assert told(client, "t", after=token) == []
    token = Listing(site.tenants["one"], "diff", OF_DIFF).encode(
        from_us=0, to_us=1, no=2**43, source=-1, id=""
    )
    page = done(client.get(f"/v1/diff?from=1970-01-01T00:00:00Z&after={token}"))
    assert (page["items"], page["after"], page["to"]) == ([], None, "1970-01-01T00:00:00.000001Z")

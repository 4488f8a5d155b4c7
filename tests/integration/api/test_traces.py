"""A producer's trace goes on through the commit to the change feed, whoever shares the commit."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gemel.observe.trace import TRACEPARENT
from support.api_site import PUMP, Site

BATCH = "application/cloudevents-batch+json"
TWIN: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}


def traceparent(digit: str, flags: str = "01") -> str:
    return f"00-{digit * 32}-{digit * 16}-{flags}"


def event(number: int, twin: str = "p1", **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{twin}-{number}",
        "source": "/traced",
        "type": "t",
        "subject": twin,
        "time": f"2026-01-31T12:{number // 60:02}:{number % 60:02}Z",
        "data": {"flow": float(number)},
        **more,
    }


def send(client: httpx.Client, events: list[dict[str, Any]], **headers: str) -> None:
    answer = client.post("/v1/events", content=json.dumps(events), headers={"Content-Type": BATCH, **headers})
    assert answer.json()["accepted"] == len(events), answer.text


@pytest.fixture(scope="module", autouse=True)
def twins(client: httpx.Client) -> None:
    for twin in ("p1", *(f"q{n}" for n in range(8))):
        assert client.put(f"/digitaltwins/{twin}", json=TWIN).status_code == 200


def newest_change(site: Site) -> int:
    row = site.owner.execute(
        "SELECT change_no FROM tenant_head WHERE tenant = %s", (site.tenants["one"],)
    ).fetchone()
    assert row is not None
    return int(row[0])


def changes(site: Site, client: httpx.Client, after: int) -> list[dict[str, Any]]:
    """Return what the feed tells after a change, up to now."""
    found: list[dict[str, Any]] = []
    last, newest = after, newest_change(site)
    with client.stream("GET", "/v1/changes", headers={"Last-Event-ID": str(after)}) as response:
        for line in response.iter_lines():
            if line.startswith("id: "):
                last = int(line[4:])
            elif line.startswith("data: ") and line != "data: ":
                found.append(json.loads(line[6:]))
                if last >= newest:
                    return found
    return found


def trace_id(named: str) -> str:
    match = TRACEPARENT.fullmatch(named)
    assert match is not None
    return match[2]


def test_a_request_s_trace_goes_through_the_commit_to_the_feed(site: Site, client: httpx.Client) -> None:
    after = newest_change(site)
    send(client, [event(1), event(2)], traceparent=traceparent("a"))
    client.patch(
        "/digitaltwins/p1",
        json=[{"op": "add", "path": "/label", "value": "x"}],
        headers={"traceparent": traceparent("b", "00")},
    )
    client.put("/digitaltwins/p2", json=TWIN, headers={"traceparent": traceparent("c")})
    told = changes(site, client, after)
    assert [trace_id(each["traceparent"]) for each in told[:2]] == ["a" * 32, "b" * 32]
    assert {trace_id(each["traceparent"]) for each in told[2:]} == {"c" * 32}
    # Our span is the parent from here on, and the sender's choice to record goes along.
    assert told[0]["traceparent"].endswith("-01")
    assert told[1]["traceparent"].endswith("-00")
    assert "a" * 16 not in told[0]["traceparent"].replace("a" * 32, "")
    assert {row[5] for row in site.audited("one")[-3:]} == {"a" * 32, "b" * 32, "c" * 32}


def test_without_a_trace_of_the_sender_that_of_all_events_is_continued(
    site: Site, client: httpx.Client
) -> None:
    after = newest_change(site)
    send(client, [event(n, traceparent=traceparent("d")) for n in (11, 12)])
    (told,) = changes(site, client, after)
    assert trace_id(told["traceparent"]) == "d" * 32
    assert site.audited("one")[-1][5] == "d" * 32


def test_events_of_several_traces_keep_their_own(site: Site, client: httpx.Client) -> None:
    after = newest_change(site)
    named = [traceparent("e"), traceparent("f"), None, "nonsense", traceparent("e")]
    events = [
        event(20 + n, **({} if name is None else {"traceparent": name})) for n, name in enumerate(named)
    ]
    send(client, events, traceparent=traceparent("a"))
    (told,) = changes(site, client, after)
    found = {sample["value"]: sample["traceparent"] for sample in told["samples"]}
    assert [found[20.0], found[21.0], found[24.0]] == [named[0], named[1], named[4]]
    assert {trace_id(found[22.0]), trace_id(found[23.0])} == {"a" * 32}


def test_requests_that_share_a_commit_keep_their_traces_apart(site: Site, client: httpx.Client) -> None:
    after = newest_change(site)

    def one(number: int) -> None:
        with httpx.Client(base_url=site.url, headers=dict(client.headers)) as own:
            for n in range(20):
                send(own, [event(n, f"q{number}")], traceparent=traceparent(str(number + 1)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    seen = 0
    for told in changes(site, client, after):
        for sample in told["samples"]:
            named = sample.get("traceparent") or told["traceparent"]
            assert trace_id(named) == str(int(sample["twin"][1:]) + 1) * 32
            seen += 1
    assert seen == 160


def test_many_changes_in_one_row_carry_the_trace_too(site: Site, client: httpx.Client) -> None:
    after = newest_change(site)
    events = [event(1, f"new-{n}") for n in range(30)]
    send(client, events, **{"traceparent": traceparent("9"), "Gemel-Create-Model": PUMP})
    told = changes(site, client, after)
    assert len(told) > 30
    assert {trace_id(each["traceparent"]) for each in told} == {"9" * 32}


def test_what_is_sent_without_any_trace_has_one_of_ours(site: Site, client: httpx.Client) -> None:
    after = newest_change(site)
    answer = client.post("/v1/events", content=json.dumps([event(50)]), headers={"Content-Type": BATCH})
    (told,) = changes(site, client, after)
    assert trace_id(told["traceparent"]) == trace_id(answer.headers["traceresponse"])

"""Dead letters over HTTP: listed, shown and discarded, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.api_site import Site

HOOK = {"kind": "webhook", "url": "https://hooks.invalid/gemel"}


def code_of(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


@pytest.fixture
def numbers(site: Site, client: httpx.Client) -> Iterator[list[int]]:
    """Put two notifications of a route aside, as its delivery would."""
    client.put("/v1/endpoints/dead", json=HOOK).raise_for_status()
    client.put("/eventroutes/dead", json={"endpointName": "dead", "filter": "true"}).raise_for_status()
    site.owner.execute("DELETE FROM dead_letter")
    for number in range(2):
        site.owner.execute(
            "INSERT INTO dead_letter (tenant, route_id, event_id, twin, event, error, tries, died) "
            "SELECT tenant, route_id, %s, 'm', convert_to('{\"id\": 1}', 'UTF8'), 'no', 10, now() FROM event_route "
            "WHERE route_id = 'dead'",
            (f"e{number}",),
        )
    listed = client.get("/v1/dead-letters", params={"route": "dead", "limit": 2}).json()["value"]
    yield [each["number"] for each in listed]
    site.owner.execute("DELETE FROM event_route")
    site.owner.execute("DELETE FROM endpoint")


def test_they_are_listed_shown_and_discarded(site: Site, client: httpx.Client, numbers: list[int]) -> None:
    assert len(numbers) == 2
    first, second = numbers
    behind = client.get("/v1/dead-letters", params={"after": first}).json()["value"]
    assert [each["number"] for each in behind] == [second]
    shown: dict[str, Any] = client.get(f"/v1/dead-letters/{first}").json()
    assert (shown["route"], shown["id"], shown["tries"], shown["event"]) == ("dead", "e0", 10, {"id": 1})
    gone = client.post("/v1/dead-letters/discard", json={"numbers": [first], "route": "dead"})
    assert gone.json() == {"discarded": 1}
    assert site.audited("one")[-1][0] == "deadletter.discard"
    assert code_of(client.get(f"/v1/dead-letters/{first}")) == "DeadLetterNotFound"


def test_what_cannot_be_sent_stays_and_says_why(client: httpx.Client, numbers: list[int]) -> None:
    told = client.post("/v1/dead-letters/replay", json={"route": "dead"}).json()
    assert (told["delivered"], told["failed"]) == (0, 2)
    assert told["errors"][0].startswith("dead: ")
    assert client.get(f"/v1/dead-letters/{numbers[0]}").json()["tries"] == 11


@pytest.mark.parametrize("body", [{}, {"numbers": [0]}, {"numbers": "all"}, {"rout": "a"}, []])
def test_a_choice_that_chooses_nothing_is_refused(client: httpx.Client, body: object) -> None:
    for act in ("replay", "discard"):
        answer = client.post(f"/v1/dead-letters/{act}", json=body)
        assert (answer.status_code, code_of(answer)) == (400, "InvalidArgument")

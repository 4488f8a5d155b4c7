"""Connections of the pool are terminated under load: callers are told to try again, and nothing else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from support.api_site import PUMP, Site

EVENTS = {"Content-Type": "application/cloudevents-batch+json"}
ROUNDS = 40
KILLS_MAX = 150
TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND usename = 'gemel_serve'"""


def put(client: httpx.Client, twin: str) -> None:
    body = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
    assert client.put(f"/digitaltwins/{twin}", json=body).status_code == 200


def batch(number: int, place: int) -> list[dict[str, Any]]:
    second = place % 60
    return [
        {
            "specversion": "1.0",
            "id": f"{number}-{place}-{part}",
            "source": "/s",
            "type": "t",
            "subject": f"lost-{number}",
            "time": f"2026-01-05T{part:02}:{place // 60:02}:{second:02}Z",
            "data": {"flow": float(place)},
        }
        for part in range(20)
    ]


def passed(answer: httpx.Response) -> bool:
    assert answer.status_code in (200, 204, 503), answer.text
    if answer.status_code == 503:
        assert answer.json()["error"]["code"] == "DatabaseUnavailable"
        assert int(answer.headers["Retry-After"]) >= 1
    return answer.is_success


def ingest(client: httpx.Client, number: int) -> list[int]:
    """Send batches, and return those that were acknowledged."""
    sent = (
        (place, client.post("/v1/events", json=batch(number, place), headers=EVENTS))
        for place in range(ROUNDS)
    )
    return [place for place, answer in sent if passed(answer)]


def patch_and_read(client: httpx.Client, number: int) -> None:
    for place in range(ROUNDS):
        value = [{"op": "add", "path": "/label", "value": str(place)}]
        passed(client.patch(f"/digitaltwins/lost-{number}", json=value))
        passed(client.get(f"/digitaltwins/lost-{number}"))
        passed(client.post("/query", json={"query": "SELECT * FROM digitaltwins T WHERE T.flow > 3"}))
        passed(client.get(f"/v1/twins/lost-{number}/history", params={"limit": 50}))


def kill(site: Site, over: threading.Event) -> int:
    """Terminate the server's connections again and again; return how many."""
    killed = 0
    for _ in range(KILLS_MAX):
        row = site.owner.execute(TERMINATE).fetchone()
        killed += 0 if row is None else row[0]
        if over.wait(0.02):
            break
    return killed


def test_a_terminated_connection_is_told_as_unavailable(site: Site, client: httpx.Client) -> None:
    for number in range(3):
        put(client, f"lost-{number}")
    over = threading.Event()
    with ThreadPoolExecutor(7) as pool:
        killing = pool.submit(kill, site, over)
        sending = [pool.submit(ingest, client, number) for number in range(3)]
        others = [pool.submit(patch_and_read, client, number) for number in range(3)]
        try:
            acknowledged = [each.result() for each in sending]
            for each in others:
                each.result()
        finally:
            over.set()
        assert killing.result() > 0
    for number, places in enumerate(acknowledged):
        for place in places:
            row = batch(number, place)[0]
            params = {"path": "flow", "from": row["time"], "limit": "1"}
            values = client.get(f"/v1/twins/lost-{number}/history", params=params).json()["values"]
            assert values[0]["value"] == float(place)

"""More than can be taken: 429 with Retry-After, nothing acknowledged lost, the server well all the while."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx

from support.command_line import ASSETS, Site, serving

CLIENTS = 16
TURNS = 6
EVENTS = 400
MODEL = "dtmi:gemel:demo:PumpRig;1"


def body(client: int, turn: int) -> bytes:
    lines = []
    for number in range(EVENTS):
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"{client}-{turn}-{number}",
            "source": "/flood",
            "type": "t",
            "subject": f"lab-{client}",
            "time": f"2026-03-0{turn + 1}T00:{number // 60:02d}:{number % 60:02d}Z",
            "data": {"site": f"{client} {turn} {number}"},
        }
        lines.append(json.dumps(event))
    return "\n".join(lines).encode()


class Flood:
    """Sends from many threads at once, counting what was acknowledged and what refused."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.headers = {
            "Authorization": f"Bearer {(site.data / 'default.key').read_text().strip()}",
            "Content-Type": "application/x-ndjson",
            "Gemel-Create-Model": MODEL,
        }
        self.acknowledged: set[tuple[int, int]] = set()
        self.refused = 0
        self.faults: list[str] = []

    def send(self, client: int) -> None:
        with httpx.Client(base_url=self.site.url, headers=self.headers, timeout=60) as http:
            for turn in range(TURNS):
                answer = http.post("/v1/events", content=body(client, turn))
                if answer.status_code == 200 and answer.json()["quarantined"] == 0:
                    self.acknowledged.add((client, turn))
                elif answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1:
                    self.refused += 1
                    if answer.json()["error"]["code"] != "Overloaded":
                        self.faults.append(answer.text)
                else:
                    self.faults.append(f"{answer.status_code} {answer.text[:200]}")

    def stored(self, client: int) -> int:
        with httpx.Client(base_url=self.site.url, headers=self.headers, timeout=60) as http:
            answer = http.get(
                f"/v1/twins/lab-{client}/history", params={"path": "site", "every": "3650d", "agg": "count"}
            )
            assert answer.status_code in {200, 404}, answer.text
            return sum(row["count"] for row in answer.json()["values"]) if answer.status_code == 200 else 0


def test_refusals_lose_nothing_that_was_acknowledged() -> None:
    size = len(body(CLIENTS, TURNS))
    limits = {"GEMEL_BODY_BYTES_MAX": str(size), "GEMEL_IN_FLIGHT_BYTES_MAX": str(3 * size)}
    with serving(**limits) as site:
        added = site.run("models", "add", str(ASSETS / "pump-rig" / "models.json"))
        assert added.code == 0, added
        flood = Flood(site)
        threads = [threading.Thread(target=flood.send, args=(client,)) for client in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert flood.faults == []
        assert flood.refused > 0
        assert flood.acknowledged
        told = site.run("audit", "--result", "Overloaded", "--limit", "1000", "--json").json()
        assert len(told) == flood.refused, "each 429 has its row"
        for client in range(CLIENTS):
            turns = [turn for own, turn in flood.acknowledged if own == client]
            assert flood.stored(client) == len(turns) * EVENTS
        flood.send(0)  # alone, all of it is taken
        assert flood.faults == []
        assert {(0, turn) for turn in range(TURNS)} <= flood.acknowledged

"""What a platform holds, read as a user reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx

from bench.platform import Platform
from support.torture.world import PATHS, Reading

__all__ = ["history_of", "newest_set_aside", "set_aside", "state_of"]

NO_EVENT = {"EventMalformed", "MappingFailed"}
BEGINNING = re.compile(r"\{(\S+) is no event")


def history_of(client: httpx.Client, twin: str) -> Iterator[Reading]:
    """Yield all values of a twin, page after page."""
    after: str | None = None
    while True:
        params = {"path": list(PATHS)} | ({} if after is None else {"after": after})
        answer = client.get(f"/v1/twins/{twin}/history", params=params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        for row in body["values"]:
            yield Reading(twin, row["path"], row["time"], row["value"])
        after = body["after"]
        if after is None:
            return


def state_of(client: httpx.Client, twin: str) -> Iterator[tuple[tuple[str, str], tuple[str, float]]]:
    """Yield the last value of each path of a twin, with its time."""
    answer = client.get(f"/v1/twins/{twin}/telemetry")
    assert answer.status_code == 200, answer.text
    for path, held in answer.json()["values"].items():
        yield (twin, path), (held["sourceTime"], held["value"])


def set_aside(client: httpx.Client, after: int) -> Iterator[tuple[str, str]]:
    """Yield of each event in quarantine after a number its code, and its id or else what begins its text."""
    while True:
        answer = client.get("/v1/quarantine", params={"after": after, "limit": 1000})
        assert answer.status_code == 200, answer.text
        found = answer.json()["value"]
        for each in found:
            known = each["id"]
            if each["code"] in NO_EVENT:
                raw = client.get(f"/v1/quarantine/{each['number']}").json()["raw"]
                match = BEGINNING.search(raw)
                known = known if match is None else match[1]
            yield each["code"], known
        if not found:
            return
        after = found[-1]["number"]


def newest_set_aside(platform: Platform) -> int:
    """Return the number of the newest event in quarantine."""
    with platform.client() as client:
        found: list[dict[str, Any]] = client.get(
            "/v1/quarantine", params={"limit": 1, "order": "desc"}
        ).json()["value"]
    return int(found[0]["number"]) if found else 0

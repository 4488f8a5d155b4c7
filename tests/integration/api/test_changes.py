from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from gemel.api import following as feed
from gemel.cli.sse import EventStream, ServerEvent
from gemel.security.principal import Scope
from support.api_site import PUMP, Site

TWIN: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}


class Follower:
    """Reads a stream in a thread and keeps its events and lines."""

    def __init__(self, client: httpx.Client, params: Any, last: str | None) -> None:
        self.events: queue.Queue[ServerEvent] = queue.Queue()
        self.lines: list[str] = []
        self.opened = threading.Event()
        self.ended = threading.Event()
        self._stop = False
        arguments = (str(client.base_url), dict(client.headers), params, last)
        self._thread = threading.Thread(target=self._read, args=arguments, daemon=True)
        self._thread.start()
        assert self.opened.wait(10)

    def _read(self, url: str, headers: dict[str, str], params: Any, last: str | None) -> None:
        if last is not None:
            headers["Last-Event-ID"] = last
        with (
            httpx.Client(base_url=url, headers=headers, timeout=30) as client,
            client.stream("GET", "/v1/changes", params=params) as response,
        ):
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            for event in EventStream(self._kept(response)):
                self.events.put(event)
                if self._stop:
                    break
        self.ended.set()

    def _kept(self, response: httpx.Response) -> Iterator[str]:
        for line in response.iter_lines():
            self.lines.append(line)
            if line.startswith(": changes"):
                self.opened.set()
            if self._stop:
                return
            yield line

    def take(self, count: int) -> list[ServerEvent]:
        return [self.events.get(timeout=10) for _ in range(count)]

    def stop(self) -> None:
        self._stop = True


@contextmanager
def following(client: httpx.Client, params: Any = (), last: str | None = None) -> Iterator[Follower]:
    follower = Follower(client, params, last)
    try:
        yield follower
    finally:
        follower.stop()


def put(client: httpx.Client, twin: str, **values: Any) -> None:
    answer = client.put(f"/digitaltwins/{twin}", json=TWIN | values)
    assert answer.status_code == 200, answer.text


def patch(client: httpx.Client, twin: str, value: str) -> None:
    operations = [{"op": "add", "path": "/label", "value": value}]
    answer = client.patch(f"/digitaltwins/{twin}", json=operations)
    assert answer.status_code == 204, answer.text


def labels(event: ServerEvent) -> list[tuple[str, Any]]:
    return [(each["twin"], each["value"]) for each in json.loads(event.data)["samples"]]


def test_changes_are_followed_from_now_and_resumed(client: httpx.Client) -> None:
    put(client, "c1")
    with following(client) as follower:
        patch(client, "c1", "a")
        patch(client, "c1", "b")
        client.delete("/digitaltwins/c1")
        first, second, third = follower.take(3)
    assert (first.kind, labels(first)) == ("samples", [("c1", "a")])
    assert labels(second) == [("c1", "b")]
    assert int(second.id) == int(first.id) + 1
    assert third.kind == "twin.deleted"
    told = json.loads(third.data)
    assert told["twin"] == "c1"
    assert "no" not in told
    sample = json.loads(first.data)["samples"][0]
    assert set(sample) == {"twin", "path", "value", "sourceTime", "quality", "revision"}
    with following(client, last=first.id) as again:
        assert [event.data for event in again.take(2)] == [second.data, third.data]


def test_filters_by_twin_and_model(client: httpx.Client) -> None:
    with (
        following(client, [("twin", "f1"), ("twin", "f2")]) as mine,
        following(client, {"model": PUMP}) as pumps,
    ):
        put(client, "f0", label="no")
        put(client, "f1", label="one")
        put(client, "f2", label="two")
        kinds = [(event.kind, event.data) for event in mine.take(4)]
        assert [kind for kind, _ in kinds] == ["twin.created", "samples"] * 2
        assert all('"f0"' not in data for _, data in kinds)
        assert [event.kind for event in pumps.take(6)] == ["twin.created", "samples"] * 3
    refused = client.get("/v1/changes", params={"model": "dtmi:none:X;1"})
    assert refused.status_code == 404, refused.text
    relation = {"$targetId": "f2", "$relationshipName": "feeds"}
    with following(client, {"twin": "f2"}) as target:
        assert client.put("/digitaltwins/f1/relationships/r", json=relation).status_code == 200
        (event,) = target.take(1)
        assert event.kind == "relationship.created"
        assert json.loads(event.data)["relationship"] == "r"


def test_a_large_commit_becomes_several_events_with_one_id(client: httpx.Client) -> None:
    put(client, "big")
    body = [
        {
            "specversion": "1.0",
            "id": str(n),
            "source": "/c",
            "type": "t",
            "subject": "big",
            "time": f"2026-01-31T12:{n // 60:02}:{n % 60:02}Z",
            "data": {"flow": float(n)},
        }
        for n in range(1200)
    ]
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    with following(client, {"twin": "big"}) as follower:
        sent = client.post("/v1/events", content=json.dumps(body).encode(), headers=headers)
        assert sent.status_code == 200, sent.text
        parts = follower.take(3)
        values = [sample["value"] for part in parts for sample in json.loads(part.data)["samples"]]
        assert sorted(values) == [float(n) for n in range(1200)]
        assert parts[0].id == parts[1].id != parts[2].id


def test_what_is_not_kept_cannot_be_resumed(site: Site, client: httpx.Client) -> None:
    site.owner.execute("DELETE FROM change WHERE tenant = %s AND change_no < 3", (site.tenants["one"],))
    gone = client.get("/v1/changes", headers={"Last-Event-ID": "1"})
    assert gone.status_code == 400
    assert gone.json()["error"]["code"] == "ChangesGone"
    assert client.get("/v1/changes", headers={"Last-Event-ID": "999999"}).status_code == 400
    with following(client, last="2") as follower:
        assert follower.take(1)[0].id == "3"


def test_other_tenants_hear_nothing(site: Site, client: httpx.Client) -> None:
    other = site.client("two")
    with following(other) as theirs, following(client) as ours:
        put(client, "mine", label="x")
        ours.take(2)
        time.sleep(0.3)
        assert theirs.events.empty()


def test_heartbeats_keep_the_stream_and_end_it_with_the_key(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_S", 0.2)
    reader = site.client("one", Scope.READ)
    follower = Follower(reader, (), None)
    end_s = time.monotonic() + 10
    while follower.lines.count(": alive") < 2:
        assert time.monotonic() < end_s, follower.lines
        time.sleep(0.02)
    key_id = reader.headers["Authorization"].split("_")[2]
    assert site.client().delete(f"/v1/keys/{key_id}").status_code == 204
    assert follower.ended.wait(5)


def test_a_slow_reader_holds_nothing_and_the_server_stops_with_streams_open(
    site: Site, client: httpx.Client
) -> None:
    quick = Follower(client, (), None)
    with (
        httpx.Client(base_url=site.url, headers=dict(client.headers), timeout=30) as idle,
        idle.stream("GET", "/v1/changes", headers={"Last-Event-ID": "2"}) as response,
    ):
        assert response.status_code == 200
        before = time.monotonic()
        site.stop()
        assert time.monotonic() - before < 10, "it waited for the streams' heartbeat"
    assert quick.ended.wait(5)

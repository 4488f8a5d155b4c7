"""One seeded run: senders that go on until all is acknowledged, blows meanwhile, and what is there afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import httpx

from bench.platform import Platform
from support.tcp_proxy import TcpProxy
from support.torture.clock import ShiftedClock
from support.torture.follower import Follower
from support.torture.world import MODEL, PATHS, Message, Outcome, Reading, World, expected

__all__ = ["Blow", "TortureRun"]

SENDERS = 3
BATCH = 30
MESSAGES = 1_200
PAUSE_S = 0.05
ANSWER_S_MAX = 4.0
SETTLED_S_MAX = 60.0
HEADERS = {"Content-Type": "application/x-ndjson", "Gemel-Create-Model": str(MODEL["@id"])}

Blow = Callable[["TortureRun"], None]


class TortureRun:
    """A run against a platform; blows find what they need here."""

    def __init__(self, platform: Platform, seed: int, kind: str, clock: ShiftedClock | None = None) -> None:
        self.platform = platform
        self.clock = clock
        self.rng = random.Random(f"{kind} {seed}")
        self.world = World(seed, f"{kind}-{seed}", MESSAGES)
        self.proxy = TcpProxy(platform.port)
        self.counts = Counter(
            {"runs": 1, "events": 0, "blows": 0, "requests": 0, "not answered": 0, "refused": 0}
        )
        self._waiting = list(_batches(self.world.deliveries()))[::-1]
        self._lock = threading.Lock()
        self._faults: list[str] = []
        self._aside_before = newest_set_aside(platform)

    def go(self, blows: Sequence[Blow]) -> None:
        """Send everything, with the blows at moments of their own, and hold what came of it against the model."""
        end = f"{self.world.tag}-end"
        follower = Follower(
            f"http://127.0.0.1:{self.proxy.port}", self.platform.key, self.world.twins, end, PAUSE_S
        )
        try:
            follower.start()
            self._load(blows)
            assert not self._faults, self._faults[0]
            with self._client() as client:
                self._post(client, _marker(end))
            assert follower.finish(SETTLED_S_MAX), "the feed does not come to its end"
        finally:
            follower.finish(0)
            self.proxy.close()
        self._count("events", len(self.world.messages))
        self._count("feed resumed", follower.connections - 1)
        outcome = expected(self.world.messages)
        self._check(outcome)
        check_feed(follower, outcome)

    def _load(self, blows: Sequence[Blow]) -> None:
        senders = [threading.Thread(target=self._send, daemon=True) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        try:
            for blow in blows:
                time.sleep(self.rng.uniform(0.05, 0.5))
                blow(self)
                self._count("blows")
        finally:
            for sender in senders:
                sender.join(SETTLED_S_MAX)
        assert not any(sender.is_alive() for sender in senders), "not all was acknowledged in time"

    def _send(self) -> None:
        """Take batches until none is left; what was acknowledged is never sent again, all else is."""
        with self._client() as client:
            while (batch := self._next()) is not None:
                try:
                    self._post(client, batch)
                except AssertionError as error:
                    self._faults.append(str(error))
                time.sleep(PAUSE_S)

    def _next(self) -> bytes | None:
        with self._lock:
            return self._waiting.pop() if self._waiting and not self._faults else None

    def _post(self, client: httpx.Client, body: bytes) -> None:
        until = time.monotonic() + SETTLED_S_MAX
        while time.monotonic() < until:
            self._count("requests")
            try:
                answer = client.post("/v1/events", content=body, headers=HEADERS)
            except httpx.TransportError:
                self._count("not answered")
                time.sleep(0.1)
                continue
            if answer.status_code == 200:
                return
            assert answer.status_code in {429, 503}, f"{answer.status_code} {answer.text[:500]}"
            assert int(answer.headers["retry-after"]) >= 1
            self._count("refused")
            time.sleep(0.2)
        raise AssertionError("a batch was not acknowledged in time")

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.proxy.port}",
            headers={"Authorization": f"Bearer {self.platform.key}"},
            timeout=ANSWER_S_MAX,
        )

    def _check(self, outcome: Outcome) -> None:
        with self.platform.client() as client:
            history = {reading for twin in self.world.twins for reading in history_of(client, twin)}
            state = {key: held for twin in self.world.twins for key, held in state_of(client, twin)}
            aside = list(set_aside(client, self._aside_before))
        assert history == outcome.history, _difference(history, outcome.history)
        assert state == outcome.state, _difference(set(state.items()), set(outcome.state.items()))
        named = [(code, event_id) for code, event_id in aside if event_id is not None]
        assert len(named) == len(set(named)), "an event is set aside twice"
        assert set(named) == {each for each in outcome.set_aside if each[1] is not None}
        assert len(aside) - len(named) == outcome.nameless


def check_feed(follower: Follower, outcome: Outcome) -> None:
    """Hold what was told against what is: each key's last word is its value, and no change came twice."""
    assert follower.numbers == sorted(set(follower.numbers)), "a change was told twice or out of order"
    last = {(each.twin, each.path, each.time): each for each in follower.told}
    told = {reading._replace(revision=0) for reading in last.values()}
    assert told == outcome.history, _difference(told, outcome.history)


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


def set_aside(client: httpx.Client, after: int) -> Iterator[tuple[str, str | None]]:
    """Yield code and id of each event in quarantine after a number."""
    while True:
        answer = client.get("/v1/quarantine", params={"after": after, "limit": 1000})
        assert answer.status_code == 200, answer.text
        found = answer.json()["value"]
        yield from ((each["code"], each["id"]) for each in found)
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


def _batches(messages: Sequence[Message]) -> Iterator[bytes]:
    for start in range(0, len(messages), BATCH):
        yield b"\n".join(message.body for message in messages[start : start + BATCH])


def _marker(twin: str) -> bytes:
    return (
        b'{"specversion":"1.0","id":"end","source":"/torture","type":"t","subject":"%s",'
        b'"time":"2026-03-01T00:00:00Z","data":{"speed":0.5}}' % twin.encode()
    )


def _difference(found: Iterable[Any], wanted: Iterable[Any]) -> str:
    found, wanted = set(found), set(wanted)
    lost, strange = sorted(wanted - found)[:3], sorted(found - wanted)[:3]
    return f"{len(wanted - found)} lost, as {lost}; {len(found - wanted)} that nobody sent, as {strange}"

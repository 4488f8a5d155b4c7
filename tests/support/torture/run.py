"""One seeded run: senders that go on until all is acknowledged, blows meanwhile, and what is there afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.platform import Platform
from support.tcp_proxy import TcpProxy
from support.torture.clock import ShiftedClock
from support.torture.follower import Follower
from support.torture.reading import history_of, newest_set_aside, set_aside, state_of
from support.torture.sinks import RouteSink
from support.torture.ways import SETTLED_S_MAX, HttpWay, RestartedBroker, Way, put_twins
from support.torture.world import PLAIN, Dialect, Message, Outcome, World, expected

__all__ = ["Blow", "Scene", "TortureRun"]

T = TypeVar("T")
BATCH = 30
MESSAGES = 1_200
PAUSE_S = 0.05

Blow = Callable[["TortureRun"], None]
Count = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a run has beside the platform: a clock that moves, a way in other than HTTP, a route out, a broker.

    `dialect` is how messages are written, `senders` how many send them at once, and `worker` another server on the
    platform's database.
    """

    clock: ShiftedClock | None = None
    way: Callable[[Count], Way] | None = None
    sink: Callable[[], RouteSink] | None = None
    broker: RestartedBroker | None = None
    links: Sequence[TcpProxy] = ()
    dialect: Dialect = PLAIN
    senders: int = 3
    worker: Platform | None = None


class TortureRun:
    """A run against a platform; blows find what they need here."""

    def __init__(self, platform: Platform, seed: int, kind: str, scene: Scene = Scene()) -> None:
        self.platform = platform
        self.clock = scene.clock
        self.rng = random.Random(f"{kind} {seed}")
        self.world = World(seed, f"{kind}-{seed}", MESSAGES, scene.dialect)
        self._senders, self._again = scene.senders, scene.dialect.again
        self.counts = Counter({"runs": 1, "events": 0, "blows": 0, "requests": 0})
        self._waiting = list(_batches(self.world.deliveries()))[::-1]
        self._lock = threading.Lock()
        self._faults: list[str] = []
        self._aside_before = newest_set_aside(platform)
        self._leaving = ExitStack()
        proxy = self._leaving.enter_context(TcpProxy(platform.port))
        self.way = HttpWay(platform, proxy, self._count) if scene.way is None else scene.way(self._count)
        self._leaving.callback(self.way.close)
        self.sink = None if scene.sink is None else scene.sink()
        self.broker = scene.broker or self.way.broker
        self.worker = scene.worker
        self.links = [proxy, *scene.links, *self.way.links]
        self.follower = Follower(
            f"http://127.0.0.1:{proxy.port}", platform.key, self.world.twins, self.world.end, PAUSE_S
        )

    def go(self, blows: Sequence[Blow]) -> None:
        """Send everything, with the blows at moments of their own, and hold what came of it against the model."""
        with self._leaving:
            self.way.begin(self.world)
            if self.sink is not None:
                put_twins(self.platform, self.world)
                self._leaving.callback(self.sink.close)
                self.sink.begin(self.world)
            try:
                self.follower.start()
                self._load(blows)
                assert not self._faults, self._faults[0]
                self.way.finish(self.world.marker)
                assert self.follower.finish(SETTLED_S_MAX), "the feed does not come to its end"
                if self.sink is not None:
                    self.sink.finish()
            finally:
                self.follower.finish(0)
            self._count("events", len(self.world.messages))
            self._count("feed resumed", self.follower.connections - 1)
            outcome = expected(self.world.messages)
            self._check(outcome)
            check_feed(self.follower, outcome)
            if self.sink is not None:
                self._count("told again", self.sink.check(self.world, outcome))

    @staticmethod
    def needs(part: T | None) -> T:
        """Return what a blow needs; a run that has it not was given the wrong blow."""
        assert part is not None
        return part

    def _load(self, blows: Sequence[Blow]) -> None:
        senders = [threading.Thread(target=self._send, daemon=True) for _ in range(self._senders)]
        for sender in senders:
            sender.start()
        try:
            for blow in blows:
                time.sleep(self.rng.uniform(0.05, 0.5))
                blow(self)
                self._count("blows")
                self._count(blow.__name__)
        finally:
            for sender in senders:
                sender.join(SETTLED_S_MAX)
        assert not any(sender.is_alive() for sender in senders), "not all was acknowledged in time"

    def _send(self) -> None:
        """Take batches until none is left."""
        while (batch := self._next()) is not None:
            try:
                self.way.send([message.body for message in batch])
            except Exception as error:
                self._faults.append(f"{type(error).__name__}: {error}")
            time.sleep(PAUSE_S)

    def _next(self) -> Sequence[Message] | None:
        with self._lock:
            return self._waiting.pop() if self._waiting and not self._faults else None

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def _check(self, outcome: Outcome) -> None:
        with self.platform.client() as client:
            history = {reading for twin in self.world.twins for reading in history_of(client, twin)}
            state = {key: held for twin in self.world.twins for key, held in state_of(client, twin)}
            aside = list(set_aside(client, self._aside_before))
        assert history == outcome.history, _difference(history, outcome.history)
        assert state == outcome.state, _difference(set(state.items()), set(outcome.state.items()))
        found = set(aside)
        if not self._again:
            assert len(aside) == len(found), "an event is set aside twice"
        found -= outcome.fleeting
        assert found == outcome.set_aside, _difference(found, outcome.set_aside)


def check_feed(follower: Follower, outcome: Outcome) -> None:
    """Hold what was told against what is: each key's last word is its value, and no change came twice."""
    assert follower.numbers == sorted(set(follower.numbers)), "a change was told twice or out of order"
    last = {(each.twin, each.path, each.time): each for each in follower.told}
    told = {reading._replace(revision=0) for reading in last.values()}
    assert told == outcome.history, _difference(told, outcome.history)


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), BATCH):
        yield messages[start : start + BATCH]


def _difference(found: Iterable[Any], wanted: Iterable[Any]) -> str:
    found, wanted = set(found), set(wanted)
    lost, strange = sorted(wanted - found)[:3], sorted(found - wanted)[:3]
    return f"{len(wanted - found)} lost, as {lost}; {len(found - wanted)} that nobody sent, as {strange}"

"""An open Kafka source: one consumer in a thread of its own, and the partitions that it has for the time being.

A partition that comes to this member is read on from the position that our last commit kept, whoever made it. One
that goes is let go once the batch under way has committed; where that takes too long, the batch is refused in its
own transaction, since the partition then stands elsewhere (`SourceBatch.begins`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

from gemel.base.clock import now_us
from gemel.base.errors import InvalidError, UnavailableError
from gemel.connectors.kafka_messages import KafkaMessage, Reader, traces_of
from gemel.connectors.message_traces import with_traces
from gemel.ingest.events import LINES, Decoded
from gemel.outbound.kafka import kafka_library
from gemel.sources.contract import Marks, SourceBatch
from gemel.sources.definition import Limits

__all__ = ["KafkaSource", "Origin", "Topics"]

T = TypeVar("T")
Part = tuple[str, int]

LINGER_S: Final = 0.005
"""What else comes within this of a batch's first message goes along; a batch that is full waits for nothing."""
ASK_S: Final = 10.0
GIVE_UP_S: Final = 10.0
"""How long a partition that is taken away waits for the commit of what was read of it."""
LOOK_S: Final = 30.0
"""How often it is looked for new partitions of a topic; a group's coordinator does so itself."""
EVENTS_MAX: Final = 20_000
SETTLE_S: Final = 10.0
OFFSET_MAX: Final = 2**63
"""Beyond any offset: of a partition that this member does not have, nothing is taken."""


@dataclass(frozen=True, slots=True)
class Topics:
    """What is read: topics by name, the group that shares their positions, and where parts without one start.

    Without a group all partitions are read: the source's lease says already that nobody else does. With `trial`
    they are only looked at, in no group either.
    """

    names: Sequence[str]
    group: str | None
    start: str
    trial: bool

    @property
    def alone(self) -> bool:
        """Whether this reader takes all partitions, and joins no group."""
        return self.trial or self.group is None


@dataclass(frozen=True, slots=True)
class Origin:
    """What is said of all batches: the mapping's label, and the model of twins to be made."""

    mapping: str | None
    create_model: str | None


@dataclass(slots=True)
class _Parts:
    """The partitions of the moment, as the library's callbacks tell; `at` is how far each was given out.

    `kept` is the position of each as our last batch left it, or as it was found; None for a part without one.
    `turn` counts the changes of the assignment; `settled` once nothing of one before can come any more.
    """

    fresh: list[Part] | None = None
    at: dict[Part, int] = field(default_factory=dict)
    kept: dict[Part, str | None] = field(default_factory=dict)
    turn: int = 0
    settled: bool = False


class _UnderWay:
    """Counts the batches that were given and have not committed yet, for those who wait until there are none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._over = False

    def begin(self) -> None:
        with self._changed:
            self._count += 1

    def end(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def forget(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wait(self, limit_s: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0 or self._over, limit_s)


class KafkaSource:
    """Reads topics batch by batch; see gemel.sources.contract.Source."""

    def __init__(self, topics: Topics, reader: Reader, marks: Marks, origin: Origin) -> None:
        self._library = kafka_library()
        self._topics = topics
        self._reader = reader
        self._marks = marks
        self._origin = origin
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._consumer: Any = None
        self._parts = _Parts()
        self._under_way = _UnderWay()
        self._cluster = ""
        self._looked_s = self._assigned_s = 0.0
        self._shared: str | None = None
        self._done: dict[Part, int] = {}
        self._fault: str | None = None
        self._problem: str | None = None
        self._size = 0.0
        self._yield = 1.0

    async def start(self, config: Mapping[str, Any]) -> None:
        """Connect and join the group. Raises UnavailableError (SourceUnavailable), InvalidError (SourceInvalid)."""
        await self._call(lambda: self._start(dict(config)))

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        """Return the next events of the partitions that this member has."""
        deadline_s = time.monotonic() + limits.wait_s
        count = self._count(limits)
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            messages = await self._call(partial(self._consume, count, left_s))
            if self._parts.fresh is not None:
                await self._begin()
            elif messages:
                filled = [message for message in messages if message.value() is not None]
                await self._reader.prepare(filled)
                return await self._call(partial(self._batch, messages, filled))
            elif (told := self._told()) is not None or time.monotonic() >= deadline_s:
                return told

    async def commit(self, position: Mapping[str, str]) -> None:
        """Tell the broker how far we are, for those who look there; what counts is with the events."""
        self._under_way.end()
        self._done |= {_part(name): int(at.partition("@")[0]) for name, at in position.items()}
        if self._topics.trial:
            return
        partition = self._library.TopicPartition
        offsets = [partition(*_part(name), int(at.partition("@")[0])) for name, at in position.items()]
        # Whose group it is no longer cannot, and need not.
        with suppress(self._library.KafkaException, RuntimeError):
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def behind(self) -> int | None:
        """Return how many messages the partitions of this member hold behind what was committed.

        By what the last fetches told of the ends of their logs: nothing is asked of the broker.
        """
        total: int | None = None
        for part, at in list(self._parts.at.items()):
            try:
                _, end = self._consumer.get_watermark_offsets(
                    self._library.TopicPartition(*part), cached=True
                )
            except (self._library.KafkaException, RuntimeError, TypeError):
                continue
            if end >= 0:
                total = (total or 0) + max(0, end - self._done.get(part, at))
        return total

    async def close(self) -> None:
        """Leave the group."""
        self._under_way.forget()
        if self._consumer is not None:
            with suppress(self._library.KafkaException, RuntimeError):
                await self._call(self._consumer.close)
        self._thread.shutdown(wait=False)

    def _start(self, config: dict[str, Any]) -> None:
        library = self._library
        try:
            self._consumer = library.Consumer(config | {"error_cb": self._on_error})
            found = self._consumer.list_topics(timeout=ASK_S)
        except library.KafkaException as error:
            fault = error.args[0]
            if fault.code() == library.KafkaError._INVALID_ARG:
                raise InvalidError(
                    "SourceInvalid", f"The source's connection.settings: {fault.str()}."
                ) from error
            if self._consumer is not None:
                self._consumer.poll(0)  # what it was told meanwhile says more than that time ran out
            raise self._unavailable(self._fault or fault.str()) from error
        except (TypeError, ValueError) as error:
            raise InvalidError("SourceInvalid", f"The source's connection.settings: {error}.") from error
        self._cluster, known = str(found.cluster_id), found.topics
        if self._topics.group is not None:
            # A group of one name in another cluster is another group.
            self._shared = f"{self._topics.group}@{self._cluster}"
        for name in self._topics.names:
            if name not in known or known[name].error is not None:
                raise self._unavailable(f"there is no topic {name}, or it may not be read")
        if self._topics.alone:
            self._look_around(found)
        else:
            names = list(self._topics.names)
            self._consumer.subscribe(
                names, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )

    def _look_around(self, found: Any) -> None:
        """Take all partitions that there are, where there is nobody to share them with."""
        self._looked_s = time.monotonic()
        there = [
            (name, number)
            for name in self._topics.names
            if name in found.topics
            for number in found.topics[name].partitions
        ]
        if not set(there) <= self._parts.at.keys():
            self._parts.fresh = there

    def _consume(self, count: int, wait_s: float) -> list[KafkaMessage]:
        """Return messages that are new, in the thread of the consumer; none where the assignment has changed."""
        if self._parts.fresh is not None:
            return []
        parts, turn = self._parts, self._parts.turn
        try:
            if self._topics.alone and time.monotonic() > self._looked_s + LOOK_S:
                self._look_around(self._consumer.list_topics(timeout=ASK_S))
                if parts.fresh is not None:
                    return []
            messages = self._consumer.consume(1, wait_s)
            if messages and count > 1:
                messages += self._consumer.consume(count - 1, LINGER_S)
        except self._library.KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error
        if parts.turn != turn:
            # What was read before the change may be another's by now; what is still ours is read again.
            return []
        good = [message for message in messages if message.error() is None]
        if len(good) < len(messages):
            self._look_at([message for message in messages if message.error() is not None])
        fault, self._fault = self._fault, None
        if fault is not None and not good:
            raise self._unavailable(fault)
        return good if parts.settled else self._new(good)

    def _new(self, messages: Sequence[KafkaMessage]) -> list[KafkaMessage]:
        """Leave out what was fetched under an assignment before, which may still lie in the queue for a while."""
        at = self._parts.at
        self._parts.settled = time.monotonic() > self._assigned_s + SETTLE_S
        return [
            message
            for message in messages
            if message.offset() >= at.get((message.topic(), message.partition()), OFFSET_MAX)
        ]

    def _look_at(self, faulty: Sequence[Any]) -> None:
        """Deal with errors that stand among the messages; raise what they mean, if it is more than a gap."""
        for message in faulty:
            error = message.error()
            if error.code() == self._library.KafkaError._AUTO_OFFSET_RESET:
                self._reset((message.topic(), message.partition()))
            elif error.code() != self._library.KafkaError._PARTITION_EOF:
                raise self._unavailable(error.str())

    def _reset(self, part: Part) -> None:
        """Go on with what the broker still has of a partition, and tell of what it has not."""
        low, high = self._watermarks(part)
        at = self._parts.at.get(part, low)
        if low <= at <= high:
            raise self._unavailable(f"{_name(part)} cannot be read from offset {at}")
        has = f"the broker does not have offset {at}, but {low} to {high}"
        self._problem = f"{_name(part)}: {has}; reading goes on at {low}."
        self._parts.at[part] = low
        self._assign()

    async def _begin(self) -> None:
        """Start reading the partitions of a new assignment where our last commit left them."""
        await asyncio.to_thread(self._under_way.wait)
        parts = self._parts
        fresh = parts.fresh or []
        kept = await self._marks.read([_name(part) for part in fresh], self._shared)
        found = {part: kept.get(_name(part)) for part in fresh}
        await self._call(lambda: self._assign_found(found))

    def _assign_found(self, found: dict[Part, str | None]) -> None:
        parts = self._parts
        parts.kept = found
        parts.at = {part: self._first(part, at) for part, at in found.items()}
        parts.fresh = None
        self._assign()

    def _assign(self) -> None:
        partition = self._library.TopicPartition
        self._parts.settled, self._assigned_s = False, time.monotonic()
        try:
            self._consumer.assign([partition(*part, at) for part, at in self._parts.at.items()])
        except self._library.KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error

    def _first(self, part: Part, kept: str | None) -> int:
        """Return where reading a part begins: a position that was kept of another cluster is none of this one."""
        at, _, cluster = (kept or "").partition("@")
        if kept is not None and cluster == self._cluster:
            return int(at)
        low, high = self._watermarks(part)
        return low if self._topics.start == "earliest" else high

    def _watermarks(self, part: Part) -> tuple[int, int]:
        try:
            found = self._consumer.get_watermark_offsets(self._library.TopicPartition(*part), timeout=ASK_S)
        except self._library.KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error
        if found is None:
            raise self._unavailable(f"the offsets of {_name(part)} did not come within {ASK_S:.0f} s")
        low, high = found
        return low, high

    def _batch(self, messages: Sequence[KafkaMessage], filled: Sequence[KafkaMessage]) -> SourceBatch:
        """Return messages as a batch; those without a value say nothing, and are passed over."""
        received_us = now_us()
        decoded = self._reader.decode(filled, received_us)
        parts = self._parts
        # Of each partition they come in order, so that the last one stands.
        seen = {(message.topic(), message.partition()): message.offset() + 1 for message in messages}
        parts.at |= seen
        weight = sum(len(message.value()) for message in filled)
        self._size = weight / len(messages)
        self._yield = max(1.0, len(decoded.events) / len(messages))
        return replace(
            self._given(decoded, seen),
            received_us=received_us,
            weight=weight,
            traceparent=with_traces(decoded, traces_of(filled)),
            mapping=self._origin.mapping,
            create_model=self._origin.create_model,
        )

    def _given(self, decoded: Decoded, seen: Collection[Part]) -> SourceBatch:
        """Return events with how far the parts are that they are of, and the parts of which nothing is kept yet."""
        parts = self._parts
        moved = sorted({*seen, *(part for part in parts.at if parts.kept[part] is None)})
        begins = {_name(part): parts.kept[part] for part in moved}
        parts.kept |= {part: f"{parts.at[part]}@{self._cluster}" for part in moved}
        position = {_name(part): str(parts.kept[part]) for part in moved}
        self._under_way.begin()
        problem, self._problem = self._problem, None
        return SourceBatch(decoded, now_us(), position, begins, self._shared, problem=problem)

    def _told(self) -> SourceBatch | None:
        """Return a batch without events that tells of a problem, or keeps where the first reading begins."""
        unkept = None in self._parts.kept.values() and not self._topics.trial
        return self._given(Decoded([], b"", LINES), ()) if unkept or self._problem is not None else None

    def _count(self, limits: Limits) -> int:
        """Return how many messages to ask for, by the sizes of the last ones."""
        by_size = int(limits.bytes_max / self._size) if self._size else limits.events_max
        return max(1, min(limits.events_max, by_size, int(EVENTS_MAX / self._yield)))

    def _on_assign(self, consumer: Any, partitions: Sequence[Any]) -> None:
        parts = self._parts
        parts.turn += 1
        parts.fresh = [(each.topic, each.partition) for each in partitions]
        # Nothing is fetched before it is known from where.
        consumer.assign([])

    def _on_revoke(self, _consumer: Any, _partitions: Sequence[Any]) -> None:
        self._under_way.wait(GIVE_UP_S)
        self._forget()

    def _on_lost(self, _consumer: Any, _partitions: Sequence[Any]) -> None:
        self._forget()

    def _forget(self) -> None:
        self._parts.turn += 1
        self._parts.fresh = None
        self._parts.at, self._parts.kept = {}, {}
        self._done = {}

    def _on_error(self, error: Any) -> None:
        kinds = self._library.KafkaError
        if error.fatal() or error.code() in (kinds._ALL_BROKERS_DOWN, kinds._AUTHENTICATION, kinds._SSL):
            self._fault = error.str()

    def _unavailable(self, problem: str) -> UnavailableError:
        return UnavailableError(
            "SourceUnavailable", f"Kafka cannot be read: {problem}.", "Look at the broker."
        )

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _name(part: Part) -> str:
    return f"{part[0]}/{part[1]}"


def _part(name: str) -> Part:
    topic, _, number = name.rpartition("/")
    return topic, int(number)

"""An OPC UA server as a source: changes of its nodes, and their history where changes were missed."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
from asyncua import ua

from gemel.base.clock import from_us, iso_us, now_us, to_us
from gemel.base.errors import GemelError, UnavailableError
from gemel.connectors.opcua import OpcUaSettings
from gemel.connectors.opcua_gaps import Track
from gemel.connectors.opcua_link import Link, faults
from gemel.connectors.opcua_picks import nested
from gemel.connectors.opcua_tree import Variable, find_variables, read_names
from gemel.connectors.opcua_types import Types, read_types
from gemel.connectors.opcua_values import is_overflow, json_value, quality_of
from gemel.mapping.mapper import Mapper
from gemel.mapping.scene import Message
from gemel.sources.contract import Marks, SourceBatch
from gemel.sources.definition import Definition, Limits

__all__ = ["OpcUaSource", "open_opcua"]

AHEAD: Final = 4
"""How many notifications wait here at most; then the server keeps what comes, as far as its queues go."""
KEEP_ALIVE_S: Final = 10.0
LIFETIME_S: Final = 600.0
ITEMS_AT_ONCE: Final = 500
HISTORY_AT_ONCE: Final = 8
PART_CHARS_MAX: Final = 400
TOLD_MAX: Final = 5
encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Node:
    """A node that is monitored: where its position is kept, what its data type is called, and how far it is known."""

    variable: Variable
    part: str
    type: str
    track: Track


@dataclass(slots=True)
class _Notification:
    """Changes that came together, and by what they are acknowledged."""

    changes: deque[tuple[int, ua.DataValue]]
    mark: ua.SubscriptionAcknowledgement


@dataclass(slots=True)
class _Draft:
    """A batch in the making."""

    messages: list[Message] = field(default_factory=list)
    nodes: dict[str, _Node] = field(default_factory=dict)
    marks: list[ua.SubscriptionAcknowledgement] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    weight: int = 0

    def add(self, node: _Node, message: Message | None) -> None:
        """Take a change; one without a message counts for the node's position alone."""
        self.nodes[node.part] = node
        if message is not None:
            self.messages.append(message)
            self.weight += len(encode(message.payload))


async def open_opcua(
    link: Link, settings: OpcUaSettings, mapper: Mapper, definition: Definition, marks: Marks, ahead_us: int
) -> OpcUaSource:
    """Subscribe; source times may be ahead of our clock by `ahead_us`.

    Raises UnavailableError (SourceUnavailable), InvalidError (SourceInvalid); the link is closed then.
    """
    try:
        names = await read_names(link)
        variables, unfit = await find_variables(link, names, settings.picks)
        if not variables:
            message = f"{link.url} has no readable variable that fits `nodes`."
            raise UnavailableError("SourceUnavailable", message, "Look at `gemel source browse`.")
        types = await read_types(link, {variable.data_type for variable in variables})
        parts = [_part(variable.id) for variable in variables]
        stored = await marks.read(parts)
        nodes = []
        for variable, part in zip(variables, parts, strict=True):
            stored_us = to_us(datetime.fromisoformat(stored[part])) if part in stored else None
            track = Track(stored_us, settings.since_us, closes=settings.gaps and variable.history)
            nodes.append(_Node(variable, part, types.names[variable.data_type], track))
        source = OpcUaSource(link, nodes, types, mapper, ahead_us)
        if definition.create_twins:
            source.create_model = mapper.mapping.twins[0].model
        source.problems += [f"nothing fits {text}" for text in unfit]
        await source.subscribe(settings.pace.publishing_ms, definition.limits.events_max)
    except BaseException:
        await link.close()
        raise
    return source


class OpcUaSource:
    """The nodes of one server: its changes in turn with the history of what was missed."""

    def __init__(
        self, link: Link, nodes: Sequence[_Node], types: Types, mapper: Mapper, ahead_us: int
    ) -> None:
        self._link = link
        self._nodes = nodes
        self._ahead_us = ahead_us
        self._types = types
        self._mapper = mapper
        self._came: asyncio.Queue[_Notification | GemelError] = asyncio.Queue(AHEAD)
        self._part: _Notification | None = None
        self._handed: deque[list[ua.SubscriptionAcknowledgement]] = deque()
        self._publishing: asyncio.Task[None] | None = None
        self._history_next = True
        self.create_model: str | None = None
        self.problems: list[str] = []

    async def subscribe(self, publishing_ms: float, changes_max: int) -> None:
        """Have the server send changes from now on. Raises UnavailableError (SourceUnavailable)."""
        alive = max(1, round(KEEP_ALIVE_S * 1000 / publishing_ms))
        wanted = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing_ms,
            RequestedLifetimeCount=max(3 * alive, round(LIFETIME_S * 1000 / publishing_ms)),
            RequestedMaxKeepAliveCount=alive,
            MaxNotificationsPerPublish=changes_max,
        )
        session = self._link.client.uaclient
        with faults(self._link.url):
            made = await session.create_subscription(wanted, lambda _: None)
            for first in range(0, len(self._nodes), ITEMS_AT_ONCE):
                some = range(first, min(first + ITEMS_AT_ONCE, len(self._nodes)))
                asked = ua.CreateMonitoredItemsParameters(
                    made.SubscriptionId, ua.TimestampsToReturn.Both, [self._item(number) for number in some]
                )
                for number, result in zip(some, await session.create_monitored_items(asked), strict=True):
                    if not result.StatusCode.is_good():
                        name = "/".join(self._nodes[number].variable.path)
                        self.problems.append(f"{name} cannot be monitored ({result.StatusCode.name})")
        silent_s = 2 * made.RevisedMaxKeepAliveCount * made.RevisedPublishingInterval / 1000
        self._publishing = asyncio.create_task(self._publish(silent_s + KEEP_ALIVE_S))

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        """Return the next changes, or some history; both in turn where there are both."""
        if self._history_next:
            self._history_next = False
            batch = await self._read_history(limits)
            if batch is not None:
                return batch
        self._history_next = True
        wait_s = limits.wait_s
        dues = [node.track.gap.due_s for node in self._nodes if node.track.gap is not None]
        if dues:
            wait_s = min(wait_s, max(0.0, min(dues) - time.monotonic()))
        return await self._read_live(limits, wait_s)

    async def commit(self, position: Mapping[str, str]) -> None:
        """Acknowledge the notifications of the batch that was committed: of those handed on, the first."""
        self._link.acknowledge(self._handed.popleft())

    async def close(self) -> None:
        """End the session; the server lets go of what it kept for it."""
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing
        await self._link.close()

    def _item(self, number: int) -> ua.MonitoredItemCreateRequest:
        """Return how a node is to be monitored; its number comes back with its changes."""
        variable = self._nodes[number].variable
        return ua.MonitoredItemCreateRequest(
            ua.ReadValueId(variable.node, ua.AttributeIds.Value),
            ua.MonitoringMode.Reporting,
            ua.MonitoringParameters(
                ClientHandle=number,
                SamplingInterval=variable.pick.sampling_ms,
                QueueSize=variable.pick.queue,
                DiscardOldest=True,
            ),
        )

    async def _publish(self, silent_s: float) -> None:
        """Take notifications for as long as they come; the error that ends it stands behind the last of them."""
        expected = 1
        try:
            while True:
                result = await self._link.publish(silent_s)
                message = result.NotificationMessage
                data = message.NotificationData or []
                if not data:
                    continue
                if message.SequenceNumber != expected:
                    problem = f"{self._link.url} sent notification {message.SequenceNumber}, not {expected}."
                    raise UnavailableError("SourceUnavailable", problem)
                expected = expected % 0xFFFF_FFFF + 1
                mark = ua.SubscriptionAcknowledgement(result.SubscriptionId, message.SequenceNumber)
                await self._came.put(_Notification(deque(_changes(self._link.url, data)), mark))
        except GemelError as error:
            await self._came.put(error)

    async def _read_live(self, limits: Limits, wait_s: float) -> SourceBatch | None:
        draft = _Draft(problems=self.problems)
        self.problems = []
        while len(draft.messages) < limits.events_max and draft.weight < limits.bytes_max:
            if self._part is None:
                self._part = await self._next_notification(0 if draft.nodes else wait_s)
            if self._part is None:
                break
            changes = self._part.changes
            while changes and len(draft.messages) < limits.events_max and draft.weight < limits.bytes_max:
                self._take(draft, *changes.popleft())
            if not changes:
                draft.marks.append(self._part.mark)
                self._part = None
        return self._batch(draft)

    async def _next_notification(self, wait_s: float) -> _Notification | None:
        try:
            if wait_s <= 0:
                found = self._came.get_nowait()
            else:
                found = await asyncio.wait_for(self._came.get(), wait_s)
        except (TimeoutError, asyncio.QueueEmpty):
            return None
        if isinstance(found, GemelError):
            # It stays for the next call, should this batch be given on first.
            self._came.put_nowait(found)
            raise found
        return found

    def _take(self, draft: _Draft, number: int, value: ua.DataValue) -> None:
        node = self._nodes[number]
        code = 0 if value.StatusCode is None else value.StatusCode.value
        time_us = _time_us(value)
        # A node that has no value yet is said to have none now, by the server's clock.
        nothing = value.SourceTimestamp is None and (value.Value is None or value.Value.Value is None)
        vague = nothing or time_us > now_us() + self._ahead_us
        if not node.track.came(time_us, overflow=is_overflow(code), vague=vague):
            name = "/".join(node.variable.path)
            draft.problems.append(f"changes of {name} may be missing: no history of it closes the gap")
        message, node.track.last = self._message(draft, node, value, time_us, node.track.last)
        draft.add(node, message)

    async def _read_history(self, limits: Limits) -> SourceBatch | None:
        """Read some of what is open, of several nodes at once; None where nothing is due."""
        now_s = time.monotonic()
        due = [node for node in self._nodes if node.track.gap is not None and node.track.gap.due_s <= now_s]
        due = due[:HISTORY_AT_ONCE]
        if not due:
            return None
        share = max(1, limits.events_max // len(due))
        results = await asyncio.gather(*(self._history(node, share) for node in due))
        draft = _Draft()
        for node, result in zip(due, results, strict=True):
            self._take_history(draft, node, result, share)
        return self._batch(draft)

    async def _history(self, node: _Node, share: int) -> ua.HistoryReadResult:
        """Return values of a node from where it is known."""
        gap = node.track.gap
        assert gap is not None
        details = ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=from_us(gap.known_us),
            EndTime=ua.get_win_epoch(),
            NumValuesPerNode=share * gap.chunk,
            ReturnBounds=False,
        )
        with faults(self._link.url):
            return await self._link.client.get_node(node.variable.node).history_read(details, gap.point)

    def _take_history(self, draft: _Draft, node: _Node, result: ua.HistoryReadResult, share: int) -> None:
        track, now_s = node.track, time.monotonic()
        gap = track.gap
        assert gap is not None
        known_us, until_us, asked = gap.known_us, gap.until_us, share * gap.chunk
        draft.nodes[node.part] = node
        name, until = "/".join(node.variable.path), iso_us(until_us)
        if not result.StatusCode.is_good():
            if not track.failed(now_s):
                why = result.StatusCode.name
                draft.problems.append(f"{name} has no history before {until} ({why}); changes may be missing")
            return
        data = result.HistoryData
        values = sorted((data.DataValues or ()) if isinstance(data, ua.HistoryData) else (), key=_time_us)
        times = [_time_us(value) for value in values]
        for time_us, value in zip(times, values, strict=True):
            message, gap.last = self._message(draft, node, value, time_us, gap.last)
            if known_us < time_us < until_us:
                draft.add(node, message)
        if not track.read(times, asked, result.ContinuationPoint, now_s):
            draft.problems.append(f"the history of {name} ends before {until}; changes may be missing")

    def _message(
        self, draft: _Draft, node: _Node, value: ua.DataValue, time_us: int, last: Any
    ) -> tuple[Message | None, Any]:
        """Return a change as a message, and the value that it leaves.

        A bad one without a value stands for the value before it; where there is none, there is no message.
        """
        variable = node.variable
        status = value.StatusCode or ua.StatusCode()
        raw = None if value.Value is None else value.Value.Value
        try:
            found = json_value(raw, self._types.structures)
        except ValueError as error:
            draft.problems.append(f"{'/'.join(variable.path)}: {error}")
            found = None
        if found is None:
            found = last
        if found is None:
            return None, last
        path = "/".join(variable.path)
        payload = {
            "node": variable.id,
            "path": path,
            "thing": variable.called.thing,
            "name": variable.path[-1],
            "value": found,
            "values": nested(variable.called.names, found),
            "time": iso_us(time_us),
            "serverTime": None if value.ServerTimestamp is None else iso_us(to_us(value.ServerTimestamp)),
            "status": status.name,
            "quality": quality_of(status.value),
            "type": node.type,
            "unit": variable.unit,
        }
        name = f"{variable.id}@{iso_us(time_us)}"
        return Message(payload, now_us(), id=name, topic=path), found

    def _batch(self, draft: _Draft) -> SourceBatch | None:
        """Return a draft as a batch, with the positions of its nodes; None where there is nothing in it."""
        if not (draft.nodes or draft.marks or draft.problems):
            return None
        now_s = time.monotonic()
        position = {}
        for part, node in draft.nodes.items():
            known_us = node.track.position(now_s)
            if known_us is not None:
                position[part] = iso_us(known_us)
        self._handed.append(draft.marks)
        return SourceBatch(
            decoded=self._mapper.run(draft.messages).decoded(b""),
            received_us=now_us(),
            position=position,
            weight=draft.weight,
            mapping=self._mapper.mapping.label,
            create_model=self.create_model,
            problem=_told(draft.problems),
        )


def _changes(url: str, data: Iterable[Any]) -> Iterable[tuple[int, ua.DataValue]]:
    for notification in data:
        if isinstance(notification, ua.StatusChangeNotification):
            message = f"{url} ended the subscription ({notification.Status.name})."
            raise UnavailableError("SourceUnavailable", message)
        if isinstance(notification, ua.DataChangeNotification):
            for item in notification.MonitoredItems:
                yield item.ClientHandle, item.Value


def _time_us(value: ua.DataValue) -> int:
    """Return when a value was so: by its source, else by the server, else now."""
    found = value.SourceTimestamp or value.ServerTimestamp
    return now_us() if found is None else to_us(found)


def _part(node: str) -> str:
    return node if len(node) <= PART_CHARS_MAX else f"sha256:{hashlib.sha256(node.encode()).hexdigest()}"


def _told(problems: Sequence[str]) -> str | None:
    if not problems:
        return None
    shown = list(dict.fromkeys(problems))
    more = f"; and {len(shown) - TOLD_MAX} more" if len(shown) > TOLD_MAX else ""
    return "; ".join(shown[:TOLD_MAX]) + more + "."

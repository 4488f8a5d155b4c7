"""Edge nodes and devices of Sparkplug B: what is born, says something and dies becomes events.

Source: Eclipse Sparkplug 3.0.0. A host that misses something asks the edge node to be born again.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gemel.base.clock import from_us
from gemel.base.errors import Detail
from gemel.connectors.sparkplug_wire import DATE_TIME, Metric, Payload, read_payload, rebirth, typed
from gemel.ingest.events import LINES, Decoded, Event
from gemel.mapping.mapper import Mapper, Raws
from gemel.mapping.scene import Message
from gemel.outbound.mqtt import Outgoing
from gemel.outbound.mqtt_wire import Publish

__all__ = ["NodeNames", "SparkplugNodes", "parts_of"]

NAMESPACE: Final = "spBv1.0"
KINDS: Final = {"NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH"}
OURS: Final = ("Node Control/", "Device Control/")
BIRTH_SEQ: Final = "bdSeq"
ASK_AGAIN_US: Final = 10_000_000
US_PER_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class NodeNames:
    """How twins are called, by `{group}`, `{edge}` and `{device}`, and which metrics are left out, by pattern."""

    node: str
    device: str
    ignore: tuple[str, ...] = ()

    def twin(self, group: str, edge: str, device: str) -> str:
        """Return the twin of an edge node (device "") or of one of its devices."""
        text = self.device if device else self.node
        return text.replace("{group}", group).replace("{edge}", edge).replace("{device}", device)

    def takes(self, metric: str) -> bool:
        """Whether a metric is of the twin."""
        if metric == BIRTH_SEQ or metric.startswith(OURS):
            return False
        return not any(fnmatch.fnmatchcase(metric, pattern) for pattern in self.ignore)


@dataclass(slots=True)
class _Thing:
    """An edge node or a device: what its aliases stand for, and the last values since it was born."""

    aliases: dict[int, tuple[str, int]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    last_ms: int = 0


@dataclass(slots=True)
class _Node:
    """An edge node: its things by device ("" is itself), its last sequence number, and when births were asked for.

    `sure` once its birth came while we listened; one whose births were only remembered is asked for them anew.
    """

    things: dict[str, _Thing] = field(default_factory=dict)
    seq: int | None = None
    birth_seq: int | None = None
    sure: bool = False
    asked_us: int = 0


@dataclass(frozen=True, slots=True)
class _Said:
    """A message of an edge node: what, of which thing, and as whose."""

    kind: str
    group: str
    edge: str
    device: str
    message: Publish
    name: str

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.edge


@dataclass(slots=True)
class _Out:
    """What a batch came to."""

    received_us: int
    events: list[Event | Detail] = field(default_factory=list)
    raws: dict[int, bytes] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    place: int = 0
    """How many groups of values the message under way has made."""

    def refuse(self, problem: str, message: Publish) -> None:
        self.raws[len(self.events)] = message.payload
        self.events.append(Detail("MappingFailed", problem))


class SparkplugNodes:
    """What is known of edge nodes; with a mapper, groups of metrics are messages for it in place of events.

    `changed` are the nodes that were born since it was last emptied: what `keep` gives of them is to be kept.
    `asking` are the commands to send.
    """

    def __init__(self, names: NodeNames, mapper: Mapper | None, tag: str) -> None:
        self._names = names
        self._mapper = mapper
        self._tag = tag
        self._count = 0
        self._nodes: dict[tuple[str, str], _Node] = {}
        self.changed: set[tuple[str, str]] = set()
        self.asking: list[Outgoing] = []

    def unknown(self, messages: Sequence[Publish]) -> set[tuple[str, str]]:
        """Return the nodes (group, edge) of messages of which nothing is known here."""
        found = {said.key for each in messages if (said := self._said(each, None)) is not None}
        return found - self._nodes.keys()

    def keep(self, key: tuple[str, str]) -> str:
        """Return what an edge node's births said, as text for `restore`."""
        node = self._nodes[key]
        things = {
            device: [[alias, *named] for alias, named in thing.aliases.items()]
            for device, thing in node.things.items()
        }
        return json.dumps({"birth": node.birth_seq, "things": things}, separators=(",", ":"))

    def restore(self, key: tuple[str, str], text: str | None) -> None:
        """Remember an edge node by what was kept of it; None where nothing was."""
        node = self._nodes.setdefault(key, _Node())
        if text is None:
            return
        kept = json.loads(text)
        node.birth_seq = kept["birth"]
        for device, aliases in kept["things"].items():
            thing = node.things.setdefault(device, _Thing())
            for alias, name, kind in aliases:
                thing.aliases[alias] = (name, kind)
                thing.types[name] = kind

    def decode(self, messages: Sequence[Publish], names: Sequence[str | None], received_us: int) -> Decoded:
        """Return the events of messages, and of those that cannot be read why."""
        out = _Out(received_us)
        for message, name in zip(messages, names, strict=True):
            said = self._said(message, name)
            if said is None:
                continue
            try:
                payload = read_payload(message.payload)
            except ValueError as error:
                out.refuse(f"This is no payload of Sparkplug B: {error}.", message)
                continue
            out.place = 0
            self._take(said, payload, out)
        if self._mapper is not None:
            mapped = self._mapper.run(out.messages)
            start = len(out.events)
            out.raws |= {
                start + index: mapped.raws[index]
                for index, event in enumerate(mapped.events)
                if isinstance(event, Detail)
            }
            out.events += mapped.events
        return Decoded(out.events, b"", LINES, Raws(out.events, out.raws))

    def _said(self, message: Publish, name: str | None) -> _Said | None:
        parts = message.topic.decode("utf-8", "replace").split("/")
        if len(parts) not in {4, 5} or parts[0] != NAMESPACE or parts[2] not in KINDS:
            return None
        device = parts[4] if len(parts) == 5 else ""
        if bool(device) != parts[2].startswith("D"):
            return None
        self._count += 1
        return _Said(parts[2], parts[1], parts[3], device, message, name or f"{self._tag}.q{self._count}")

    def _take(self, said: _Said, payload: Payload, out: _Out) -> None:
        node = self._nodes.setdefault(said.key, _Node())
        if said.kind == "NDEATH":
            self._node_died(said, node, payload, out)
            return
        self._follow(said, node, payload, out)
        if said.kind.endswith("BIRTH"):
            self._born(said, node, payload)
        elif said.kind == "DDEATH":
            self._died(said, node, said.device, payload.time_ms, out)
            return
        self._values(said, node, payload, out)

    def _follow(self, said: _Said, node: _Node, payload: Payload, out: _Out) -> None:
        """Follow the sequence numbers, which count from 0 at the node's birth to 255 and again."""
        if said.kind == "NBIRTH":
            node.seq, node.sure = payload.seq, True
            return
        gap = payload.seq is not None and node.seq is not None and payload.seq != (node.seq + 1) % 256
        if payload.seq is not None:
            node.seq = payload.seq
        unborn = said.kind == "DDATA" and said.device not in node.things
        if gap or unborn or not node.sure:
            self._ask(said.key, node, out.received_us)

    def _ask(self, key: tuple[str, str], node: _Node, now_us: int) -> None:
        if node.asked_us and now_us < node.asked_us + ASK_AGAIN_US:
            return
        node.asked_us = now_us
        group, edge = key
        self.asking.append(Outgoing(f"{NAMESPACE}/{group}/NCMD/{edge}", rebirth(now_us // US_PER_MS)))

    def _born(self, said: _Said, node: _Node, payload: Payload) -> None:
        if said.kind == "NBIRTH":
            # Its devices must be born again after it.
            node.things.clear()
            found = (metric.value for metric in payload.metrics if metric.name == BIRTH_SEQ)
            node.birth_seq = next(found, None)
        thing = node.things[said.device] = _Thing()
        for metric in payload.metrics:
            thing.types[metric.name] = metric.type
            if metric.alias is not None:
                thing.aliases[metric.alias] = (metric.name, metric.type)
        self.changed.add(said.key)

    def _node_died(self, said: _Said, node: _Node, payload: Payload, out: _Out) -> None:
        """All of a node and its devices is stale; the death of an earlier life says nothing."""
        told = next((metric.value for metric in payload.metrics if metric.name == BIRTH_SEQ), None)
        if told is not None and node.birth_seq is not None and told != node.birth_seq:
            return
        node.seq = None
        for device in list(node.things):
            self._died(said, node, device, None, out)

    def _died(self, said: _Said, node: _Node, device: str, time_ms: int | None, out: _Out) -> None:
        """Say of the last values of a thing that they are stale, from its death on."""
        thing = node.things.get(device)
        if thing is None or not thing.values:
            return
        at_ms = max(out.received_us // US_PER_MS if time_ms is None else time_ms, thing.last_ms + 1)
        values, thing.values = thing.values, {}
        self._tell(said, device, _Group(at_ms, "uncertain", values), out)

    def _values(self, said: _Said, node: _Node, payload: Payload, out: _Out) -> None:
        thing = node.things.setdefault(said.device, _Thing())
        groups: list[_Group] = []
        problems: list[str] = []
        for metric in payload.metrics:
            try:
                name, kind = _named(metric, thing)
                if metric.null or not self._names.takes(name):
                    continue
                value = typed(metric, kind)
                if kind == DATE_TIME:
                    value = from_us(value * US_PER_MS).isoformat().replace("+00:00", "Z")
            except _AliasUnknownError as error:
                problems.append(f"{said.edge}: {error}; the node was asked for its births")
                self._ask(said.key, node, out.received_us)
                continue
            except (ValueError, TypeError, OverflowError) as error:
                problems.append(f"{metric.name or metric.alias}: {error}")
                continue
            at_ms = metric.time_ms or payload.time_ms or out.received_us // US_PER_MS
            _add(groups, at_ms, _quality(metric.quality), name, value)
            if not metric.historical:
                thing.values[name] = value
                thing.last_ms = max(thing.last_ms, at_ms)
        for group in groups:
            self._tell(said, said.device, group, out)
        if problems:
            shown = "; ".join(problems[:5])
            out.refuse(f"{len(problems)} of its metrics cannot be read: {shown}.", said.message)

    def _tell(self, said: _Said, device: str, group: _Group, out: _Out) -> None:
        name = f"{said.name}.{out.place}"
        out.place += 1
        if self._mapper is not None:
            payload = {
                "group": said.group, "edge": said.edge, "device": device or None, "kind": said.kind,
                "time": group.time_ms, "quality": group.quality, "values": group.values,
            }  # fmt: skip
            topic = said.message.topic.decode("utf-8", "replace")
            out.messages.append(Message(payload, out.received_us, name, topic))
            return
        try:
            time = from_us(group.time_ms * US_PER_MS)
        except OverflowError:
            out.refuse(f"The time {group.time_ms} ms is beyond all calendars.", said.message)
            return
        values = {metric.replace("/", "."): value for metric, value in group.values.items()}
        source = f"{NAMESPACE}/{said.group}/{said.edge}"
        twin = self._names.twin(said.group, said.edge, device)
        kind = f"sparkplug.{said.kind.lower()}"
        out.events.append(Event(name, source, kind, "1.0", twin, values, time, 0, group.quality))


@dataclass(slots=True)
class _Group:
    """Values of one thing at one time, of one quality."""

    time_ms: int
    quality: Any
    values: dict[str, Any]


class _AliasUnknownError(Exception):
    """Says which alias no birth has named."""


def _named(metric: Metric, thing: _Thing) -> tuple[str, int]:
    """Return a metric's name and type; what it does not say itself, its birth did."""
    if metric.name:
        return metric.name, metric.type or thing.types.get(metric.name, 0)
    known = None if metric.alias is None else thing.aliases.get(metric.alias)
    if known is None:
        raise _AliasUnknownError(f"no birth names the alias {metric.alias}")
    return known[0], metric.type or known[1]


def _add(groups: list[_Group], time_ms: int, quality: str, name: str, value: Any) -> None:
    for group in groups:
        if (group.time_ms, group.quality) == (time_ms, quality) and name not in group.values:
            group.values[name] = value
            return
    groups.append(_Group(time_ms, quality, {name: value}))


def _quality(code: int | None) -> str:
    """Return the quality that a code of OPC DA means; 500 is stale, as of what nobody vouches for any more."""
    if code is None:
        return "good"
    if code == 500:
        return "uncertain"
    return {0xC0: "good", 0x40: "uncertain"}.get(code & 0xC0, "bad") if code < 256 else "bad"


def parts_of(keys: Collection[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Return nodes by the names that the parts of a source's position have for them."""
    return {f"node:{group}/{edge}": (group, edge) for group, edge in keys}

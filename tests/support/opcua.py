"""A plant with an OPC UA server: things with values, and their history across restarts."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Server, ua
from asyncua.common.node import Node
from asyncua.server.history import HistoryDict
from asyncua.server.internal_subscription import InternalSubscription

from bench.platform import free_port

__all__ = ["NAMESPACE", "START", "Plant", "at", "told_of_overflow"]

NAMESPACE = "urn:gemel:test:plant"
START = datetime(2026, 1, 5, tzinfo=UTC)
GOOD = ua.StatusCodes.Good


def at(number: float) -> datetime:
    """Return the time of the nth value: a millisecond after the one before."""
    return START + timedelta(milliseconds=number)


class _Kept(HistoryDict):  # type: ignore[misc]
    """A history that outlives its server, and has each value once."""

    async def new_historized_node(self, node_id: ua.NodeId, period: Any, count: int = 0) -> None:
        self._datachanges.setdefault(node_id, [])
        self._datachanges_period[node_id] = None, 0

    async def save_node_value(self, node_id: ua.NodeId, datavalue: ua.DataValue) -> None:
        self.add(node_id, datavalue)

    def add(self, node_id: ua.NodeId, value: ua.DataValue) -> None:
        kept = self._datachanges.setdefault(node_id, [])
        if all(value.SourceTimestamp != other.SourceTimestamp for other in kept[-50:]):
            kept.append(value)


@dataclass
class Plant:
    """Objects/Plant/<thing>/<name>: variables that are made on first use, and what each ever was.

    `truth` has, for each variable, its values by their number: (value, quality).
    """

    port: int = field(default_factory=free_port)
    history: _Kept = field(default_factory=_Kept)
    historized: bool = True
    server: Server | None = None
    truth: dict[tuple[str, str], dict[float, tuple[Any, str]]] = field(default_factory=dict)
    nodes: dict[tuple[str, str], Node] = field(default_factory=dict)
    last: dict[tuple[str, str], ua.DataValue] = field(default_factory=dict)
    setup: Any = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/plant"

    async def start(self) -> None:
        self.server = server = Server(**({} if self.setup is None else self.setup.arguments))
        # Making the standard nodes leaves no garbage, and looking for it takes longer than making them.
        gc.disable()
        try:
            await server.init()
        finally:
            gc.enable()
        server.set_endpoint(self.url)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        if self.setup is not None:
            await self.setup.apply(server)
        server.iserver.history_manager.set_storage(self.history)
        await server.register_namespace(NAMESPACE)
        self.nodes = {}
        for thing, name in self.last:
            await self._node(thing, name)
        await server.start()

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop()
            self.server = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Plant]:
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def put(
        self, thing: str, name: str, number: float, value: Any, code: int = GOOD, kind: Any = None
    ) -> None:
        """Give a variable its nth value. While the server is away, the plant itself writes it down."""
        key = (thing, name)
        stored = ua.DataValue(
            ua.Variant(value, kind) if kind is not None else ua.Variant(value),
            StatusCode=ua.StatusCode(code),
            SourceTimestamp=at(number),
            ServerTimestamp=at(number),
        )
        quality = ("good", "uncertain", "bad", "bad")[code >> 30]
        self.truth.setdefault(key, {})[number] = (value, quality)
        self.last[key] = stored
        if self.server is None:
            self.history.add(ua.NodeId(f"{thing}.{name}", 2), stored)
            return
        node = await self._node(thing, name)
        await self.server.write_attribute_value(node.nodeid, stored)

    async def _node(self, thing: str, name: str) -> Node:
        key = (thing, name)
        if key in self.nodes:
            return self.nodes[key]
        assert self.server is not None
        plant = await self._folder(self.server.nodes.objects, "Plant")
        parent = await self._folder(plant, thing)
        node = await parent.add_variable(
            ua.NodeId(f"{thing}.{name}", 2), ua.QualifiedName(name, 2), self.last[key].Value
        )
        await self.server.write_attribute_value(node.nodeid, self.last[key])
        self.nodes[key] = node
        if self.historized:
            await self.server.historize_node_data_change(node)
        return node

    async def _folder(self, parent: Node, name: str) -> Node:
        with suppress(ua.UaError):
            found: Node = await parent.get_child(f"2:{name}")
            return found
        made: Node = await parent.add_object(ua.NodeId(f"{parent.nodeid.Identifier}/{name}", 2), f"2:{name}")
        return made

    def values(self, thing: str, name: str) -> list[tuple[datetime, Any, str]]:
        """Return what a variable ever was, in order."""
        return [(at(number), *told) for number, told in sorted(self.truth[thing, name].items())]


async def told_of_overflow(
    self: InternalSubscription, mid: int, eventdata: Any, size: int, queue: dict[int, list[Any]]
) -> None:
    """Queue a change as OPC 10000-4, 5.13.1.5 says: the oldest that is left tells of those that were dropped."""
    kept = queue.setdefault(mid, [])
    kept.append(eventdata)
    if size and len(kept) > size:
        del kept[0]
        value = kept[0].Value
        code = ua.StatusCode(value.StatusCode.value | 0x0480)
        kept[0] = ua.MonitoredItemNotification(
            kept[0].ClientHandle,
            ua.DataValue(
                value.Value,
                StatusCode=code,
                SourceTimestamp=value.SourceTimestamp,
                ServerTimestamp=value.ServerTimestamp,
            ),
        )
    await self._trigger_publish()

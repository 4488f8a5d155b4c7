"""A plant as a program: an OPC UA server whose history outlives it. Usage: plant PORT CONTROL FOLDER.

Whoever writes to it sends lines to the port CONTROL: JSON lists of [thing, name, time, value], each list answered by a
line once all of it is in the history, on disk as far as a process that is killed is concerned. `FOLDER/nodes.json`
lists its variables: [thing, name].
"""

from __future__ import annotations

import asyncio
import bisect
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.node import Node
from asyncua.server.history import HistoryDict
from asyncua.server.internal_subscription import InternalSubscription

from support.opcua import told_of_overflow
from support.torture.dialects import PLANT_NAMESPACE

__all__: list[str] = []

PAGE = 40
LINE_BYTES_MAX = 1 << 22

Key = tuple[str, str]


def time_of(value: ua.DataValue) -> datetime:
    found = value.SourceTimestamp
    assert isinstance(found, datetime)
    return found


class History(HistoryDict):  # type: ignore[misc]
    """What every variable ever was, in the order of its times, each once; kept by `write` alone."""

    def __init__(self, file: Path) -> None:
        super().__init__(PAGE)
        self.last: dict[Key, ua.DataValue] = {}
        text = file.read_text("utf-8") if file.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        for line in whole.splitlines():
            self.take(json.loads(line))
        file.write_text(whole, "utf-8")
        self._file = file.open("a", encoding="utf-8")

    def write(self, told: list[Any]) -> ua.DataValue:
        """Keep a value for good."""
        self._file.write(json.dumps(told) + "\n")
        self._file.flush()
        return self.take(told)

    def take(self, told: list[Any]) -> ua.DataValue:
        """Have a value in the history."""
        thing, name, time, number = told
        at = datetime.fromisoformat(time)
        value = ua.DataValue(ua.Variant(number), SourceTimestamp=at, ServerTimestamp=at)
        kept = self._datachanges.setdefault(node_id(thing, name), [])
        place = bisect.bisect_left(kept, at, key=time_of)
        if place == len(kept) or kept[place].SourceTimestamp != at:
            kept.insert(place, value)
        self.last[thing, name] = value
        return value

    async def new_historized_node(self, node_id: ua.NodeId, period: Any, count: int = 0) -> None:
        self._datachanges.setdefault(node_id, [])

    async def save_node_value(self, node_id: ua.NodeId, datavalue: ua.DataValue) -> None:
        pass


def node_id(thing: str, name: str) -> ua.NodeId:
    return ua.NodeId(f"{thing}.{name}", 2)


async def make_nodes(server: Server, history: History, keys: list[Key]) -> None:
    """Make the variables, each with its last value, or without any."""
    plant = await server.nodes.objects.add_folder(2, "Plant")
    parents: dict[str, Node] = {}
    nodes = []
    for thing, name in keys:
        if thing not in parents:
            parents[thing] = await plant.add_object(ua.NodeId(thing, 2), f"2:{thing}")
        node = await parents[thing].add_variable(
            node_id(thing, name),
            f"2:{name}",
            0.0,
            ua.VariantType.Double,
            ua.NodeId(ua.ObjectIds.BaseDataType),
        )
        none = ua.DataValue(
            ua.Variant(None), StatusCode=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData)
        )
        value = history.last.get((thing, name), none)
        await server.write_attribute_value(node.nodeid, value)
        nodes.append(node)
    await server.historize_node_data_change(nodes)


async def main(port: int, control: int, folder: Path) -> None:
    InternalSubscription._enqueue_event = told_of_overflow
    history = History(folder / "history.ndjson")
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    server.iserver.history_manager.set_storage(history)
    await server.register_namespace(PLANT_NAMESPACE)
    keys = [(thing, name) for thing, name in json.loads((folder / "nodes.json").read_text("utf-8"))]
    await make_nodes(server, history, keys)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            for told in json.loads(line):
                value = history.write(told)
                await server.write_attribute_value(node_id(told[0], told[1]), value)
            writer.write(b"kept\n")
        writer.close()

    await server.start()
    listening = await asyncio.start_server(serve, "127.0.0.1", control, limit=LINE_BYTES_MAX)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))

"""Sources on one tenant: a scripted other side that redelivers, descriptions, and supervisors as processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gemel.base.clock import now_us
from gemel.base.errors import GemelError
from gemel.connectors.folder import FolderKind
from gemel.connectors.kafka import KafkaKind
from gemel.connectors.mqtt import MqttKind
from gemel.connectors.opcua import OpcUaKind
from gemel.connectors.push import PushKind
from gemel.ingest.events import LINES, decode_body
from gemel.observe.intake import Intake
from gemel.observe.metrics import Metrics
from gemel.observe.traffic import Traffic
from gemel.outbound import Outbound, OutboundPolicy
from gemel.sources.contract import Kind, Marks, Source, SourceBatch
from gemel.sources.definition import Definition, Limits
from gemel.sources.feeding import Sink
from gemel.sources.permits import Permits, Place
from gemel.sources.records import SourceRow, Texts, get_source, put_source, set_wanted
from gemel.sources.service import Sources
from gemel.sources.supervisor import SourceSupervisor, SupervisorOptions
from support.history import SAMPLES
from support.parts import TenantParts, event, second_process
from support.postgres import Dsns

__all__ = ["OPTIONS", "Peer", "PeerKind", "Workshop", "message"]

OPTIONS = SupervisorOptions(look_s=0.05, lease_s=2.0)
WAIT_S_MAX = 20.0
AHEAD_US = 5_000_000
LOCAL = OutboundPolicy.parse("127.0.0.1")


def message(number: int, **changes: Any) -> bytes:
    """Return the nth message: a CloudEvent whose time and value are its number."""
    seconds = f"2026-01-05T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return json.dumps(event(number, time=seconds, temperature=float(number)) | changes).encode()


@dataclass
class Peer:
    """The other side: keeps messages until they are acknowledged, and gives unacknowledged ones again.

    `seekable`: readers go on from their own position, as from a log; else all that is unacknowledged comes again.
    `on_open`, `on_next` and `on_commit` are called there, and may raise or wait.
    """

    messages: list[bytes] = field(default_factory=list)
    seekable: bool = False
    acknowledged: int = 0
    given: list[int] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    on_open: Callable[[Place], Awaitable[None]] | None = None
    on_next: Callable[[int], Awaitable[None]] | None = None
    on_commit: Callable[[int], Awaitable[None]] | None = None


@dataclass(frozen=True)
class PeerKind:
    """Sources that read from a Peer; `secret` of the connection is resolved at every opening."""

    peer: Peer

    def check(self, definition: Definition, place: Place) -> None:
        fields = definition.connection_fields()
        place.check(fields.text("secret", "-"))
        fields.finish()

    async def open(self, definition: Definition, place: Place, marks: Marks) -> Source:
        place.resolve(definition.connection.get("secret", "-"))
        self.peer.opened += 1
        if self.peer.on_open is not None:
            await self.peer.on_open(place)
        kept = int((await marks.read(["log"])).get("log", "0"))
        return _PeerSource(self.peer, kept if self.peer.seekable else self.peer.acknowledged)


@dataclass
class _PeerSource:
    peer: Peer
    at: int

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        if self.peer.on_next is not None:
            await self.peer.on_next(self.at)
        lines = self.peer.messages[self.at : self.at + limits.events_max]
        if not lines:
            await asyncio.sleep(0.02)
            return None
        self.peer.given += range(self.at, self.at + len(lines))
        self.at += len(lines)
        return SourceBatch(decode_body(b"\n".join(lines), LINES), now_us(), {"log": str(self.at)})

    async def commit(self, position: Mapping[str, str]) -> None:
        number = int(position["log"])
        if self.peer.on_commit is not None:
            await self.peer.on_commit(number)
        self.peer.acknowledged = max(self.peer.acknowledged, number)

    async def close(self) -> None:
        self.peer.closed += 1


@dataclass
class Workshop:
    """A tenant with one source named `s`, and processes that read it."""

    dsns: Dsns
    parts: TenantParts
    peer: Peer
    tenant_name: str = ""
    allow: str = ""

    def sources(self, parts: TenantParts) -> Sources:
        sink = Sink(parts.ingest, Metrics(Intake()), Intake(), Traffic())
        kinds: dict[str, Kind] = {
            "peer": PeerKind(self.peer),
            "folder": FolderKind(),
            "kafka": KafkaKind(Outbound(LOCAL)),
            "mqtt": MqttKind(LOCAL),
            "opcua": OpcUaKind(LOCAL, AHEAD_US),
            "push": PushKind(),
        }
        return Sources(parts.db, kinds, Permits.parse(self.allow), sink)

    async def describe(
        self,
        definition: str = "",
        mapping: str | None = None,
        contract: str | None = None,
        *,
        start: bool = True,
    ) -> None:
        """Describe the source `s`, and start it; by default of kind peer, ten events a batch."""
        text = definition or (
            "name: s\nkind: peer\nconnection: {}\nlimits: {events: 10}\nbackoff: {first_s: 0.05, max_s: 0.2}"
        )
        texts = Texts(text, mapping, contract)
        checked = await self.sources(self.parts).check(self.tenant_name, texts)
        async with self.parts.db.write(self.parts.tenant) as tx:
            await put_source(tx, checked, texts)
            if start:
                await set_wanted(tx, checked.name, "started")

    async def want(self, wanted: Any, name: str = "s") -> None:
        async with self.parts.db.write(self.parts.tenant) as tx:
            await set_wanted(tx, name, wanted)

    async def row(self, name: str = "s") -> SourceRow:
        async with self.parts.db.read(self.parts.tenant) as tx:
            return await get_source(tx, name)

    async def until(self, holds: Callable[[SourceRow], bool], name: str = "s") -> SourceRow:
        """Wait until the source's row is as wanted."""
        row = await self.row(name)
        deadline_s = asyncio.get_running_loop().time() + WAIT_S_MAX
        while not holds(row):
            assert asyncio.get_running_loop().time() < deadline_s, row
            await asyncio.sleep(0.02)
            row = await self.row(name)
        return row

    @asynccontextmanager
    async def process(self, **options: Any) -> AsyncIterator[SourceSupervisor]:
        """Read sources as another process would, with connections of its own, and stop at the end."""
        async with second_process(self.dsns, self.parts) as parts:
            supervisor = SourceSupervisor(self.sources(parts), self.dsns.owner, replace(OPTIONS, **options))
            running = asyncio.create_task(supervisor.run())
            try:
                yield supervisor
            finally:
                await supervisor.stop()
                await running
                await parts.ingest.close()

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of the tenant."""
        return [tuple(row) for row in await self.parts.db.query(self.parts.tenant, sql)]

    async def values(self, path: str = "temperature") -> list[float]:
        """Return all samples of twin t0, in the order of their source times."""
        sql = f"""
        SELECT s.num FROM {SAMPLES} AS s JOIN twin t ON t.tenant = s.tenant AND t.twin_no = s.series >> 20
        JOIN path p ON p.tenant = s.tenant AND p.path_no = s.series & 1048575
        WHERE s.tenant = current_tenant() AND p.path = %s ORDER BY s.source_time"""
        return [row[0] for row in await self.parts.db.query(self.parts.tenant, sql, (path,))]


async def refuse(error: GemelError) -> None:
    raise error

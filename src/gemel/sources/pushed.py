"""Sources that are pushed to: what senders name by HTTP or gRPC, under its contract, counted with what it brought.

Nobody reads them. Each process watches what comes to it; whether the source may still be pushed to is asked under the
tenant's lock, so that what was stopped takes nothing more, whichever process it comes to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gemel.base.clock import now_us
from gemel.base.errors import ConflictError, GemelError
from gemel.contracts.events import hold_back
from gemel.contracts.watching import Watch
from gemel.history.ordering import OUTCOMES
from gemel.ingest.events import Decoded
from gemel.ingest.requests import IngestResult
from gemel.mapping.mapper import Mapped, Mapper
from gemel.mapping.scene import Message
from gemel.observe.metrics import Metrics
from gemel.sources.definition import NAME, parse_definition
from gemel.sources.drift import Seen, keep_drift, note_beside
from gemel.sources.records import PushRow, check_pushed, count_pushed, fail_pushed, find_pushed
from gemel.store.database import Database, WriteTransaction

__all__ = ["PUSH", "Desk", "Pushed", "Pushing"]

PUSH: Final = "push"
KNOWN_S: Final = 1.0
"""For how long it is believed which source a name is of; a commit asks again."""
DESKS_MAX: Final = 1000


@dataclass(slots=True)
class Desk:
    """Where this process takes what is pushed to one source, as it was last described and started."""

    tenant: int
    row: PushRow
    watch: Watch | None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class _Known:
    desk: Desk | None
    until_s: float


class Pushed:
    """The sources that are pushed to, of all tenants, as this process knows them."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._desks: dict[tuple[int, str], Desk] = {}
        self._known: dict[tuple[int, str], _Known] = {}

    def forget(self) -> None:
        """Ask the database again which source a name is of."""
        self._known.clear()

    @asynccontextmanager
    async def under(self, tenant: int, name: str | None) -> AsyncIterator[Pushing | None]:
        """Give what takes a request under a source's name; None where the name is of no source that is pushed to.

        Raises ConflictError (SourceStopped) where the source is stopped or failed, and what its contract says ends it.
        """
        desk = await self._find(tenant, name)
        if desk is None:
            yield None
            return
        pushing = Pushing(desk)
        try:
            yield pushing
        except GemelError as error:
            if desk.watch is not None and error is desk.watch.halted:
                await self._fail(desk, error)
            raise
        self._count(pushing)

    def watch(self, tenant: int, row: PushRow) -> Watch | None:
        """Return the watch of a source, for whoever listens to it: the one by which requests are looked at, too."""
        return self._desk(tenant, row.name, row).watch

    async def _find(self, tenant: int, name: str | None) -> Desk | None:
        if name is None or NAME.fullmatch(name) is None:
            return None
        known = self._known.get((tenant, name))
        if known is None or known.until_s < time.monotonic():
            row = await find_pushed(self._database, tenant, name)
            if len(self._known) >= DESKS_MAX:
                self._known.clear()
            desk = None if row is None else self._desk(tenant, name, row)
            known = self._known[tenant, name] = _Known(desk, time.monotonic() + KNOWN_S)
        return known.desk

    def _desk(self, tenant: int, name: str, row: PushRow) -> Desk:
        desk = self._desks.get((tenant, name))
        if desk is None or (desk.row.version, desk.row.starts) != (row.version, row.starts):
            texts = row.texts
            contract = parse_definition(texts.definition, texts.mapping, texts.contract).contract
            watch = None if contract is None else Watch(contract.contract, now_us())
            if len(self._desks) >= DESKS_MAX:
                self._desks.clear()
            desk = self._desks[tenant, name] = Desk(tenant, row, watch)
        desk.row = row
        return desk

    async def _fail(self, desk: Desk, error: GemelError) -> None:
        """Keep what ended a source: nothing of its batch was taken, and nothing more is until it is started again."""
        assert desk.watch is not None
        with desk.lock:
            seen = desk.watch.take_drift()
        firm = {sighting: each for sighting, each in seen.items() if each.policy == "stop"}
        label = desk.watch.contract.label
        await note_beside(self._database, desk.tenant, Seen(desk.row.name, label, desk.watch.now_us, firm))
        await fail_pushed(self._database, desk.tenant, desk.row, error)
        self.forget()
        for sighting, each in firm.items():
            self._metrics.count_drift(PUSH, sighting.finding, each.policy, each.count)

    def _count(self, pushing: Pushing) -> None:
        result = pushing.result
        if result is not None:
            outcomes = {name: getattr(result, name) for name in (*OUTCOMES, "quarantined")}
            self._metrics.count_source(PUSH, {"events": result.events, **outcomes})
        if pushing.drift is not None:
            for sighting, each in pushing.drift.drift.items():
                self._metrics.count_drift(PUSH, sighting.finding, each.policy, each.count)


class Pushing:
    """One request under the name of a source: shown to its watch when it is decoded, counted in its commit."""

    def __init__(self, desk: Desk) -> None:
        if desk.row.wanted != "started" or desk.row.state == "failed":
            raise _stopped(desk.row)
        self._desk = desk
        self.drift: Seen | None = None
        self.result: IngestResult | None = None

    def shown(self, decoded: Decoded, received_us: int) -> Decoded:
        """Return events with what its contract holds back set aside. Raises what ends the source."""
        watch = self._desk.watch
        if watch is not None:
            with self._desk.lock:
                hold_back(watch, decoded, received_us)
                self._note(watch)
        return decoded

    def mapped(self, mapper: Mapper, messages: Sequence[Message]) -> Mapped:
        """Return what a mapping makes of messages that the contract lets through. Raises what ends the source."""
        watch = self._desk.watch
        if watch is None:
            return mapper.run(messages)
        with self._desk.lock:
            made = mapper.watched(watch).run(messages)
            self._note(watch)
        return made

    async def check(self, tx: WriteTransaction) -> None:
        """Refuse the request where the source was stopped meanwhile, or described anew."""
        if not await check_pushed(tx, self._desk.row):
            raise _stopped(self._desk.row)

    async def keep(self, tx: WriteTransaction, result: IngestResult) -> None:
        """Count the request and its drift in its commit."""
        await count_pushed(tx, self._desk.row.name, result)
        if self.drift is not None:
            await keep_drift(tx, self.drift)
        self.result = result

    def _note(self, watch: Watch) -> None:
        if watch.halted is not None:
            raise watch.halted
        drift = watch.take_drift()
        if drift:
            self.drift = Seen(self._desk.row.name, watch.contract.label, watch.now_us, drift)


def _stopped(row: PushRow) -> ConflictError:
    why = f": {row.error}" if row.error else ""
    return ConflictError(
        "SourceStopped",
        f"The source {row.name} takes nothing now; nothing was kept{why}",
        f"`gemel source start {row.name}`, then send it again.",
    )

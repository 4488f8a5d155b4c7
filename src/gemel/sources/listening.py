"""Who of a source's things is silent, by the clock, while one process reads it; kept for the next one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psycopg

from gemel.base.clock import now_us
from gemel.base.errors import GemelError
from gemel.contracts.watching import Drifted, Sighting, Watch
from gemel.sources.definition import Definition
from gemel.sources.drift import Seen, load_heard, note_beside, note_heard, note_over
from gemel.sources.pushed import PUSH
from gemel.sources.records import Held, Holder, PushRow
from gemel.sources.service import Sources

__all__ = ["Listener", "listen"]

KEEP_US: Final = 30_000_000
"""How often it is kept who was heard of."""


@dataclass(slots=True)
class Listener:
    """Looks after the clock of one source's watch."""

    watch: Watch
    kind: str
    _sources: Sources
    _by: Holder
    _kept_us: int

    async def look(self, at_us: int) -> GemelError | None:
        """Note who is silent by now and who is not any more; return the error by which the source is to end."""
        database, by = self._sources.database, self._by
        found = self.watch.silence(at_us)
        await self._note(found, at_us)
        await note_over(database, by.tenant, by.source, self.watch.take_again())
        if found or at_us > self._kept_us + KEEP_US:
            await self._keep(at_us)
        return self.watch.halted if found else None

    async def close(self) -> None:
        """Keep who was heard of, and what ended the source, if it did not go by its contract."""
        with suppress(GemelError, psycopg.Error):
            if self.watch.halted is not None:
                seen = self.watch.take_drift()
                firm = {key: each for key, each in seen.items() if each.policy == "stop"}
                await self._note(firm, self.watch.now_us)
            again = self.watch.take_again()
            await note_over(self._sources.database, self._by.tenant, self._by.source, again)
            await self._keep(now_us())

    async def _note(self, drift: Mapping[Sighting, Drifted], at_us: int) -> None:
        by, count = self._by, self._sources.sink.metrics.count_drift
        seen = Seen(by.source, self.watch.contract.label, at_us, drift)
        await note_beside(self._sources.database, by.tenant, seen)
        for sighting, drifted in drift.items():
            count(self.kind, sighting.finding, drifted.policy, drifted.count)

    async def _keep(self, at_us: int) -> None:
        heard = self.watch.heard
        if heard.changed:
            heard.changed, self._kept_us = False, at_us
            await note_heard(self._sources.database, self._by.tenant, self._by.source, dict(heard.things))


async def listen(sources: Sources, held: Held, definition: Definition) -> Listener:
    """Return a listener with a new watch, which remembers who was heard of before."""
    assert definition.contract is not None
    at_us, by = now_us(), held.by
    watch = None
    if definition.kind == PUSH:
        row = PushRow(by.source, held.texts, held.version, held.starts)
        watch = sources.pushed.watch(by.tenant, row)
    watch = watch or Watch(definition.contract.contract, at_us)
    watch.remember(*await load_heard(sources.database, by.tenant, by.source))
    return Listener(watch, definition.kind, sources, by, at_us)

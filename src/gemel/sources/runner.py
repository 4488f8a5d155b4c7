"""One source that this process holds: opened, fed, and opened again after a while where it broke off."""

from __future__ import annotations

import asyncio
import random
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import psycopg

from gemel.base.clock import now_us
from gemel.base.errors import ConflictError, GemelError, InternalError
from gemel.observe.logs import get_log
from gemel.sources.contract import Source
from gemel.sources.definition import Definition, parse_definition
from gemel.sources.feeding import TRANSIENT, Feeder
from gemel.sources.listening import Listener, listen
from gemel.sources.permits import Place
from gemel.sources.records import Held, Report, release, renew, report
from gemel.sources.service import SourceMarks, Sources, kind_of

__all__ = ["SourceRunner"]

CLOSE_S: Final = 10.0
LOOKS: Final = 8
"""How often within a lease it is renewed, and looked whether the source is still wanted."""
LOOK_S_MAX: Final = 1.0

log = get_log(__name__)


@dataclass(slots=True)
class _Attempt:
    """How it has gone so far."""

    failures: int = 0
    problem: str | None = None


class SourceRunner:
    """Sees one source through until it is stopped, described anew, lost to another process, or failed for good."""

    def __init__(self, sources: Sources, held: Held, tenant_name: str) -> None:
        self._sources = sources
        self._held = held
        self._place = Place(tenant_name, sources.permits)
        self._stopping = asyncio.Event()
        self._feeder: Feeder | None = None
        self._listener: Listener | None = None
        self._so_far = _Attempt()
        self._log = log.bind(tenant=held.by.tenant, source=held.by.source)

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping.set()
        if self._feeder is not None:
            self._feeder.stopping.set()

    async def run(self) -> None:
        """Read the source until there is a reason not to."""
        self._log.info("source taken")
        beat = asyncio.create_task(self._beat())
        try:
            await self._report(Report("starting"))
            while not self._stopping.is_set():
                await self._once()
        finally:
            beat.cancel()
            with suppress(GemelError, psycopg.Error):
                await release(self._sources.database, self._held.by)
            self._log.info("source left")

    async def _once(self) -> None:
        """Open the source and feed from it; wait after what may pass, and end where it will not."""
        definition: Definition | None = None
        try:
            texts = self._held.texts
            definition = await asyncio.to_thread(
                parse_definition, texts.definition, texts.mapping, texts.contract
            )
            if definition.contract is not None:
                self._listener = await listen(self._sources, self._held, definition)
                definition = replace(definition, watch=self._listener.watch)
            await self._feed(definition)
        except ConflictError as error:
            if error.code == "SourceLost":
                self._log.warning("source lost", error=error.message)
                self._stopping.set()
            elif error.code == "SourceOvertaken":
                await self._wait(definition, error)
            else:
                await self._fail(error)
        except TRANSIENT as error:
            await self._wait(definition, error)
        except GemelError as error:
            await self._fail(error)
        except Exception:
            # Whatever it was, the data must come in: it is tried again, and the log has it.
            self._log.error("source broke", error=self._place.scrub(traceback.format_exc()))
            await self._wait(definition, InternalError("InternalError", "A defect of ours; the log has it."))

    async def _feed(self, definition: Definition) -> None:
        kind = kind_of(self._sources.kinds, definition)
        marks = SourceMarks(self._sources.database, self._held.by.tenant, definition.name)
        source = await kind.open(definition, self._place, marks)
        try:
            self._feeder = Feeder(self._sources.sink, self._held, definition, self._committed)
            if self._stopping.is_set():
                return
            await self._report(Report("running"))
            self._log.info("source open", kind=definition.kind)
            await self._feeder.feed(source)
        finally:
            self._feeder = None
            await self._close(source)
            if self._listener is not None:
                await self._listener.close()
                self._listener = None

    async def _close(self, source: Source) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await source.close()
        except Exception as error:
            self._log.warning(
                "source not closed", error=self._place.scrub(f"{type(error).__name__}: {error}")
            )

    async def _committed(self, problem: str | None) -> None:
        """What came in ends a row of failures; a problem is shown until the next one."""
        self._so_far.failures = 0
        if problem is not None and problem != self._so_far.problem:
            self._so_far.problem = problem
            self._log.warning("source goes on past a problem", problem=self._place.scrub(problem))
            await self._report(Report("running", error_code="SourcePartRefused", error=problem))

    async def _wait(self, definition: Definition | None, error: Exception) -> None:
        so_far = self._so_far
        so_far.failures += 1
        so_far.problem = None
        if definition is None:
            return await self._fail(error)
        delay_s = definition.backoff.delay_s(so_far.failures, random.random())  # noqa: S311
        self._sources.sink.metrics.count_source(definition.kind, {"failures": 1})
        code, text = _told(error)
        self._log.warning("source waits", error=self._place.scrub(text), again_s=round(delay_s, 1))
        await self._report(Report("waiting", so_far.failures, delay_s, code, text))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        return None

    async def _fail(self, error: Exception) -> None:
        code, text = _told(error)
        self._log.error("source failed", error=self._place.scrub(text))
        await self._report(Report("failed", self._so_far.failures, None, code, text))
        self._stopping.set()

    async def _report(self, told: Report) -> None:
        clean = Report(
            told.state,
            told.failures,
            told.next_s,
            told.error_code,
            told.error and self._place.scrub(told.error),
        )
        with suppress(GemelError, psycopg.Error):
            await report(self._sources.database, self._held, clean)

    async def _beat(self) -> None:
        """Hold the source, and end where it is no longer ours or no longer wanted so."""
        every_s = min(self._held.by.lease_s / LOOKS, LOOK_S_MAX)
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sources.changed.wait(), every_s)
            with suppress(GemelError, psycopg.Error):
                found = await renew(self._sources.database, self._held)
                if found != "ours":
                    self._log.info("source given up", why=found)
                    self.stop()
                    return
            await self._listen()

    async def _listen(self) -> None:
        """Look for things that are silent; where the contract says so, one of them ends the source."""
        if self._listener is None or self._feeder is None:
            return
        with suppress(GemelError, psycopg.Error):
            halted = await self._listener.look(now_us())
            if halted is not None and self._feeder is not None:
                self._feeder.halt(halted)


def _told(error: Exception) -> tuple[str, str]:
    if isinstance(error, GemelError):
        return error.code, f"{error.message} {error.hint or ''}".strip()
    return "DatabaseUnavailable", f"{type(error).__name__}"

"""What the rest of the platform asks of sources: check and try a description, and tell of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from gemel.base.clock import now_us
from gemel.base.errors import Detail, GemelError, InternalError, InvalidError, UnavailableError
from gemel.contracts.watching import Watch
from gemel.ingest.events import Event
from gemel.ingest.positions import read_positions
from gemel.observe.logs import get_log
from gemel.sources.contract import Kind, Queueing, QueueProbe, SourceBatch
from gemel.sources.definition import Definition, parse_definition
from gemel.sources.feeding import Sink
from gemel.sources.permits import Permits, Place
from gemel.sources.pushed import Pushed
from gemel.sources.records import Texts, part_name
from gemel.store.database import Database

__all__ = ["SourceMarks", "Sources", "Trial", "kind_of", "probe_source"]

TRIAL_EVENTS: Final = 20
TRIAL_WAIT_S: Final = 5.0
TRIAL_S_MAX: Final = 20.0
PROBE_S_MAX: Final = 25.0

log = get_log(__name__)


class Trial(msgspec.Struct, rename="camel"):
    """What a source gave when it was tried: nothing of it is kept, and nothing acknowledged.

    `events` is how many came within a few seconds, `first` some of them, and `problems` what is wrong with others.
    """

    name: str
    kind: str
    events: int
    first: list[Event]
    problems: list[str]


@dataclass(slots=True)
class Sources:
    """The parts that sources need: kinds by name, what they may use, and where their batches go."""

    database: Database
    kinds: Mapping[str, Kind]
    permits: Permits
    sink: Sink
    pushed: Pushed = field(init=False)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once, at the next change of what is wanted of any source; then another takes its place."""

    def __post_init__(self) -> None:
        self.pushed = Pushed(self.database, self.sink.metrics)

    def tell(self) -> None:
        """Say that what is wanted of a source has changed, so that nobody waits for his next look."""
        told, self.changed = self.changed, asyncio.Event()
        told.set()
        self.pushed.forget()

    async def check(self, tenant_name: str, texts: Texts) -> Definition:
        """Read a description and check what can be seen from here; return it.

        Raises InvalidError: SourceInvalid, MappingInvalid, SourceNotAllowed; EnvironmentFaultError (ExtraMissing).
        """
        return await asyncio.to_thread(self._check, tenant_name, texts)

    def _check(self, tenant_name: str, texts: Texts) -> Definition:
        definition = parse_definition(texts.definition, texts.mapping, texts.contract)
        kind_of(self.kinds, definition).check(definition, Place(tenant_name, self.permits))
        return definition

    async def attempt(self, tenant: int, tenant_name: str, texts: Texts) -> Trial:
        """Open a source and read a little of it, from where it was left; keep and acknowledge nothing.

        Raises as `check`, and as the source does.
        """
        checked = await self.check(tenant_name, texts)
        watch = None if checked.contract is None else Watch(checked.contract.contract, now_us())
        definition = replace(checked, trial=True, watch=watch)
        limits = replace(definition.limits, events_max=TRIAL_EVENTS, wait_s=TRIAL_WAIT_S)
        place = Place(tenant_name, self.permits, trial=True)
        marks = SourceMarks(self.database, tenant, definition.name)
        kind = kind_of(self.kinds, definition)
        try:
            async with asyncio.timeout(TRIAL_S_MAX):
                source = await kind.open(definition, place, marks)
                try:
                    batch = await source.next_batch(limits)
                finally:
                    await source.close()
        except TimeoutError as error:
            message = f"The source {definition.name} did not answer within {TRIAL_S_MAX:.0f} s."
            raise UnavailableError("SourceUnavailable", message) from error
        except GemelError as error:
            # What others say may repeat the secrets that they were shown.
            error.message, error.args = place.scrub(error.message), ()
            error.hint = error.hint and place.scrub(error.hint)
            raise error from None
        except Exception as error:
            log.error(
                "source broke", source=definition.name, error=place.scrub(f"{type(error).__name__}: {error}")
            )
            raise InternalError(
                "InternalError", "A defect of ours ended the trial; the log has it."
            ) from None
        return _trial(definition, batch, place)


async def probe_source(sources: Sources, tenant_name: str, texts: Texts) -> QueueProbe:
    """Find out how much the other side of a source keeps while it is away.

    Raises InvalidError (InvalidArgument) for a kind that keeps nothing, UnavailableError (SourceUnavailable), and as
    `Sources.check`.
    """
    definition = await sources.check(tenant_name, texts)
    kind = kind_of(sources.kinds, definition)
    if not isinstance(kind, Queueing):
        raise InvalidError("InvalidArgument", f"Nothing queues for a source of kind {definition.kind}.")
    place = Place(tenant_name, sources.permits)
    try:
        async with asyncio.timeout(PROBE_S_MAX):
            return await kind.probe(definition, place)
    except TimeoutError as error:
        message = f"The broker of {definition.name} did not do it within {PROBE_S_MAX:.0f} s."
        raise UnavailableError("SourceUnavailable", message) from error
    except GemelError as error:
        error.message, error.args = place.scrub(error.message), ()
        raise error from None


@dataclass(frozen=True, slots=True)
class SourceMarks:
    """How far the parts of one source are read, by what its commits kept."""

    database: Database
    tenant: int
    source: str

    async def read(self, parts: Collection[str], shared: str | None = None) -> dict[str, str]:
        """Return the positions of those of the parts that have one; of parts shared under a name, if one is given."""
        names = {part_name(self.source, part, shared): part for part in parts}
        async with self.database.read(self.tenant) as tx:
            found = await read_positions(tx, list(names))
        return {names[name]: position for name, position in found.items()}


def kind_of(kinds: Mapping[str, Kind], definition: Definition) -> Kind:
    """Return the kind of a source. Raises InvalidError (SourceInvalid) for one that there is not."""
    kind = kinds.get(definition.kind)
    if kind is None:
        raise InvalidError(
            "SourceInvalid",
            f"The source's kind: {definition.kind[:80]!r} is none.",
            f"Use one of: {', '.join(sorted(kinds))}.",
        )
    return kind


def _trial(definition: Definition, batch: SourceBatch | None, place: Place) -> Trial:
    events = [] if batch is None else batch.decoded.events
    problems = [f"{event.message} [{event.code}]" for event in events if isinstance(event, Detail)]
    if batch is not None and batch.problem is not None:
        problems.insert(0, place.scrub(batch.problem))
    good = [event for event in events if isinstance(event, Event)]
    return Trial(definition.name, definition.kind, len(events), good[:3], problems[:TRIAL_EVENTS])

"""What is asked of ingest, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from gemel.history.origins import Sending
from gemel.ingest.events import Decoded
from gemel.ingest.positions import Position
from gemel.observe.laps import Laps
from gemel.observe.trace import Trace
from gemel.security.audit import AuditEntry
from gemel.store.database import WriteTransaction

__all__ = ["Fate", "Guard", "IngestOptions", "IngestRequest", "IngestResult", "Rejected", "Replaying"]

NOTHING_SAID = Sending()


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not taken: where it stood, why, and its number in quarantine."""

    index: int
    code: str
    message: str
    quarantine: int | None = None


class Fate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What would become of a quarantined event: its values by outcome, or the code of why it would stay."""

    number: int
    subject: str | None = None
    code: str | None = None
    message: str | None = None
    place: str | None = None
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    corrected: int = 0


class IngestResult(msgspec.Struct):
    """What became of a request's events.

    `accepted`, `late`, `duplicate` and `corrected` count values; `quarantined` counts events.
    """

    events: int
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    corrected: int = 0
    quarantined: int = 0
    rejected: list[Rejected] = []


class Guard(Protocol):
    """Whether a reader may still write what it read, asked under the tenant's lock."""

    async def check(self, tx: WriteTransaction) -> None:
        """Raise the GemelError by which the request is refused; its neighbours are not."""

    async def keep(self, tx: WriteTransaction, result: IngestResult) -> None:
        """Keep what became of the request, in the commit that made it so."""


@dataclass(frozen=True, slots=True)
class Replaying:
    """Where events come from that were in quarantine: their numbers, receipts (µs) and the labels of their mappings.

    Those that are taken leave quarantine. With `mended` those that are not stay there as they were, since it was
    not their own bytes that were offered.
    """

    numbers: Sequence[int] = ()
    receipts_us: Sequence[int] = ()
    mappings: Sequence[str | None] = ()
    mended: bool = False

    def only(self, indices: Sequence[int]) -> Replaying:
        """Return the same of some of the events, by their places."""
        return Replaying(
            [self.numbers[index] for index in indices],
            [self.receipts_us[index] for index in indices],
            [self.mappings[index] for index in indices],
            self.mended,
        )


NOT_REPLAYED = Replaying()


@dataclass(frozen=True, slots=True)
class IngestRequest:
    """A decoded body with what goes with it into the commit.

    `positions` are sources and how far each has been read; `sending` what is kept of where the events came from;
    `create_model` the model of twins that do not exist yet; `replaying` is given for events out of quarantine;
    `strict` raises the first event's fault in place of quarantine; `guard` may refuse it at the last moment.
    `trace` is what its commit goes on with, that of the caller where it is None; `laps` are the stages of its way.
    """

    decoded: Decoded
    received_us: int
    audit: AuditEntry
    positions: Sequence[Position] = ()
    sending: Sending = NOTHING_SAID
    create_model: str | None = None
    replaying: Replaying = NOT_REPLAYED
    strict: bool = False
    guard: Guard | None = None
    trace: Trace | None = None
    laps: Laps = field(default_factory=Laps)


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Limits of the pipeline; times in µs."""

    commit_events_max: int
    future_tolerance_us: int
    dedupe_window_us: int

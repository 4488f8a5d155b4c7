"""What every source is: batches of events with their position, and an acknowledgement once they are ours.

A kind of source (folder, MQTT, …) is one module under gemel.connectors that implements `Kind` and `Source`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import msgspec

from gemel.ingest.events import Decoded
from gemel.sources.definition import Definition, Limits
from gemel.sources.permits import Place

__all__ = ["Kind", "Logged", "Marks", "QueueProbe", "Queueing", "Source", "SourceBatch"]


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Events read together, and what goes with them into their commit.

    `position` says how far each part of the source (a file, a partition) is read behind this batch, as text that
    the source itself understands; parts that are not in it stay where they were. `begins` says where parts must
    still stand for the batch to be taken, None for nowhere yet: of readers that share the parts of a source, one that
    lost a part while it read must not commit it. `shared` is the name under which they share them, None where the
    source has them alone. `weight` is about how many bytes it holds. `file` and `mapping` are kept as its origin,
    `traceparent` as the trace that its commit goes on with. Twins that are missing are made of `create_model`.
    `problem` is what an operator should know of, though reading goes on.
    """

    decoded: Decoded
    received_us: int
    position: Mapping[str, str] = field(default_factory=dict)
    begins: Mapping[str, str | None] = field(default_factory=dict)
    shared: str | None = None
    weight: int = 0
    file: str | None = None
    traceparent: str | None = None
    mapping: str | None = None
    create_model: str | None = None
    problem: str | None = None


class Marks(Protocol):
    """How far the parts of a source have been read, as their last commits have it."""

    async def read(self, parts: Collection[str], shared: str | None = None) -> dict[str, str]:
        """Return the positions of those of the parts that have one; of parts shared under a name, if one is given."""


class Source(Protocol):
    """An open source. Its errors are ours: UnavailableError (SourceUnavailable) for what may pass by itself.

    Any other GemelError says that it will stay so until somebody mends it.
    """

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        """Return the next events, or None where none came within `limits.wait_s`.

        Called for the next batch while the one before commits, and never twice at once. The first batch begins
        behind the position that was kept; whatever the other side sends again is given again.
        """

    async def commit(self, position: Mapping[str, str]) -> None:
        """Acknowledge to the other side what is read up to a position: our transaction with it has committed."""

    async def close(self) -> None:
        """Let go of the other side; what was not committed will come again."""


@runtime_checkable
class Logged(Protocol):
    """A source that reads a log, and knows how much of it waits."""

    def behind(self) -> int | None:
        """Return how many messages stand behind what was committed, None while that is not known; at once."""


class Kind(Protocol):
    """What sources of one kind have in common: their settings, and how they are opened."""

    def check(self, definition: Definition, place: Place) -> None:
        """Raise InvalidError (SourceInvalid, MappingInvalid) for what is wrong and can be seen from here."""

    async def open(self, definition: Definition, place: Place, marks: Marks) -> Source:
        """Connect, and be ready to read on from the marks. Raises as `check` and `Source` do."""


class QueueProbe(msgspec.Struct, frozen=True, rename="camel"):
    """What a broker kept of the messages that were sent to a client that was away, and how many it takes at once.

    `declined` is what it said where it refused one.
    """

    sent: int
    kept: int
    receive_maximum: int
    declined: str | None = None


@runtime_checkable
class Queueing(Protocol):
    """A kind whose other side queues for a source that is away, within limits that can be tried out."""

    async def probe(self, definition: Definition, place: Place) -> QueueProbe:
        """Find out how much is kept; the source itself is not touched. Raises as `Kind.open`."""

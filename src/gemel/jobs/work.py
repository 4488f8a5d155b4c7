"""What a job is done with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gemel.graph.context import GraphContext
from gemel.graph.ends import KnownEnds
from gemel.graph.plain import PlainReader
from gemel.jobs.records import Job
from gemel.store.database import Database

__all__ = ["Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job and the parts it needs.

    `holder` is the worker that has it and how many seconds each commit holds it for; `pause` says whether to
    stop between commits and leave the rest for later; `ends` are twins that its relationships name, `readers` are
    those of its twins by model.
    """

    database: Database
    context: GraphContext
    tenant: int
    job: Job
    holder: tuple[str, float]
    pause: Callable[[], bool]
    ends: KnownEnds = field(default_factory=KnownEnds)
    readers: dict[str, PlainReader] = field(default_factory=dict)

"""What the routes need from the rest of the platform; gemel.app fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gemel.base.settings import Settings
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory
from gemel.graph.patching import TwinPatcher
from gemel.graph.reading import TwinReader
from gemel.history.feed import FeedHead
from gemel.ingest.pipeline import Ingest
from gemel.jobs.service import Jobs
from gemel.mapping.stored import MappingLibrary
from gemel.observe.intake import Intake
from gemel.observe.metrics import Metrics
from gemel.observe.traffic import Traffic
from gemel.outbound import Outbound
from gemel.routing.feed import FeedReader
from gemel.routing.sending import Sender
from gemel.security.keys import Keyring
from gemel.security.refusals import Refusals
from gemel.security.sealing import Sealer
from gemel.sources.service import Sources
from gemel.store.database import Database

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one running platform.

    `ready` says whether requests can be served now, and `alive` whether every part of the server still runs.
    """

    settings: Settings
    database: Database
    keyring: Keyring
    refusals: Refusals
    ready: Callable[[], bool]
    alive: Callable[[], bool]
    context: GraphContext
    directory: Directory
    twins: TwinReader
    patcher: TwinPatcher
    ingest: Ingest
    outbound: Outbound
    feed: FeedHead
    feed_reader: FeedReader
    senders: Mapping[str, Sender]
    sealer: Sealer
    jobs: Jobs
    mappings: MappingLibrary
    sources: Sources
    metrics: Metrics
    traffic: Traffic
    intake: Intake

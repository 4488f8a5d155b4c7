"""The parts of one running platform, made from settings."""

from __future__ import annotations

from collections.abc import Callable

from gemel.api.services import Services
from gemel.base.clock import now_us
from gemel.base.settings import Settings
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory
from gemel.graph.library import ModelLibrary
from gemel.graph.patching import TwinPatcher
from gemel.graph.reading import TwinReader
from gemel.history.paths import Paths
from gemel.history.weeks import Weeks
from gemel.ingest.pipeline import Ingest
from gemel.ingest.requests import IngestOptions
from gemel.outbound import Outbound, OutboundPolicy
from gemel.security.hmac_key import load_hmac_key
from gemel.security.keys import Keyring
from gemel.security.refusals import Refusals
from gemel.security.spool import Spool
from gemel.store.database import Database

__all__ = ["make_services"]

US_PER_S = 1_000_000


def make_services(settings: Settings, database: Database, ready: Callable[[], bool]) -> Services:
    """Wire the parts over a database; nothing is opened yet.

    Raises InvalidError (InvalidArgument) for a setting that does not parse.
    """
    paths, library, weeks = Paths(), ModelLibrary(), Weeks(database)
    tolerance_us = int(settings.future_tolerance_s * US_PER_S)
    context = GraphContext(library, paths, weeks, tolerance_us)
    directory = Directory(library, paths)
    options = IngestOptions(
        commit_events_max=settings.commit_events_max,
        future_tolerance_us=tolerance_us,
        dedupe_window_us=int(settings.dedupe_window_h * 3600 * US_PER_S),
    )
    return Services(
        settings=settings,
        database=database,
        keyring=Keyring(database, load_hmac_key(settings.data_dir)),
        refusals=Refusals(database, Spool(settings.data_dir)),
        ready=ready,
        context=context,
        directory=directory,
        twins=TwinReader(database, context),
        patcher=TwinPatcher(database, context),
        ingest=Ingest(database, directory, context, options, now_us),
        outbound=Outbound(OutboundPolicy.parse(settings.outbound_allow)),
    )

"""The parts of one running platform, made from settings."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gemel import __version__
from gemel.api.services import Services
from gemel.app.kinds import source_kinds
from gemel.base.clock import now_us
from gemel.base.settings import Settings
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory
from gemel.graph.library import ModelLibrary
from gemel.graph.patching import TwinPatcher
from gemel.graph.reading import TwinReader
from gemel.graph.roster import Roster
from gemel.history.feed import FeedHead
from gemel.history.paths import Paths
from gemel.history.weeks import Weeks
from gemel.ingest.pipeline import Ingest
from gemel.ingest.requests import IngestOptions
from gemel.jobs.service import Jobs
from gemel.jobs.spool import InputSpool
from gemel.mapping.stored import MappingLibrary
from gemel.observe.intake import Intake
from gemel.observe.metrics import Metrics
from gemel.observe.spans import open_export
from gemel.observe.trace import sample_new_traces
from gemel.observe.traffic import Traffic
from gemel.outbound import Outbound, OutboundPolicy
from gemel.routing.deliveries import Deliveries
from gemel.routing.delivery import DeliveryParts
from gemel.routing.endpoints import KAFKA, MQTT, WEBHOOK
from gemel.routing.feed import FeedReader
from gemel.routing.kafka import KafkaSender
from gemel.routing.mqtt import MqttSender
from gemel.routing.sending import Sender
from gemel.routing.webhooks import WebhookSender
from gemel.security.hmac_key import load_hmac_key
from gemel.security.keys import Keyring
from gemel.security.refusals import Refusals
from gemel.security.sealing import Sealer
from gemel.security.spool import Spool
from gemel.sources.feeding import Sink
from gemel.sources.permits import Permits, Place
from gemel.sources.service import Sources
from gemel.store.database import Database

__all__ = ["make_deliveries", "make_services"]

US_PER_S = 1_000_000


def make_services(
    settings: Settings,
    database: Database,
    ready: Callable[[], bool],
    alive: Callable[[], bool] = lambda: True,
) -> Services:
    """Wire the parts over a database; nothing is opened yet.

    Raises InvalidError (InvalidArgument) for a setting that does not parse, EnvironmentFaultError (ExtraMissing).
    """
    paths, library, weeks = Paths(), ModelLibrary(), Weeks(database)
    tolerance_us = int(settings.future_tolerance_s * US_PER_S)
    context = GraphContext(library, paths, weeks, tolerance_us)
    directory = Directory(library, paths)
    hmac_key = load_hmac_key(settings.data_dir)
    policy = OutboundPolicy.parse(settings.outbound_allow)
    outbound = Outbound(policy)
    intake = _intake(settings)
    ingest = Ingest(database, directory, context, _options(settings), now_us, intake)
    metrics, traffic = Metrics(intake), Traffic()
    permits = Permits.parse(settings.sources_allow)
    services = Services(
        settings=settings,
        mappings=MappingLibrary(),
        database=database,
        keyring=Keyring(database, hmac_key),
        refusals=Refusals(database, Spool(settings.data_dir)),
        ready=ready,
        alive=alive,
        context=context,
        directory=directory,
        twins=TwinReader(database, context),
        patcher=TwinPatcher(database, context),
        ingest=ingest,
        feed=FeedHead(database),
        feed_reader=FeedReader(Roster(), paths),
        sealer=Sealer(hmac_key),
        outbound=outbound,
        senders=_senders(outbound, permits),
        jobs=Jobs(
            database=database,
            context=context,
            outbound=outbound,
            root=None if settings.jobs_root == Path() else settings.jobs_root.expanduser().absolute(),
            spool=InputSpool(settings.data_dir / "jobs"),
        ),
        sources=Sources(
            database=database,
            kinds=source_kinds(policy, outbound, tolerance_us),
            permits=permits,
            sink=Sink(ingest, metrics, intake, traffic),
        ),
        metrics=metrics,
        intake=intake,
        traffic=traffic,
    )
    metrics.outside.queues |= _queues(services)
    return services


def _options(settings: Settings) -> IngestOptions:
    return IngestOptions(
        commit_events_max=settings.commit_events_max,
        future_tolerance_us=int(settings.future_tolerance_s * US_PER_S),
        dedupe_window_us=int(settings.dedupe_window_h * 3600 * US_PER_S),
    )


def _intake(settings: Settings) -> Intake:
    intake = Intake()
    if settings.otlp_url:
        intake.export = open_export(settings.otlp_url, __version__)
        sample_new_traces(settings.otlp_share)
    return intake


def _queues(services: Services) -> dict[str, Callable[[], float]]:
    """Return how deep each queue is, when it is asked."""
    ingest, patcher, database = services.ingest, services.patcher, services.database
    return {
        "ingest_requests": lambda: ingest.waiting,
        "ingest_bodies": lambda: ingest.room.waiting,
        "ingest_bytes": lambda: ingest.room.held,
        "patches": lambda: patcher.waiting,
        "connections": lambda: database.waiting,
    }


def _senders(outbound: Outbound, permits: Permits) -> dict[str, Sender]:
    """Return what brings notifications to endpoints, by their kind; its secrets may be where those of sources may."""

    def resolve(tenant_name: str, text: str) -> str:
        return Place(tenant_name, permits).resolve(text)

    return {
        WEBHOOK: WebhookSender(outbound, resolve),
        KAFKA: KafkaSender(outbound, resolve),
        MQTT: MqttSender(outbound),
    }


def make_deliveries(settings: Settings, owner_dsn: str, services: Services) -> Deliveries:
    """Wire the deliveries of event routes over a platform's services."""
    parts = DeliveryParts(
        database=services.database,
        feed=services.feed,
        executor=ThreadPoolExecutor(1, "routes"),
        reader=services.feed_reader,
        context=services.context,
        sealer=services.sealer,
        senders=services.senders,
        metrics=services.metrics,
        traffic=services.traffic,
        export=services.intake.export,
    )
    return Deliveries(owner_dsn, settings.event_source, parts)

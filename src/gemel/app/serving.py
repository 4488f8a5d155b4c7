"""`gemel up`: take the directory, start the database, serve, and stop all of it cleanly."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import ssl
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from gemel.api.application import Application, create_app
from gemel.api.server import ApiServer
from gemel.api.services import Services
from gemel.app.first import ensure_default, ensure_directory
from gemel.app.lookout import Lookout
from gemel.app.maintenance import Maintenance
from gemel.app.memory import keep_freed_memory
from gemel.app.metering import Metering
from gemel.app.operator_metrics import serve_metrics
from gemel.app.parts import make_deliveries, make_services
from gemel.app.rolling import Rolling
from gemel.app.storage import Storage, open_storage
from gemel.base.clock import now_us
from gemel.base.errors import EnvironmentFaultError
from gemel.base.settings import Settings
from gemel.history.packing import Packer
from gemel.jobs.runner import JobRunner, RunnerOptions
from gemel.observe.logs import configure_logs, get_log
from gemel.query import analyse
from gemel.security.certificate import ensure_certificate, own_files
from gemel.security.tls import TlsFiles, server_context
from gemel.sources.supervisor import SourceSupervisor, SupervisorOptions
from gemel.store.database import Database
from gemel.store.server import DirectoryLock
from gemel.store.supervisor import Sentinel, Supervisor

if TYPE_CHECKING:
    from gemel.rpc.server import RpcServer

__all__ = ["Listening", "serve"]

LOOK_S = 0.02
# As many as asyncio has by itself, for requests; and one each for folding, packing and metering, which keep theirs.
THREADS = min(32, (os.cpu_count() or 1) + 4) + 3
STARTING = "(starting)"
# Batches make and drop tens of thousands of small objects, none of them in cycles: the usual 700 would have the
# collector walk the models again and again, which costs an import more than half of its time.
GC_THRESHOLDS = (200_000, 20, 50)
# Beside a thread that computes, the event loop waits this long for each answer of the database that it takes.
SWITCH_S = 0.0005

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen; with `tls` by https alone, showing `own` or else the data directory's certificate.

    On `grpc_port`, unless it is 0, gRPC is served, too, in the same way.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls: bool = False
    own: TlsFiles | None = None
    grpc_port: int = 0


def serve(settings: Settings, where: Listening, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready(url)` is called once requests are answered.

    Raises ConflictError (DataDirectoryInUse), InvalidError (CertificateInvalid), EnvironmentFaultError
    (PortInUse, DatabaseFailed, DataDirectoryUnusable, DatabaseTooOld).
    """
    configure_logs(settings.log_level)
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
    keep_freed_memory()
    # The client tells of every connection that a lost database costs, or a caller who went away; the first is said
    # once by "database lost", and of the second nothing is left behind.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    ensure_directory(settings.data_dir)
    storage = open_storage(settings)
    lock = DirectoryLock(settings.data_dir)
    try:
        listening = _listen(where.host, where.port)
    except EnvironmentFaultError:
        lock.acquire(STARTING)  # most often the port is taken by a gemel on the same directory: then say so
        lock.release()
        raise
    scheme = "https" if where.tls else "http"
    url = f"{scheme}://{_shown(where.host)}:{listening.getsockname()[1]}"
    files = (where.own or own_files(settings.data_dir)) if where.tls else None
    rpc = _rpc(where, files) if where.grpc_port else None
    try:
        lock.acquire(url, files.certificate if files else None)
        try:
            tls = _tls(settings.data_dir, where, files)
            applied = storage.prepare()
            if applied:
                log.info("migrated", applied=applied)
            ensure_default(storage.owner_dsn, settings.data_dir)
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                doors = _Doors(listening, url, tls, rpc)
                runner.run(_Serving(settings, storage, doors).run(on_ready))
        finally:
            if storage.bundled is not None:
                storage.bundled.stop()
    finally:
        lock.release()
        listening.close()


@dataclass(frozen=True, slots=True)
class _Doors:
    """Where callers come in: the socket and URL of HTTP, its TLS, and what makes the gRPC server, if there is one."""

    listening: socket.socket
    url: str
    tls: ssl.SSLContext | None
    rpc: Callable[[Services], RpcServer] | None


class _Serving:
    """One run of the server over a prepared database."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        doors: _Doors,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._doors = doors
        self._url = doors.url
        self._ready = False
        self._ending = False
        self._refreshing: asyncio.Task[None] | None = None
        self._database = Database(storage.serve_dsn, cold_url=settings.cold_store)

    async def run(self, on_ready: Callable[[str], None] | None) -> None:
        """Serve, and put everything away at the end, though the signal that asked for it cancels this task."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "gemel"))
        serving = asyncio.create_task(self._serve(on_ready))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            # uvicorn answers a signal by ending, and then raises it once more: the runner cancels its task on SIGINT.
            if not self._ending:
                serving.cancel()
            await serving
            raise

    async def _serve(self, on_ready: Callable[[str], None] | None) -> None:
        await self._database.open()
        beside: list[asyncio.Task[Any]] = []
        lives = (lambda: self._ready, lambda: not any(map(_has_died, beside)))
        services = make_services(self._settings, self._database, *lives)
        port = self._settings.metrics_port
        shown = await serve_metrics(port, services.metrics.page) if port else None
        # Before the first request: a write at "now" rests on its week being there.
        await services.context.weeks.ensure_ahead(now_us())
        server = ApiServer(_http(create_app(services), self._settings, self._doors.tls))
        bundled = self._storage.bundled
        supervisor = None if bundled is None else Supervisor(bundled, self._on_state)
        watch = Sentinel(self._storage.owner_dsn, self._on_state) if supervisor is None else supervisor
        deliveries = make_deliveries(self._settings, self._storage.owner_dsn, services)
        delivering = asyncio.create_task(deliveries.run())
        # On a bundled database the lock of the directory says that no other server is at work.
        alone = bundled is not None
        runner = JobRunner(services.jobs, self._storage.owner_dsn, RunnerOptions(alone=alone))
        sources = SourceSupervisor(services.sources, self._storage.owner_dsn, SupervisorOptions(alone=alone))
        rolling = Rolling(self._storage.owner_dsn, services.metrics)
        metering = Metering(self._storage.owner_dsn, services.traffic)
        metered = asyncio.create_task(metering.run())
        duties = (
            Maintenance(self._settings, self._storage.owner_dsn, services.context.weeks).run(),
            rolling.run(),
            Lookout(self._storage.owner_dsn, services.metrics.outside).run(),
            watch.run(),
            services.refusals.run(),
            runner.run(),
            sources.run(),
            Packer(self._storage.owner_dsn).run(),
            # The first query builds the grammar, which takes a while: it is there before, and not made on the loop.
            asyncio.to_thread(analyse, "SELECT * FROM digitaltwins"),
        )
        beside += [asyncio.create_task(duty) for duty in duties]
        rpc: RpcServer | None = None
        try:
            log.info("serving", url=self._url, data=str(self._settings.data_dir))
            if self._doors.rpc is not None:
                rpc = self._doors.rpc(services)
                await rpc.start()
            beside.append(asyncio.create_task(self._tell_ready(server, on_ready)))
            await server.serve(sockets=[self._doors.listening])
        finally:
            self._ending = True
            rolling.stop()
            metering.stop()
            if rpc is not None:
                await rpc.stop(self._settings.stop_grace_s)
            await sources.stop()
            await asyncio.gather(services.ingest.close(), services.patcher.close())
            await asyncio.gather(services.refusals.close(), runner.stop())
            deliveries.close()
            await asyncio.gather(delivering, metered, return_exceptions=True)
            if supervisor is not None:
                await supervisor.stop()
            await self._let_go(services, beside, shown)
            log.info("stopped", url=self._url)

    async def _let_go(
        self, services: Services, beside: list[asyncio.Task[Any]], shown: asyncio.Server | None
    ) -> None:
        """End what still runs beside the server, and close what the services hold open, the database last."""
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        if shown is not None:
            shown.close()
        for sender in services.senders.values():
            await sender.close()
        await services.outbound.aclose()
        if services.intake.export is not None:
            await asyncio.to_thread(services.intake.export.close)
        await self._database.close()

    async def _tell_ready(self, server: ApiServer, on_ready: Callable[[str], None] | None) -> None:
        while not (server.started and self._ready):  # noqa: ASYNC110 - uvicorn offers no event for it
            await asyncio.sleep(LOOK_S)
        log.info("ready", url=self._url)
        if on_ready is not None:
            on_ready(self._url)

    def _on_state(self, ready: bool) -> None:
        log.info("database ready" if ready else "database lost")
        self._ready = self._database.reachable = ready
        if ready:
            # Held here, since the loop itself would let go of a task that nobody holds.
            self._refreshing = asyncio.get_running_loop().create_task(self._database.refresh())


def _has_died(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _rpc(where: Listening, files: TlsFiles | None) -> Callable[[Services], RpcServer]:
    try:
        from gemel.rpc.server import RpcServer
    except ImportError as error:
        raise EnvironmentFaultError(
            "ExtraMissing", "gRPC needs grpcio, which is not installed.", "`pip install 'gemel[grpc]'`."
        ) from error
    host = f"[{where.host}]" if ":" in where.host else where.host
    return lambda services: RpcServer(services, f"{host}:{where.grpc_port}", files)


def _http(app: Application, settings: Settings, tls: ssl.SSLContext | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.stop_grace_s,
    )
    config.load()
    config.ssl = tls
    return config


def _tls(data_dir: Path, where: Listening, files: TlsFiles | None) -> ssl.SSLContext | None:
    if files is None:
        return None
    if where.own is None:
        # Under the directory's lock: a server that runs must not lose the certificate that it shows.
        why = ensure_certificate(data_dir, where.host)
        if why:
            log.info("certificate made", file=str(files.certificate), why=why)
    return server_context(files)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise EnvironmentFaultError(
            "PortInUse", f"Cannot listen on {host}:{port}: {error.strerror}.", "Choose another with --port."
        ) from error
    return listening


def _shown(host: str) -> str:
    # An address that stands for all is none that a client can verify, or should show a key to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None

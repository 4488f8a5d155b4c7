"""`gemel up`: take the directory, start the database, serve, and stop all of it cleanly."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from gemel.api.application import Application, create_app
from gemel.api.server import ApiServer
from gemel.app.first import ensure_default, ensure_directory
from gemel.app.maintenance import Maintenance
from gemel.app.parts import make_services
from gemel.app.storage import Storage, open_storage
from gemel.base.clock import now_us
from gemel.base.errors import EnvironmentFaultError
from gemel.base.settings import Settings
from gemel.observe.logs import configure_logs, get_log
from gemel.store.database import Database
from gemel.store.server import DirectoryLock
from gemel.store.supervisor import Sentinel, Supervisor

__all__ = ["serve"]

LOOK_S = 0.02
STARTING = "(starting)"
GRACE_S = 10

log = get_log(__name__)


def serve(settings: Settings, host: str, port: int, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready(url)` is called once requests are answered.

    Raises ConflictError (DataDirectoryInUse), EnvironmentFaultError (PortInUse, DatabaseFailed,
    DataDirectoryUnusable, DatabaseTooOld).
    """
    configure_logs(settings.log_level)
    # The pool tells of every connection that a lost database costs; "database lost" says it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    ensure_directory(settings.data_dir)
    storage = open_storage(settings)
    lock = DirectoryLock(settings.data_dir)
    try:
        listening = _listen(host, port)
    except EnvironmentFaultError:
        lock.acquire(STARTING)  # most often the port is taken by a gemel on the same directory: then say so
        lock.release()
        raise
    url = f"http://{_shown(host)}:{listening.getsockname()[1]}"
    try:
        lock.acquire(url)
        try:
            applied = storage.prepare()
            if applied:
                log.info("migrated", applied=applied)
            ensure_default(storage.owner_dsn, settings.data_dir)
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(_Serving(settings, storage, listening, url).run(on_ready))
        finally:
            if storage.bundled is not None:
                storage.bundled.stop()
    finally:
        lock.release()
        listening.close()


class _Serving:
    """One run of the server over a prepared database."""

    def __init__(self, settings: Settings, storage: Storage, listening: socket.socket, url: str) -> None:
        self._settings = settings
        self._storage = storage
        self._listening = listening
        self._url = url
        self._ready = False
        self._refreshing: asyncio.Task[None] | None = None
        self._database = Database(storage.serve_dsn)

    async def run(self, on_ready: Callable[[str], None] | None) -> None:
        await self._database.open()
        services = make_services(self._settings, self._database, lambda: self._ready)
        # Before the first request: a write at "now" rests on its week being there.
        await services.context.weeks.ensure_ahead(now_us())
        server = ApiServer(_http(create_app(services)))
        supervisor = (
            None if self._storage.bundled is None else Supervisor(self._storage.bundled, self._on_state)
        )
        watch = Sentinel(self._storage.owner_dsn, self._on_state) if supervisor is None else supervisor
        maintenance = Maintenance(self._settings, self._storage.owner_dsn, services.context.weeks)
        beside = [asyncio.create_task(maintenance.run()), asyncio.create_task(watch.run())]
        try:
            log.info("serving", url=self._url, data=str(self._settings.data_dir))
            beside.append(asyncio.create_task(self._tell_ready(server, on_ready)))
            await server.serve(sockets=[self._listening])
        finally:
            await asyncio.gather(services.ingest.close(), services.patcher.close())
            if supervisor is not None:
                await supervisor.stop()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await services.outbound.aclose()
            await self._database.close()
            log.info("stopped", url=self._url)

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


def _http(app: Application) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


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
    return f"[{host}]" if ":" in host else host


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None

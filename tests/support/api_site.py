"""A served platform with two tenants, in this process, for tests of the API."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import httpx
import psycopg
import uvicorn
import uvloop

from gemel.api.application import create_app
from gemel.api.server import ApiServer
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
from gemel.security import tenants
from gemel.security.keys import Keyring
from gemel.security.principal import Scope
from gemel.store.database import Database
from support.postgres import Dsns

__all__ = ["MODELS", "PUMP", "Site"]

HMAC_KEY = bytes(32)

PUMP = "dtmi:test:Pump;1"
MODELS: list[dict[str, Any]] = [
    {
        "@context": "dtmi:dtdl:context;3",
        "@id": "dtmi:test:Motor;1",
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "speed", "schema": "double", "writable": True},
            {"@type": "Telemetry", "name": "temperature", "schema": "double"},
        ],
    },
    {
        "@context": "dtmi:dtdl:context;3",
        "@id": PUMP,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "label", "schema": "string"},
            {"@type": "Property", "name": "count", "schema": "integer"},
            {"@type": "Telemetry", "name": "flow", "schema": "double"},
            {"@type": "Component", "name": "motor", "schema": "dtmi:test:Motor;1"},
            {"@type": "Relationship", "name": "feeds", "target": PUMP},
        ],
    },
]


class Site:
    """A running server, its owner's connection, and clients for its tenants."""

    def __init__(self, database: Dsns, settings: Settings) -> None:
        self.dsns = database
        self.settings = settings
        self.owner = psycopg.connect(database.owner, autocommit=True)
        self.tenants = {name: tenants.create_tenant(self.owner, name) for name in ("one", "two")}
        self.is_ready = True
        self._clients: list[httpx.Client] = []
        self._started = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))
        self._thread.start()
        assert self._started.wait(20)

    def token(self, tenant: str = "one", *scopes: Scope) -> str:
        wanted = tenants.NewKey(tenant, "test", scopes or tuple(Scope))
        return tenants.create_key(self.owner, HMAC_KEY, wanted)[1]

    def client(self, tenant: str = "one", *scopes: Scope) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(tenant, *scopes)}"}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=20)
        self._clients.append(client)
        return client

    def stranger(self) -> httpx.Client:
        client = httpx.Client(base_url=self.url, timeout=20)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.stop()
        self.owner.close()

    def audited(self, tenant: int | str) -> list[tuple[Any, ...]]:
        number = self.tenants[tenant] if isinstance(tenant, str) else tenant
        return self.owner.execute(
            "SELECT action, target, result, actor, key_id, trace_id FROM audit "
            "WHERE tenant = %s ORDER BY audit_no",
            (number,),
        ).fetchall()

    async def _serve(self) -> None:
        database = Database(self.dsns.serve)
        await database.open()
        services = self._services(database)
        await services.context.weeks.ensure_ahead(now_us())
        self.app = create_app(services)
        config = uvicorn.Config(self.app, loop="none", http="httptools", log_config=None)
        self.server = ApiServer(config)
        asyncio.get_running_loop().call_later(0.2, self._started.set)
        await self.server.serve(sockets=[self._listener])
        await services.ingest.close()
        await database.close()

    def _services(self, database: Database) -> Services:
        library, paths = ModelLibrary(), Paths()
        context = GraphContext(library, paths, Weeks(database))
        directory = Directory(library, paths)
        options = IngestOptions(20_000, 5_000_000, 86_400_000_000)
        return Services(
            settings=self.settings,
            database=database,
            keyring=Keyring(database, HMAC_KEY),
            ready=lambda: self.is_ready,
            context=context,
            directory=directory,
            twins=TwinReader(database, context),
            patcher=TwinPatcher(database, context),
            ingest=Ingest(database, directory, context, options, now_us),
        )

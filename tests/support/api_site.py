"""A served platform with two tenants, in this process, for tests of the API."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import psycopg
import uvicorn
import uvloop

from gemel.api.application import create_app
from gemel.api.server import ApiServer
from gemel.app.parts import make_services
from gemel.base.clock import now_us
from gemel.base.settings import Settings
from gemel.rpc.server import RpcServer
from gemel.security import tenants
from gemel.security.hmac_key import load_hmac_key
from gemel.security.principal import Scope
from gemel.store.database import Database
from support.postgres import Dsns
from support.rpc import stubs

__all__ = ["MODELS", "PUMP", "Site"]

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
        self._folder = tempfile.TemporaryDirectory(prefix="gemel-test-")
        self.settings = replace(settings, data_dir=Path(self._folder.name))
        self._hmac_key = load_hmac_key(self.settings.data_dir)
        self.owner = psycopg.connect(database.owner, autocommit=True)
        self.tenants = {name: tenants.create_tenant(self.owner, name) for name in ("one", "two")}
        self.is_ready = self.is_alive = True
        self._clients: list[httpx.Client] = []
        self._channels: list[Any] = []
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._started.wait(20)
        if self._failure is not None:
            raise self._failure

    def token(self, tenant: str = "one", *scopes: Scope) -> str:
        wanted = tenants.NewKey(tenant, "test", scopes or tuple(Scope))
        return tenants.create_key(self.owner, self._hmac_key, wanted)[1]

    def client(self, tenant: str = "one", *scopes: Scope) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(tenant, *scopes)}"}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=20)
        self._clients.append(client)
        return client

    def stub(self) -> Any:
        """Return a gRPC client, with the stubs that its users make from the .proto."""
        channel = grpc.insecure_channel(f"127.0.0.1:{self.rpc_port}")
        self._channels.append(channel)
        return stubs().GemelStub(channel)

    def metadata(self, tenant: str = "one", *scopes: Scope) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a caller."""
        return (("authorization", f"Bearer {self.token(tenant, *scopes)}"),)

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
        for channel in self._channels:
            channel.close()
        self.stop()
        self.owner.close()
        self._folder.cleanup()

    def audited(self, tenant: int | str) -> list[tuple[Any, ...]]:
        number = self.tenants[tenant] if isinstance(tenant, str) else tenant
        return self.owner.execute(
            "SELECT action, target, result, actor, key_id, trace_id FROM audit "
            "WHERE tenant = %s ORDER BY audit_no",
            (number,),
        ).fetchall()

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._started.set()

    async def _serve(self) -> None:
        database = Database(self.dsns.serve)
        await database.open()
        services = make_services(self.settings, database, lambda: self.is_ready, lambda: self.is_alive)
        await services.context.weeks.ensure_ahead(now_us())
        self.app = create_app(services)
        config = uvicorn.Config(self.app, loop="none", http="httptools", log_config=None)
        self.server = ApiServer(config)
        rpc = RpcServer(services, "127.0.0.1:0", None)
        self.rpc_port = await rpc.start()
        asyncio.get_running_loop().call_later(0.2, self._started.set)
        spooled = asyncio.create_task(services.refusals.run())
        await self.server.serve(sockets=[self._listener])
        await rpc.stop(1)
        await asyncio.gather(services.ingest.close(), services.refusals.close())
        spooled.cancel()
        if services.intake.export is not None:
            await asyncio.to_thread(services.intake.export.close)
        await database.close()

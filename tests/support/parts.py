"""The parts of a platform over a test's database, without a server around them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gemel.base.clock import now_us
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory, create_missing
from gemel.graph.library import ModelLibrary, add_models
from gemel.history.paths import Paths
from gemel.history.weeks import Weeks
from gemel.ingest.events import LINES, decode_body
from gemel.ingest.pipeline import Ingest
from gemel.ingest.replay import Replayed, Replayer, Wanted
from gemel.ingest.requests import IngestOptions, IngestRequest, IngestResult
from gemel.ingest.selection import Selection
from gemel.observe.intake import Intake
from gemel.security.audit import AuditEntry
from gemel.store.database import Database
from support.postgres import Dsns
from support.tenants import open_tenant

__all__ = ["AUDIT", "MODEL", "TenantParts", "event", "fresh_parts", "open_parts", "second_process"]

AUDIT = AuditEntry("test", None, "events.ingest", "", "ok", "0" * 32)
EVERYTHING = Selection()
MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:gemel:test:Sensor;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "temperature", "schema": "double"},
        {"@type": "Telemetry", "name": "pressure", "schema": "double"},
        {"@type": "Property", "name": "count", "schema": "integer"},
        {"@type": "Property", "name": "serial", "schema": "long"},
        {"@type": "Property", "name": "label", "schema": "string"},
        {"@type": "Property", "name": "on", "schema": "boolean"},
        {
            "@type": "Property",
            "name": "place",
            "schema": {
                "@type": "Object",
                "fields": [{"name": "x", "schema": "double"}, {"name": "y", "schema": "double"}],
            },
        },
    ],
}


@dataclass(frozen=True, slots=True)
class TenantParts:
    """One tenant with the test model and some twins, and ingest over it."""

    db: Database
    tenant: int
    ingest: Ingest
    context: GraphContext

    async def send(self, events: Sequence[dict[str, Any] | str | bytes], **options: Any) -> IngestResult:
        """Ingest events, each a dict or a line as it is to be sent."""
        lines = [
            e if isinstance(e, bytes) else (e if isinstance(e, str) else json.dumps(e)).encode()
            for e in events
        ]
        decoded = decode_body(b"\n".join(lines), LINES)
        return await self.ingest.submit(self.tenant, IngestRequest(decoded, now_us(), AUDIT, **options))

    async def replay(self, selection: Selection = EVERYTHING, **options: Any) -> Replayed:
        """Offer quarantined events again."""
        replayer = Replayer(self.db, self.ingest)
        return await replayer.replay(self.tenant, Wanted(selection, **options), AUDIT)


def event(
    number: int, twin: str = "t0", time: str | None = "2026-01-05T00:00:00Z", **values: Any
) -> dict[str, Any]:
    """Return a CloudEvents event; `time` None leaves it out."""
    envelope = {
        "specversion": "1.0",
        "id": str(number),
        "source": "/test",
        "type": "t",
        "subject": twin,
        "data": values,
    }
    return envelope if time is None else {**envelope, "time": time}


@asynccontextmanager
async def open_parts(dsns: Dsns, twins: int = 5) -> AsyncIterator[TenantParts]:
    """Open a fresh tenant with twins t0, t1, ... of MODEL."""
    async with open_tenant(dsns) as (db, tenant):
        yield await fresh_parts(db, tenant, twins)


async def fresh_parts(db: Database, tenant: int, twins: int = 5) -> TenantParts:
    """Return a fresh tenant's parts, with twins t0, t1, ... of MODEL."""
    parts = _wire(db, tenant)
    await parts.context.weeks.ensure_ahead(now_us())
    async with db.write(tenant) as tx:
        await add_models(tx, parts.context.library, [MODEL])
        await create_missing(tx, parts.context, MODEL["@id"], {f"t{n}": now_us() for n in range(twins)})
    return parts


@asynccontextmanager
async def second_process(dsns: Dsns, first: TenantParts) -> AsyncIterator[TenantParts]:
    """Open the same tenant as another process would: with caches and connections of its own."""
    db = Database(dsns.serve)
    await db.open()
    try:
        yield _wire(db, first.tenant)
    finally:
        await db.close()


def _wire(db: Database, tenant: int) -> TenantParts:
    library, paths = ModelLibrary(), Paths()
    context = GraphContext(library, paths, Weeks(db))
    options = IngestOptions(20_000, 5_000_000, 86_400_000_000)
    return TenantParts(
        db, tenant, Ingest(db, Directory(library, paths), context, options, now_us, Intake()), context
    )

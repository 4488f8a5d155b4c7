"""One process on one tenant's graph: a few models, and shorthands for what tests do with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from gemel.base.clock import now_us
from gemel.base.errors import GemelError
from gemel.graph import library as models
from gemel.graph import relationship_reading, relationships, twins
from gemel.graph.context import GraphContext
from gemel.graph.directory import Directory
from gemel.graph.etag import Conditions
from gemel.graph.library import ModelLibrary
from gemel.graph.live import TwinDocument
from gemel.graph.patching import PatchRequest, TwinPatcher
from gemel.history.paths import Paths
from gemel.history.weeks import Weeks
from gemel.security.audit import AuditEntry
from gemel.store.database import Database, Row
from support.history import SAMPLES
from support.postgres import Dsns
from support.tenants import make_tenant

__all__ = [
    "ASSET",
    "MODELS",
    "MOTOR",
    "PUMP",
    "PUMP2",
    "ROOM",
    "Site",
    "interface",
    "open_site",
    "prop",
    "refused",
]

CONTEXT = "dtmi:dtdl:context;3"
PUMP, PUMP2, MOTOR, ASSET, ROOM = (
    f"dtmi:t:{name}" for name in ("Pump;1", "Pump;2", "Motor;1", "Asset;1", "Room;1")
)


def interface(model_id: str, *contents: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"@context": CONTEXT, "@id": model_id, "@type": "Interface", "contents": list(contents), **more}


def prop(name: str, schema: Any) -> dict[str, Any]:
    return {"@type": "Property", "name": name, "schema": schema}


SETTINGS = {
    "@type": "Object",
    "fields": [{"name": "low", "schema": "double"}, {"name": "high", "schema": "double"}],
}
TAGS = {
    "@type": "Map",
    "mapKey": {"name": "key", "schema": "string"},
    "mapValue": {"name": "value", "schema": "string"},
}
FEEDS = {
    "@type": "Relationship",
    "name": "feeds",
    "target": ASSET,
    "properties": [prop("diameter", "double"), prop("note", "string")],
}
MODELS = [
    interface(ASSET, prop("label", "string"), FEEDS, displayName="Asset", description={"en": "A thing"}),
    interface(
        MOTOR, prop("speed", "double"), {"@type": "Telemetry", "name": "temperature", "schema": "double"}
    ),
    interface(
        PUMP,
        prop("count", "integer"),
        prop("head", "double"),
        prop("running", "boolean"),
        prop("limits", SETTINGS),
        prop("tags", TAGS),
        {"@type": "Telemetry", "name": "flow", "schema": "double"},
        {"@type": "Component", "name": "motor", "schema": MOTOR},
        extends=ASSET,
    ),
    interface(PUMP2, prop("head", "double"), prop("power", "double"), extends=ASSET),
    interface(ROOM, prop("area", "double"), {"@type": "Relationship", "name": "contains"}),
]


@dataclass
class Site:
    """One process on one tenant."""

    dsns: Dsns
    db: Database
    tenant: int
    context: GraphContext
    patcher: TwinPatcher
    directory: Directory
    calls: int = 0

    def neighbour(self) -> Site:
        """Return the same process on another fresh tenant, without models."""
        return replace(self, tenant=make_tenant(self.dsns))

    async def add_models(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        async with self.db.write(self.tenant) as tx:
            return await models.add_models(tx, self.context.library, documents)

    async def put(self, twin_id: str, model: str = PUMP, **body: Any) -> TwinDocument:
        body.setdefault("$metadata", {})["$model"] = model
        if model == PUMP:
            body.setdefault("motor", {"$metadata": {}})
        return await self.put_body(twin_id, body)

    async def put_body(self, twin_id: str, body: Any, **options: Any) -> TwinDocument:
        await self.context.prepare(twins.explicit_times_us(body))
        async with self.db.write(self.tenant) as tx:
            return await twins.put_twin(tx, self.context, twin_id, body, **options)

    async def get(self, twin_id: str) -> TwinDocument:
        async with self.db.read(self.tenant) as tx:
            return await twins.get_twin(tx, self.context, twin_id)

    async def delete(self, twin_id: str, if_match: str | None = None) -> None:
        async with self.db.write(self.tenant) as tx:
            await twins.delete_twin(tx, self.context, twin_id, Conditions(if_match))

    async def patch(
        self, twin_id: str, *operations: Any, component: str | None = None, if_match: str | None = None
    ) -> str:
        self.calls += 1
        audit = AuditEntry("tester", None, "twin.patch", twin_id, "ok", f"trace-{self.calls}")
        request = PatchRequest(twin_id, component, list(operations), audit, Conditions(if_match))
        return await self.patcher.submit(self.tenant, request)

    async def relate(
        self, source: str, relationship_id: str, target: str, name: str = "feeds", **properties: Any
    ) -> relationship_reading.RelationshipDocument:
        body = {"$targetId": target, "$relationshipName": name, **properties}
        async with self.db.write(self.tenant) as tx:
            return await relationships.put_relationship(tx, self.context, source, relationship_id, body)

    async def rows(self, sql: str, *parameters: Any) -> list[Row]:
        return await self.db.query(self.tenant, sql, parameters)

    async def history(self, twin_id: str, path: str) -> list[tuple[Any, int]]:
        """Return (value or JSON or None if removed, source time in µs) of all samples of a property."""
        return [
            (None if kind == 3 else doc if kind == 2 else num, time_us)
            for num, kind, doc, time_us in await self.rows(
                f"""
                SELECT s.num, s.kind, s.doc, (extract(epoch FROM s.source_time) * 1000000)::bigint
                FROM {SAMPLES} AS s JOIN path AS p ON p.path_no = s.series & 1048575 AND p.path = %s
                WHERE s.series >> 20 IN (SELECT twin_no FROM twin_span WHERE twin_id = %s)
                ORDER BY s.source_time""",
                path,
                twin_id,
            )
        ]


@asynccontextmanager
async def open_site(dsns: Dsns) -> AsyncIterator[Site]:
    """Open a fresh tenant that has MODELS."""
    db = Database(dsns.serve)
    await db.open()
    try:
        weeks = Weeks(db)
        await weeks.ensure_ahead(now_us())
        library, paths = ModelLibrary(), Paths()
        context = GraphContext(library, paths, weeks)
        patcher = TwinPatcher(db, context)
        site = Site(dsns, db, make_tenant(dsns), context, patcher, Directory(library, paths))
        await site.add_models(MODELS)
        yield site
        await patcher.close()
    finally:
        await db.close()


async def refused(awaitable: Awaitable[Any]) -> GemelError:
    """Return the error that something is refused with."""
    try:
        answer = await awaitable
    except GemelError as error:
        return error
    raise AssertionError(f"not refused, but answered {answer!r}")

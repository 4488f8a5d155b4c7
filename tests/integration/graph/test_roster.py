from __future__ import annotations

import asyncio
from typing import Any

from gemel.base.clock import to_us
from gemel.graph.context import GraphContext
from gemel.graph.counts import count_graph
from gemel.graph.library import ModelLibrary, add_models
from gemel.graph.roster import Roster
from gemel.graph.twins import delete_twin, put_twin
from gemel.history.paths import Paths
from gemel.history.weeks import Weeks
from support.postgres import Dsns
from support.tenants import open_tenant


def model(name: str) -> dict[str, Any]:
    return {"@context": "dtmi:dtdl:context;3", "@id": f"dtmi:t:{name};1", "@type": "Interface"}


def test_names_of_live_changed_and_deleted_twins(database: Dsns) -> None:
    async def main() -> None:
        async with open_tenant(database) as (db, tenant), open_tenant(database) as (_, other):
            context, roster = GraphContext(ModelLibrary(), Paths(), Weeks(db)), Roster()
            async with db.write(tenant) as tx:
                await add_models(tx, context.library, [model("A"), model("B")])
                for twin in ("one", "two"):
                    await put_twin(tx, context, twin, {"$metadata": {"$model": "dtmi:t:A;1"}})
                rows = await tx.rows("SELECT twin_id, twin_no FROM twin WHERE tenant = current_tenant()")
            numbers = {twin_id: int(twin_no) for twin_id, twin_no in rows}
            async with db.read(tenant) as read:
                names = await roster.names(read, numbers.values())
                assert {names[no][:2] for no in numbers.values()} == {
                    ("one", "dtmi:t:A;1"),
                    ("two", "dtmi:t:A;1"),
                }
                created = {no: names[no].created_us for no in numbers.values()}
                rows = await read.rows("SELECT twin_no, created FROM twin WHERE tenant = current_tenant()")
                assert created == {no: to_us(moment) for no, moment in rows}
                assert tuple(await count_graph(read)) == (2, 2, 0)
            async with db.write(tenant) as tx:
                await put_twin(tx, context, "one", {"$metadata": {"$model": "dtmi:t:B;1"}})
                await delete_twin(tx, context, "two")
            async with db.read(tenant) as read:
                names = await roster.names(read, numbers.values())
                assert names[numbers["one"]] == ("one", "dtmi:t:B;1", created[numbers["one"]])
                assert names[numbers["two"]] == ("two", "dtmi:t:A;1", created[numbers["two"]])
            async with db.read(other) as read:
                assert not await roster.names(read, numbers.values())
                assert tuple(await count_graph(read)) == (0, 0, 0)

    asyncio.run(main())

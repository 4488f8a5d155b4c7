"""What the database itself refuses in a graph, whoever asks: ends and models that are not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from support.graph import ASSET, PUMP, ROOM, Site

Play = Callable[[Callable[[Site], Awaitable[None]]], None]

RELATE = """
INSERT INTO relationship (tenant, source_no, relationship_id, name, target_no, valid_from, recorded)
SELECT current_tenant(), s.twin_no, '{}' || n, 'feeds', t.twin_no + CASE WHEN n = 7 THEN {} ELSE 0 END, now(), now()
FROM twin AS s, twin AS t, generate_series(1, 10) AS n
WHERE s.tenant = current_tenant() AND s.twin_id = 'pump' AND t.tenant = current_tenant() AND t.twin_id = 'asset'"""
MAKE = f"""
INSERT INTO twin (tenant, twin_no, twin_id, model_id, valid_from, created, recorded)
SELECT current_tenant(), 1000000 + n, 'new' || n, CASE WHEN n = 7 THEN %s ELSE '{ASSET}' END, now(), now(), now()
FROM generate_series(1, 10) AS n"""
TWIN = "WHERE tenant = current_tenant() AND twin_id = 'pump'"

REFUSED = {
    "target": RELATE.format("s", "1000000"),
    "source": "UPDATE relationship SET source_no = 0 WHERE tenant = current_tenant() AND relationship_id = 'r3'",
    "end": "DELETE FROM twin WHERE tenant = current_tenant() AND twin_id IN ('alone', 'asset')",
    "start": f"DELETE FROM twin {TWIN}",
    "number": f"UPDATE twin SET twin_no = twin_no + 1000000 {TWIN}",
    "model": MAKE.replace("%s", "'dtmi:t:None;1'"),
    "remodel": f"UPDATE twin SET model_id = 'dtmi:t:None;1' {TWIN}",
    "unmodel": "DELETE FROM model WHERE tenant = current_tenant()",
    "rename": "UPDATE model SET model_id = model_id || '1' WHERE tenant = current_tenant()",
}
ALLOWED = {
    "relate": "UPDATE relationship SET target_no = target_no, name = 'fed' WHERE tenant = current_tenant()",
    "make": MAKE.replace("%s", f"'{PUMP}'"),
    "remodel": f"UPDATE twin SET model_id = '{ROOM}' {TWIN}",
    "delete": "DELETE FROM twin WHERE tenant = current_tenant() AND twin_id = 'alone'",
    "unmodel": f"DELETE FROM model WHERE tenant = current_tenant() AND model_id = '{ROOM}'",
}


async def prepare(site: Site) -> None:
    for twin_id, model in (("pump", PUMP), ("asset", ASSET), ("alone", ASSET)):
        await site.put(twin_id, model)
    async with site.db.write(site.tenant) as tx:
        assert await tx.execute(RELATE.format("r", "0")) == 10


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_lead_nowhere_is_refused(play: Play, name: str) -> None:
    async def run(site: Site) -> None:
        await prepare(site)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            async with site.db.write(site.tenant) as tx:
                await tx.execute(REFUSED[name])

    play(run)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_leads_somewhere_is_taken(play: Play, name: str) -> None:
    async def run(site: Site) -> None:
        await prepare(site)
        async with site.db.write(site.tenant) as tx:
            assert await tx.execute(ALLOWED[name]) > 0

    play(run)

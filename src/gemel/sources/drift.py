"""How sources have drifted from their contracts, as rows. Owns the tables `source_drift` and `source_heard`.

What a batch shows commits with it, so that it is counted once. What only the clock shows, and what ended a source, is
written beside the tenant's head, as the state of a source is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from gemel.base.clock import from_us, iso_us
from gemel.contracts.watching import OTHERS, Drifted, Sighting
from gemel.security.audit import storable
from gemel.store.database import Database, ReadTransaction, WriteTransaction

__all__ = [
    "Drift",
    "Seen",
    "forget_drift",
    "keep_drift",
    "list_drift",
    "load_heard",
    "note_beside",
    "note_heard",
    "note_over",
]

ROWS_MAX: Final = 1000
PUT = """
INSERT INTO source_drift (tenant, source, finding, field, thing, contract, policy, lasting, first_seen, last_seen,
                          count, example)
SELECT current_tenant(), o.source, k, f, t, o.contract, p, l, o.at, o.at, c, e
FROM (SELECT %s::text AS source, %s::text AS contract, %s::timestamptz AS at) AS o,
    unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[], %s::bigint[], %s::text[])
        AS u (k, f, t, p, l, c, e)
ON CONFLICT (tenant, source, finding, field, thing) DO UPDATE SET contract = excluded.contract,
    policy = excluded.policy, lasting = excluded.lasting, last_seen = excluded.last_seen,
    count = source_drift.count + excluded.count, example = excluded.example"""
KEYS = """
SELECT finding, field, thing FROM source_drift
WHERE tenant = current_tenant() AND source = %s"""
OVER = """
UPDATE source_drift SET lasting = false
WHERE tenant = current_tenant() AND source = %s AND finding = 'silent' AND field = '' AND thing = ANY(%s)"""
LIST = """
SELECT finding, field, thing, contract, policy, lasting, (extract(epoch FROM first_seen) * 1000000)::bigint,
    (extract(epoch FROM last_seen) * 1000000)::bigint, count, example
FROM source_drift WHERE tenant = current_tenant() AND source = %s
ORDER BY lasting DESC, last_seen DESC, finding, field, thing"""
HEAR = """
INSERT INTO source_heard (tenant, source, things) VALUES (current_tenant(), %s, %s)
ON CONFLICT (tenant, source) DO UPDATE SET things = excluded.things"""
HEARD = "SELECT things FROM source_heard WHERE tenant = current_tenant() AND source = %s"
SILENT = """
SELECT thing FROM source_drift
WHERE tenant = current_tenant() AND source = %s AND finding = 'silent' AND field = '' AND lasting"""
FORGET_DRIFT = "DELETE FROM source_drift WHERE tenant = current_tenant() AND source = %s"
FORGET_HEARD = "DELETE FROM source_heard WHERE tenant = current_tenant() AND source = %s"


class Drift(msgspec.Struct, frozen=True, rename="camel"):
    """One way in which a source has drifted from its contract.

    `thing` is who is silent, null for every other finding; `field` is null for the whole sample, and * for fields
    beyond those that are told apart. `lasting` is true for a silence that has not ended.
    """

    finding: str
    field: str | None
    thing: str | None
    contract: str
    policy: str
    lasting: bool
    first_seen: str
    last_seen: str
    count: int
    example: str


class Seen(msgspec.Struct, frozen=True):
    """What was seen of a source under a contract, by its name and version, at a time (µs)."""

    source: str
    contract: str
    at_us: int
    drift: Mapping[Sighting, Drifted]


async def keep_drift(tx: WriteTransaction, seen: Seen) -> None:
    """Count what a batch showed, in its commit."""
    if seen.drift:
        known = await tx.rows(KEYS, (seen.source,))
        await tx.execute(PUT, _parameters(seen, known))


async def note_beside(database: Database, tenant: int, seen: Seen) -> None:
    """Count what no batch brings: who is silent, and what ended the source."""
    if seen.drift:
        known = await database.query(tenant, KEYS, (seen.source,))
        await database.query(tenant, PUT, _parameters(seen, known), read_only=False)


async def note_over(database: Database, tenant: int, source: str, things: Iterable[str]) -> None:
    """Note that things which were silent have been heard again."""
    names = [storable(thing) for thing in things]
    if names:
        await database.query(tenant, OVER, (source, names), read_only=False)


async def note_heard(database: Database, tenant: int, source: str, things: Mapping[str, int]) -> None:
    """Keep when each thing was last heard of (µs), for whoever reads the source next."""
    text = msgspec.json.encode({storable(thing): at_us for thing, at_us in things.items()}).decode()
    await database.query(tenant, HEAR, (source, text), read_only=False)


async def load_heard(database: Database, tenant: int, source: str) -> tuple[dict[str, int], set[str]]:
    """Return when each thing of a source was last heard of (µs), and those that are silent."""
    rows = await database.query(tenant, HEARD, (source,))
    silent = await database.query(tenant, SILENT, (source,))
    things: dict[str, int] = msgspec.json.decode(rows[0][0], type=dict[str, int]) if rows else {}
    return things, {str(row[0]) for row in silent}


async def list_drift(tx: ReadTransaction, source: str) -> list[Drift]:
    """Return how a source has drifted: what lasts, and then the newest first."""
    return [_drift(row) for row in await tx.rows(LIST, (source,))]


async def forget_drift(tx: WriteTransaction, source: str) -> None:
    """Forget how a source has drifted, and who was heard of."""
    await tx.execute(FORGET_DRIFT, (source,))
    await tx.execute(FORGET_HEARD, (source,))


def _parameters(seen: Seen, known: Sequence[Sequence[Any]]) -> list[Any]:
    """Return sightings as columns; beyond ROWS_MAX of them, new ones are counted together."""
    keys = {tuple(row) for row in known}
    rows: dict[tuple[str, str, str], Drifted] = {}
    for sighting, drifted in seen.drift.items():
        key = (sighting.finding, storable(sighting.field), storable(sighting.thing))
        if key not in keys and len(keys) >= ROWS_MAX:
            key = (sighting.finding, *((OTHERS, "") if not sighting.thing else ("", OTHERS)))
        keys.add(key)
        before = rows.get(key)
        rows[key] = drifted if before is None else replace(before, count=before.count + drifted.count)
    found = list(rows.values())
    return [
        seen.source,
        seen.contract,
        from_us(seen.at_us),
        *([key[part] for key in rows] for part in range(3)),
        [each.policy for each in found],
        [each.lasting for each in found],
        [each.count for each in found],
        [storable(each.example) for each in found],
    ]


def _drift(row: Sequence[Any]) -> Drift:
    finding, field, thing, contract, policy, lasting, first_us, last_us, count, example = row
    return Drift(
        finding,
        field or None,
        thing if finding == "silent" else None,
        contract,
        policy,
        lasting,
        iso_us(first_us),
        iso_us(last_us),
        count,
        example,
    )

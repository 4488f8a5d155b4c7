"""What is stored of each tenant, by tier, as its share of the tables on disk.

A table that is larger than PAGES_MAX pages is looked at by that many of them, spread evenly over it, and only if it
changed since: so measuring reads two megabytes of a table, however large it is. Shares of small tables are exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg
from psycopg import sql

from gemel.base.clock import to_us
from gemel.store.database import ReadTransaction

__all__ = [
    "SAMPLED",
    "TIERS",
    "Gauge",
    "Place",
    "Size",
    "Stored",
    "all_stored",
    "keep_stored",
    "read_stored",
    "unowned_bytes",
]

PAGES_MAX = 256
"""How many pages of 8 KiB of a table are looked at."""
RUN_PAGES = 2
"""How many of them lie side by side. Not TABLESAMPLE: it does not tell how many pages it took, only about how many."""

TIERS = {
    "sample_head": "head",
    "sample_pack": "packs",
    "sample": "rows",
    "sample_superseded": "superseded",
    "sample_gap": "superseded",
    "correction": "superseded",
    "rollup": "rollups",
    "rollup_stale": "rollups",
    "latest": "state",
    "latest_ended": "state",
    "promoted_value": "state",
    "change": "feed",
    "origin": "origins",
    "event_seen": "origins",
    "quarantine": "quarantine",
    "quarantine_expiry": "quarantine",
    "dead_letter": "quarantine",
    "model": "graph",
    "model_log": "graph",
    "path": "graph",
    "twin": "graph",
    "twin_span": "graph",
    "twin_stamp": "graph",
    "relationship": "graph",
    "relationship_span": "graph",
    "audit": "audit",
}
"""The tier of each table; of those that are not named it is OTHER."""
OTHER = "other"
COLD = "cold"
"""The tier of the files of frozen weeks, outside of the database."""
SAMPLED = ("head", "packs", "rows", COLD)
"""The tiers that samples are in: each is in one of them."""
HELD = {"sample": "1", "sample_head": "cardinality(source_times)", "sample_pack": "cardinality(source_times)"}
"""How many samples a row of a table holds."""
ROW_BYTES = 28
"""What a row has beside its columns: its header, and its entry in the page."""

# A leaf counts as the table that it is a part of. What has no column `tenant` is of nobody.
RELATIONS = """
SELECT c.oid, c.relname, coalesce(p.relname, c.relname), pg_total_relation_size(c.oid), pg_relation_size(c.oid) / 8192,
       s.n_tup_ins + s.n_tup_upd + s.n_tup_del,
       array(SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
FROM pg_class AS c JOIN pg_stat_user_tables AS s ON s.relid = c.oid
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid LEFT JOIN pg_class AS p ON p.oid = i.inhparent
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND attname = 'tenant' AND NOT attisdropped)"""
SHARES = """
SELECT tenant, sum({held})::bigint, sum({size})::bigint FROM ({rows}) AS seen GROUP BY tenant"""
EVERY_ROW = "SELECT * FROM {relation}"
ROWS_OF_RUN = "SELECT * FROM {relation} WHERE ctid >= {first} AND ctid < {end}"
DROP = """
DELETE FROM tenant_stored WHERE (tenant, tier) NOT IN (SELECT * FROM unnest(%s::int[], %s::text[]))"""
KEEP = """
INSERT INTO tenant_stored AS t (tenant, tier, bytes, samples, changed) SELECT *, clock_timestamp()
FROM unnest(%s::int[], %s::text[], %s::bigint[], %s::bigint[]) ORDER BY 1, 2
ON CONFLICT (tenant, tier) DO UPDATE
SET bytes = excluded.bytes, samples = excluded.samples, changed = excluded.changed
WHERE (t.bytes, t.samples) IS DISTINCT FROM (excluded.bytes, excluded.samples)"""
READ = "SELECT tier, bytes, samples, changed FROM tenant_stored WHERE tenant = current_tenant() ORDER BY tier"
ALL = "SELECT tenant, tier, bytes, samples, changed FROM tenant_stored ORDER BY tenant, tier"
UNOWNED = """
SELECT pg_database_size(current_database()) - coalesce(sum(bytes), 0) FROM tenant_stored WHERE tier <> 'cold'"""
# Of a series that was thawed the file has samples that are elsewhere, too: they are counted there.
COLD_FILES = """
SELECT w.tenant, sum(w.bytes)::bigint, sum(greatest(0, w.samples - t.samples))::bigint
FROM cold_week AS w CROSS JOIN LATERAL (
    SELECT coalesce(sum(samples), 0) AS samples FROM cold_thawed AS c
    WHERE c.tenant = w.tenant AND c.week = w.week) AS t
GROUP BY w.tenant"""


class Stored(NamedTuple):
    """What a tier has of a tenant since `changed_us`: bytes on disk, and samples, None where it holds others."""

    tier: str
    bytes: int
    samples: int | None
    changed_us: int


Place = tuple[int, str]
"""The number of a tenant, and a tier."""


class Size(NamedTuple):
    """How many bytes and samples there are."""

    bytes: int
    samples: int


class _Relation(NamedTuple):
    oid: int
    name: str
    table: str
    bytes: int
    pages: int
    writes: int
    columns: list[str]


class _Share(NamedTuple):
    tenant: int
    samples: int
    bytes: int


@dataclass(slots=True)
class Gauge:
    """Measures all tables, and remembers those that did not change since the last time."""

    _known: dict[int, tuple[tuple[int, int], list[_Share]]] = field(default_factory=dict)

    def measure(
        self, owner: psycopg.Connection, stopping: Callable[[], bool] = lambda: False
    ) -> dict[Place, Size] | None:
        """Return what each tenant has in each tier, None where it was stopped. The owner sees all tenants."""
        sums: defaultdict[Place, Size] = defaultdict(lambda: Size(0, 0))
        found = [_Relation(*row) for row in owner.execute(RELATIONS)]
        self._known = {each.oid: self._known[each.oid] for each in found if each.oid in self._known}
        for relation in found:
            if stopping():
                return None
            tier = TIERS.get(relation.table, OTHER)
            for tenant, samples, size in self._shares(owner, relation):
                held = sums[tenant, tier]
                sums[tenant, tier] = Size(held.bytes + size, held.samples + samples)
        for tenant, size, samples in owner.execute(COLD_FILES):
            sums[tenant, COLD] = Size(size, samples)
        return dict(sums)

    def _shares(self, owner: psycopg.Connection, relation: _Relation) -> list[_Share]:
        seen = (relation.bytes, relation.writes)
        known = self._known.get(relation.oid)
        if known is None or known[0] != seen:
            known = self._known[relation.oid] = (seen, _look(owner, relation))
        return known[1]


def _look(owner: psycopg.Connection, relation: _Relation) -> list[_Share]:
    sizes = [
        sql.SQL("coalesce(pg_column_size({}), 0)").format(sql.Identifier(name)) for name in relation.columns
    ]
    statement = sql.SQL(SHARES).format(
        held=sql.SQL(HELD.get(relation.table, "0")),
        size=sql.SQL(" + ").join([sql.Literal(ROW_BYTES), *sizes]),
        rows=_rows(relation),
    )
    part = max(1.0, relation.pages / PAGES_MAX)
    try:
        rows = [_Share(*row) for row in owner.execute(statement)]
    except psycopg.errors.UndefinedTable:
        return []  # dropped meanwhile
    seen_bytes = sum(row.bytes for row in rows)
    return [
        _Share(row.tenant, round(row.samples * part), relation.bytes * row.bytes // seen_bytes)
        for row in rows
    ]


def _rows(relation: _Relation) -> sql.Composable:
    name = sql.Identifier(relation.name)
    if relation.pages <= PAGES_MAX:
        return sql.SQL(EVERY_ROW).format(relation=name)
    runs = PAGES_MAX // RUN_PAGES
    starts = [run * (relation.pages - RUN_PAGES) // (runs - 1) for run in range(runs)]
    return sql.SQL(" UNION ALL ").join(
        sql.SQL(ROWS_OF_RUN).format(
            relation=name,
            first=sql.Literal(f"({start},0)"),
            end=sql.Literal(f"({start + RUN_PAGES},0)"),
        )
        for start in starts
    )


def keep_stored(owner: psycopg.Connection, measured: Mapping[Place, Size]) -> None:
    """Put what was measured in the place of what was before, at once; what is as it was is left alone."""
    tenants, tiers = [tenant for tenant, _ in measured], [tier for _, tier in measured]
    sizes = [size.bytes for size in measured.values()]
    samples = [size.samples if tier in SAMPLED else None for (_, tier), size in measured.items()]
    with owner.transaction():
        owner.execute(DROP, (tenants, tiers))
        owner.execute(KEEP, (tenants, tiers, sizes, samples))


async def read_stored(tx: ReadTransaction) -> list[Stored]:
    """Return what is stored of a tenant, by tier; nothing before it was measured first."""
    return [Stored(tier, size, samples, to_us(at)) for tier, size, samples, at in await tx.rows(READ)]


def all_stored(owner: psycopg.Connection) -> dict[int, list[Stored]]:
    """Return what is stored of every tenant, by its number."""
    found: defaultdict[int, list[Stored]] = defaultdict(list)
    for tenant, tier, size, samples, at in owner.execute(ALL):
        found[tenant].append(Stored(tier, size, samples, to_us(at)))
    return found


def unowned_bytes(owner: psycopg.Connection) -> int:
    """Return how many bytes of the database are no tenant's: empty tables, the catalogue, free space."""
    row = owner.execute(UNOWNED).fetchone()
    assert row is not None
    return int(row[0])

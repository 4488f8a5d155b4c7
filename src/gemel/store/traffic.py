"""Traffic of tenants in the database: kept by the hour, by the day once it is old, and read in buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg

from gemel.base.clock import from_us, to_us
from gemel.observe.traffic import Key, Volume
from gemel.store.database import ReadTransaction

__all__ = ["HOURS_DAYS", "TrafficBucket", "all_traffic", "fold_traffic", "keep_traffic", "read_traffic"]

HOURS_DAYS = 60
"""For how many days traffic is kept by the hour."""

# In the order of the key, so that two processes never wait for each other.
KEEP = """
INSERT INTO tenant_traffic AS t (tenant, hour, channel, calls, received, sent)
SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS n (tenant, hour, channel, calls, received, sent)
ORDER BY tenant, hour, channel
ON CONFLICT (tenant, hour, channel) DO UPDATE
SET calls = t.calls + excluded.calls, received = t.received + excluded.received, sent = t.sent + excluded.sent"""
FOLD = """
WITH gone AS (
    DELETE FROM tenant_traffic
    WHERE hour < date_trunc('day', now(), 'UTC') - %s * interval '24 hours' AND hour <> date_trunc('day', hour, 'UTC')
    RETURNING *)
INSERT INTO tenant_traffic AS t (tenant, hour, channel, calls, received, sent)
SELECT tenant, date_trunc('day', hour, 'UTC'), channel, sum(calls), sum(received), sum(sent)
FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (tenant, hour, channel) DO UPDATE
SET calls = t.calls + excluded.calls, received = t.received + excluded.received, sent = t.sent + excluded.sent"""
READ = """
SELECT date_bin(make_interval(secs => %s), hour, '1970-01-01 00:00+00'), channel,
       sum(calls)::bigint, sum(received)::bigint, sum(sent)::bigint
FROM tenant_traffic WHERE tenant = current_tenant() AND hour >= %s AND hour < %s
GROUP BY 1, 2 ORDER BY 1, 2"""
ALL = """
SELECT tenant, sum(calls)::bigint, sum(received)::bigint, sum(sent)::bigint
FROM tenant_traffic WHERE hour >= %s GROUP BY tenant"""


class TrafficBucket(NamedTuple):
    """What came and went in a stretch that starts at `time_us` (µs), by one channel."""

    time_us: int
    channel: str
    volume: Volume


def keep_traffic(owner: psycopg.Connection, taken: Mapping[Key, Volume]) -> None:
    """Add what a process counted to what is kept, in one statement."""
    columns: Sequence[list[object]] = [[], [], [], [], [], []]
    for key, volume in taken.items():
        row = (key.tenant, from_us(key.hour_us), key.channel, *volume)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    owner.execute(KEEP, columns)


def fold_traffic(owner: psycopg.Connection) -> None:
    """Make days of the hours that are older than HOURS_DAYS."""
    owner.execute(FOLD, (HOURS_DAYS,))


async def read_traffic(tx: ReadTransaction, start_us: int, end_us: int, every_us: int) -> list[TrafficBucket]:
    """Return a tenant's traffic between two times (µs) in buckets of `every_us`, whole hours, by channel."""
    rows = await tx.rows(READ, (every_us / 1e6, from_us(start_us), from_us(end_us)))
    return [TrafficBucket(to_us(at), channel, Volume(*sums)) for at, channel, *sums in rows]


def all_traffic(owner: psycopg.Connection, since_us: int) -> dict[int, Volume]:
    """Return the traffic of every tenant since a time (µs), by its number."""
    return {tenant: Volume(*sums) for tenant, *sums in owner.execute(ALL, (from_us(since_us),))}

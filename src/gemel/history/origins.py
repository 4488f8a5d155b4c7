"""Which events the values of a request came from: one compact row a request, found by a value's recorded time.

Each event of a request has a recorded time of its own, counted on from the request's first. What is common to
many events is kept once: sources and types are numbered, and the whole is deflated.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import numpy as np
import psycopg

from gemel.base.clock import from_us
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "EventColumns",
    "EventOrigin",
    "Origin",
    "Sending",
    "forget_origins",
    "pack_origin",
    "read_origins",
    "store_origins",
]

DEFLATE_LEVEL = 1
INLINE_ROWS = 4
"""Rows that are inflated on the event loop; more go to a thread."""

STORE = """
INSERT INTO origin (tenant, recorded_from, recorded_to, newest, body)
SELECT current_tenant(), * FROM unnest(%s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::bytea[])"""
READ = """
WITH found AS (
    SELECT k.us, o.recorded_to FROM unnest(%s::bigint[], %s::timestamptz[]) AS k (us, recorded)
    CROSS JOIN LATERAL (
        SELECT recorded_from, recorded_to FROM origin
        WHERE tenant = current_tenant() AND recorded_to >= k.recorded ORDER BY recorded_to LIMIT 1) AS o
    WHERE o.recorded_from <= k.recorded)
SELECT f.us, (extract(epoch FROM o.recorded_from) * 1000000)::bigint, o.body
FROM (SELECT recorded_to, array_agg(us) AS us FROM found GROUP BY recorded_to) AS f
JOIN origin AS o ON o.tenant = current_tenant() AND o.recorded_to = f.recorded_to"""


# What explains a sample that is kept, explains it as long: the last of its series before the line.
KEPT = """
CREATE TEMPORARY TABLE kept_recorded AS
SELECT DISTINCT recorded FROM sample WHERE tenant = %s AND source_time < %s"""
FORGET = """
DELETE FROM origin AS o WHERE o.tenant = %s AND o.newest < %s AND NOT EXISTS (
    SELECT FROM kept_recorded AS k WHERE k.recorded BETWEEN o.recorded_from AND o.recorded_to)"""


class Sending(msgspec.Struct, array_like=True, frozen=True):
    """What a request says of all its events: the source they were read from and how far, its file, the mapping."""

    source: str | None = None
    position: str | None = None
    file: str | None = None
    mapping: str | None = None


class EventColumns(NamedTuple):
    """The n events of a request as columns; one name stands for all where all have it.

    `untimed` has the indices of those that named no time. Where there are no ids, that of each event is
    `id_base`, "-", and its index.
    """

    ids: Sequence[str]
    sources: Sequence[str]
    types: Sequence[str]
    untimed: Sequence[int]
    id_base: str = ""


class Origin(NamedTuple):
    """A packed request: the recorded times (µs) of its first and last event, and its newest source time (µs)."""

    first_us: int
    last_us: int
    newest_us: int
    body: bytes


class EventOrigin(NamedTuple):
    """The event that a value came from: its names, its place in its request from 0, whether it named its time."""

    id: str
    source: str
    type: str
    place: int
    timed: bool
    sending: Sending


class _Body(msgspec.Struct, array_like=True, frozen=True):
    sending: Sending
    ids: Sequence[str]
    sources: list[str]
    source_nos: bytes
    types: list[str]
    type_nos: bytes
    untimed: bytes
    id_base: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


def pack_origin(events: EventColumns, sending: Sending) -> bytes:
    """Return the body of a request's row."""
    sources, types = _numbered(events.sources), _numbered(events.types)
    untimed = np.array(events.untimed, "<u4").tobytes()
    body = _Body(sending, events.ids, *sources, *types, untimed, events.id_base)
    return zlib.compress(_encoder.encode(body), DEFLATE_LEVEL)


async def store_origins(tx: WriteTransaction, origins: Sequence[Origin]) -> None:
    """Keep the rows of requests in the transaction of their values."""
    if origins:
        first = [from_us(row.first_us) for row in origins]
        last = [from_us(row.last_us) for row in origins]
        newest = [from_us(row.newest_us) for row in origins]
        await tx.execute(STORE, (first, last, newest, [row.body for row in origins]))


async def read_origins(tx: ReadTransaction, recorded_us: Collection[int]) -> dict[int, EventOrigin]:
    """Return the event that had each recorded time (µs); a time that no event had is left out."""
    wanted = sorted(set(recorded_us))
    if not wanted:
        return {}
    rows = await tx.rows(READ, (wanted, [from_us(each) for each in wanted]))
    return _events(rows) if len(rows) <= INLINE_ROWS else await asyncio.to_thread(_events, rows)


def forget_origins(owner: psycopg.Connection, tenant: int, line: datetime) -> None:
    """Forget the requests of a tenant of whose values before a retention line none is kept any more."""
    with owner.transaction():
        owner.execute(KEPT, (tenant, line))
        owner.execute("CREATE INDEX ON kept_recorded (recorded)")
        owner.execute("ANALYZE kept_recorded")
        owner.execute(FORGET, (tenant, line))
        owner.execute("DROP TABLE kept_recorded")


def _events(rows: Sequence[tuple[list[int], int, bytes]]) -> dict[int, EventOrigin]:
    found: dict[int, EventOrigin] = {}
    for recorded_us, first_us, packed in rows:
        body = _decoder.decode(zlib.decompress(packed))
        sources, types = np.frombuffer(body.source_nos, "<u4"), np.frombuffer(body.type_nos, "<u4")
        untimed = frozenset(np.frombuffer(body.untimed, "<u4").tolist())
        for each in recorded_us:
            index = each - first_us
            found[each] = EventOrigin(
                body.ids[index] if body.ids else f"{body.id_base}-{index}",
                body.sources[sources[index] if len(sources) else 0],
                body.types[types[index] if len(types) else 0],
                index,
                index not in untimed,
                body.sending,
            )
    return found


def _numbered(texts: Sequence[str]) -> tuple[list[str], bytes]:
    """Return the different texts, and which of them each is; nothing where all are the same."""
    # Comparing is cheaper than hashing, and usually all are alike.
    if not texts or texts.count(texts[0]) == len(texts):
        return list(texts[:1]), b""
    names = list(dict.fromkeys(texts))
    numbers = {name: number for number, name in enumerate(names)}
    return names, np.array([numbers[text] for text in texts], "<u4").tobytes()

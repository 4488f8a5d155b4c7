"""All samples of a series in a range: the one place that knows where they lie.

A sample is a row of `sample`, or stands among others in a row of `sample_pack` or `sample_head`: there plain numbers
that were newer than everything of their series as they came; or is in the file of a frozen week, of which the
transaction has what was staged for it. Each key is in one of the four.
"""

from __future__ import annotations

from typing import NamedTuple

from gemel.history.paths import PATH_BITS
from gemel.history.samples import Ints
from gemel.store.carried import when_carried
from gemel.store.columns import bigints, timestamps
from gemel.store.database import WriteTransaction

__all__ = [
    "BUCKET_BITS",
    "COLD_SLOTS",
    "EACH",
    "EACH_OF_HEAD",
    "KEYS",
    "LOOSE",
    "ROW",
    "WEEK",
    "Stretch",
    "cold_samples",
    "sample_at",
    "stored_samples",
    "unpack",
]

BUCKET_BITS = 23
"""A row of the head is of series that are equal above these bits: of eight twins."""
WEEK = "interval '168 hours'"

ROW = "series, source_time, recorded, num, kind, doc, revision, quality"
EVERY = f"{ROW}, late"
PLAIN = """
    coalesce(un.kind, 0::smallint) AS kind, NULL::jsonb AS doc, 0 AS revision, 0::smallint AS quality, false AS late"""
EACH = """unnest(pk.source_times, pk.recorded_times, pk.nums, pk.kinds)
        AS un (source_time, recorded, num, kind)"""
EACH_OF_HEAD = """unnest(pk.series, pk.source_times, pk.recorded_times, pk.nums, pk.kinds)
        AS un (series, source_time, recorded, num, kind)"""

ROWS = (
    "(SELECT {columns} FROM sample WHERE tenant = current_tenant() AND series = {series} AND {where} {sort})"
)
# Packs of a series do not overlap: in their order, and within each in its own, samples stand in the order of time.
PACKS = f"""(SELECT {{columns}} FROM (
    SELECT pk.series, un.source_time, un.recorded, un.num, {PLAIN}, pk.first_time
    FROM sample_pack AS pk CROSS JOIN LATERAL {EACH}
    WHERE pk.tenant = current_tenant() AND pk.series = {{series}} {{since}} {{until}}) AS sample
    WHERE {{where}} {{sort}})"""
# Since packs do not overlap, one alone of those that begin before a time may reach beyond it: the newest.
REACHES = """(SELECT coalesce((SELECT b.first_time FROM sample_pack AS b
    WHERE b.tenant = current_tenant() AND b.series = {series} AND b.first_time <= {low}
    ORDER BY b.first_time DESC LIMIT 1), '-infinity'))"""
HEADS = f"""(SELECT {{columns}} FROM (
    SELECT un.series, un.source_time, un.recorded, un.num, {PLAIN}
    FROM sample_head AS pk CROSS JOIN LATERAL {EACH_OF_HEAD}
    WHERE pk.tenant = current_tenant() AND pk.bucket = {{series}} >> {BUCKET_BITS} {{since}} {{until}}) AS sample
    WHERE series = {{series}} AND {{where}} {{sort}})"""
# What was read of cold files for this transaction (gemel.history.cold) comes with it, in settings: for some series each
# a list of pieces, and the pieces, of which only those are parsed that a stretch meets.
COLD_SLOTS = 16_384
COLD_US = "to_timestamp(0) + {} * interval '1 microsecond'"
COLD = f"""(SELECT {{columns}} FROM (
    SELECT pk.s AS series, {COLD_US.format("c.t")} AS source_time, {COLD_US.format("c.r")} AS recorded, c.n AS num,
           c.k AS kind, c.d::jsonb AS doc, c.v AS revision, c.q AS quality, c.l AS late
    FROM (SELECT {{series}} AS no) AS one
    CROSS JOIN LATERAL (
        SELECT s, p, {COLD_US.format("a")} AS first_time, {COLD_US.format("z")} AS last_time
        FROM json_to_recordset(
            nullif(current_setting('gemel.cold_' || ((no # (no >> {PATH_BITS})) & {COLD_SLOTS - 1}), true), '')::json)
            AS piece (s bigint, p int, a bigint, z bigint)) AS pk
    CROSS JOIN LATERAL json_to_recordset(current_setting('gemel.cold_piece_' || pk.p)::json)
        AS c (t bigint, r bigint, n float8, k smallint, d text, v int, q smallint, l boolean)
    WHERE pk.s = no {{since}} {{until}}) AS sample WHERE {{where}} {{sort}})"""
# Rows are looked for beyond what is packed alone: so the leaves of weeks before that are not looked at.
NEWEST = """(SELECT {columns} FROM (SELECT 1) AS one
    LEFT JOIN LATERAL (
        SELECT * FROM ({packs} UNION ALL {heads} {cold}) AS packed
        ORDER BY source_time DESC LIMIT 1) AS pk ON true
    CROSS JOIN LATERAL (
        SELECT pk.* WHERE pk.source_time IS NOT NULL
        UNION ALL
        (SELECT {every} FROM sample WHERE tenant = current_tenant() AND series = {series} AND {where}
            AND source_time > coalesce(pk.source_time, '-infinity') ORDER BY source_time DESC LIMIT 1)) AS sample
    ORDER BY sample.source_time DESC LIMIT 1)"""
# Its place is looked for in the one pack that may have it; only where it has none, it is looked for elsewhere.
AT = """(SELECT {columns} FROM (SELECT 1) AS one
    LEFT JOIN LATERAL (
        SELECT pk.nums, pk.kinds, array_position(pk.source_times, {time}) AS place FROM sample_pack AS pk
        WHERE pk.tenant = current_tenant() AND pk.series = {series} AND pk.first_time <= {time}
        ORDER BY pk.first_time DESC LIMIT 1) AS pk ON true
    CROSS JOIN LATERAL (
        SELECT pk.nums[place] AS num, coalesce(pk.kinds[place], 0::smallint) AS kind, NULL::jsonb AS doc
        WHERE pk.place IS NOT NULL
        UNION ALL
        SELECT num, kind, doc FROM {others} AS own WHERE pk.place IS NULL) AS sample)"""

SPANS = """unnest(%(series)s::bigint[], %(low)s::timestamptz[], %(high)s::timestamptz[])
        AS k (series, low, high)"""
LOOSE = """
INSERT INTO sample (tenant, series, source_time, recorded, num, kind, revision, quality)
SELECT {tenant}, {series}, un.source_time, un.recorded, un.num, coalesce(un.kind, 0), 0, 0
FROM gone AS pk CROSS JOIN LATERAL {each} ORDER BY 2, 3"""
"""Packed samples that are `gone` made rows, on whoever's connection."""
UNPACK_HEADS = f"""
WITH gone AS (
    DELETE FROM sample_head AS p
    USING (SELECT k.*, k.series >> {BUCKET_BITS} AS bucket FROM {SPANS} OFFSET 0) AS k
    WHERE p.tenant = current_tenant() AND p.bucket = k.bucket AND p.first_time <= k.high AND p.last_time >= k.low
        AND k.series = ANY(p.series)
    RETURNING p.series, p.source_times, p.recorded_times, p.nums, p.kinds)
{LOOSE.format(tenant="current_tenant()", series="un.series", each=EACH_OF_HEAD)}"""
UNPACK_PACKS = f"""
WITH gone AS (
    DELETE FROM sample_pack AS p
    USING (SELECT k.*, {REACHES.format(series="k.series", low="k.low")} AS since FROM {SPANS} OFFSET 0) AS k
    WHERE p.tenant = current_tenant() AND p.series = k.series AND p.first_time >= k.since
        AND p.first_time <= k.high AND p.last_time >= k.low
    RETURNING p.series, p.source_times, p.recorded_times, p.nums, p.kinds)
{LOOSE.format(tenant="current_tenant()", series="pk.series", each=EACH)}"""


class Stretch(NamedTuple):
    """Between which source times samples may lie, both inclusive, as SQL of no columns but those outside; None: any."""

    low: str | None = None
    high: str | None = None


KEYS = (
    "k.series",
    Stretch("k.source_time", "k.source_time"),
    "source_time = k.source_time AND source_time BETWEEN %(first)s AND %(last)s",
)
"""What `stored_samples` takes for the samples of keys `k`, which all lie between the parameters `first` and `last`."""


def stored_samples(
    series: str,
    stretch: Stretch,
    where: str,
    order: str = "",
    limit: str | None = None,
    columns: str = ROW,
) -> str:
    """Return SQL for samples of one series, an expression; it stands where a table may stand in a FROM.

    `where` narrows them further, by the names of ROW, and says all that `stretch` says: that is what packs are found
    by. `order` is ASC or DESC, by source time, and `limit` an expression. `columns` may also name `late`.
    """
    since, until = _bounds(stretch)
    packs_since = since and f"{since} AND pk.first_time >= {REACHES.format(series=series, low=stretch.low)}"
    newest = order == "DESC" and limit == "1"
    # By its time the newest is told, so it is among the columns till then.
    every = ", ".join(dict.fromkeys(["source_time", *columns.split(", ")])) if newest else columns
    given = {"columns": every, "series": series, "where": where, "until": until}
    sort, packs_sort = _sorts(order, limit)
    packs = PACKS.format(**given, since=packs_since, sort=packs_sort)
    heads = HEADS.format(**given, since=since, sort=sort or "OFFSET 0")
    cold = when_carried(f"UNION ALL {COLD.format(**given, since=since, sort=sort)}")
    if newest:
        own = ", ".join(f"sample.{name}" for name in columns.split(", "))
        arms = {"packs": packs, "heads": heads, "cold": cold}
        return NEWEST.format(columns=own, every=every, series=series, where=where, **arms)
    rows = ROWS.format(**given, sort=sort)
    return f"(SELECT {columns} FROM ({rows} UNION ALL {packs} UNION ALL {heads} {cold}) AS sample {sort})"


def cold_samples(series: str, where: str, columns: str = ROW) -> str:
    """Return SQL for those samples of one series alone that the transaction carries of cold files."""
    return COLD.format(series=series, where=where, columns=columns, since="", until="", sort="")


def sample_at(series: str, time: str, where: str) -> str:
    """Return SQL for the sample of one key, both parts of it expressions: num, kind and doc, one row at most.

    `where` says what is known of its source time, where that is no bad one: by it leaves are passed over.
    """
    given = {"series": series, "where": f"source_time = {time} AND {where}", "columns": "num, kind, doc"}
    since, until = _bounds(Stretch(time, time))
    heads = HEADS.format(**given, since=since, until=until, sort="OFFSET 0")
    rows = ROWS.format(**given, sort="")
    cold = when_carried(f"UNION ALL {COLD.format(**given, since=since, until=until, sort='')}")
    others = f"({rows} UNION ALL {heads} {cold})"
    return AT.format(columns="num, kind, doc", series=series, time=time, others=others)


async def unpack(tx: WriteTransaction, series: Ints, low_us: Ints, high_us: Ints) -> None:
    """Make rows of `sample` of the packed samples of some series between source times (µs, inclusive), for a change.

    What is packed with them becomes rows as well. The weeks' leaves are there: they were made before it was written.
    """
    spans = {
        "series": bigints(series),
        "low": timestamps(low_us),
        "high": timestamps(high_us),
    }
    # In this order: what is packed meanwhile is no longer in the head, and then seen among the packs.
    await tx.execute(UNPACK_HEADS, spans)
    await tx.execute(UNPACK_PACKS, spans)


def _bounds(stretch: Stretch) -> tuple[str, str]:
    since = f"AND pk.last_time >= {stretch.low}" if stretch.low else ""
    until = f"AND pk.first_time <= {stretch.high}" if stretch.high else ""
    return since, until


def _sorts(order: str, limit: str | None) -> tuple[str, str]:
    if not order:
        return "", ""
    cut = f"LIMIT {limit}" if limit else ""
    return (
        f"ORDER BY source_time {order} {cut}",
        f"ORDER BY first_time {order}, source_time {order} {cut}",
    )

"""Sums of one series over a window, as SQL: of roll-ups where they are good, and of samples elsewhere.

As `gemel.history.rolled` has it for buckets: a roll-up is good where it is there and its day is not marked as stale.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from gemel.base.clock import from_us
from gemel.history.rollups import NUMBER
from gemel.history.stale import DAY_US, EVERY_SERIES
from gemel.history.stored import Stretch, stored_samples
from gemel.history.values import BAD, JSON

__all__ = ["Buckets", "buckets_within", "summed"]

HOUR_US = 3_600_000_000
BUCKETS_MIN, BUCKETS_MAX = 6, 1_200
"""Of how many roll-ups it is worth it: each is looked up by itself."""

# What is missing becomes as few stretches as there can be.
SUMMED = """(WITH wanted AS (
    SELECT u.place, u.start, u.minutes, r.*
    FROM unnest(%(starts)s::timestamptz[], %(minutes)s::smallint[]) WITH ORDINALITY AS u (start, minutes, place)
    LEFT JOIN LATERAL (
        SELECT samples, numbers, total, low, high FROM rollup
        WHERE tenant = current_tenant() AND series = {series} AND rollup.minutes = u.minutes AND bucket = u.start
        AND NOT EXISTS (
            SELECT FROM rollup_stale AS t WHERE t.tenant = current_tenant() AND t.series IN ({series}, {every})
            AND t.day = date_bin('24 hours', u.start, to_timestamp(0))) OFFSET 0) AS r ON true),
gaps (start, until) AS (
    SELECT min(start), max(start + minutes * interval '1 minute') FROM (
        SELECT start, minutes, place - row_number() OVER (ORDER BY place) AS island
        FROM wanted WHERE samples IS NULL) AS missing
    GROUP BY island
    UNION ALL
    SELECT * FROM (VALUES (%(low)s::timestamptz, %(first)s::timestamptz), (%(last)s, %(high)s)) AS ends (start, until)
    WHERE start < until)
SELECT samples, numbers, total, low, high FROM wanted WHERE samples IS NOT NULL
UNION ALL
SELECT 1, (s.number IS NOT NULL)::int, s.number, s.number, s.number
FROM gaps CROSS JOIN LATERAL (SELECT {number} AS number FROM {samples} AS own OFFSET 0) AS s)"""


class Buckets(NamedTuple):
    """The roll-ups of a window: where each starts, how many minutes it has; where the first starts, the last ends."""

    starts: list[datetime]
    minutes: list[int]
    first: datetime
    last: datetime


def buckets_within(low_us: int, high_us: int) -> Buckets | None:
    """Return the roll-ups between two source times (µs), days and hours at their ends; None where samples do."""
    first_us, last_us = -(-low_us // HOUR_US) * HOUR_US, high_us // HOUR_US * HOUR_US
    buckets: list[tuple[int, int]] = []
    at_us = first_us
    while at_us < last_us and len(buckets) <= BUCKETS_MAX:
        width_us = DAY_US if at_us % DAY_US == 0 and at_us + DAY_US <= last_us else HOUR_US
        buckets.append((at_us, width_us // 60_000_000))
        at_us += width_us
    if not BUCKETS_MIN <= len(buckets) <= BUCKETS_MAX:
        return None
    starts, minutes = zip(*buckets, strict=True)
    return Buckets([from_us(each) for each in starts], list(minutes), from_us(first_us), from_us(last_us))


def summed(series: str) -> str:
    """Return SQL for rows that together are the sums of a series over a window.

    Columns: samples, how many of them are numbers, and of these total, low and high. It stands where a table may stand
    in a FROM. `series` is an expression. Parameters: `low` and, without it, `high`, and those of `Buckets`. Bad samples
    and removals do not count.
    """
    samples = stored_samples(
        series,
        Stretch("gaps.start", "gaps.until"),
        f"source_time >= gaps.start AND source_time < gaps.until AND quality < {BAD} AND kind <= {JSON}",
        columns="num, doc",
    )
    return SUMMED.format(series=series, every=EVERY_SERIES, number=NUMBER, samples=samples)

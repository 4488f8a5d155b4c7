"""What packing and merging share: how samples are gathered and cut to packs, and in what slices that is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from gemel.history.stored import WEEK

__all__ = ["CUT", "GATHERED", "PACK_MAX", "SETTINGS", "WEEKLY", "slices"]

PACK_MAX = 144
"""The most samples of a pack: two packs fit a page."""
WAIT_MS = 400
"""How long a slice waits for who changes what is in it, then it is left for the next time. The database looks for
deadlocks later: so where each waits for the other, it is the writer who goes on."""
SETTINGS = f"SET jit = off; SET work_mem = '32MB'; SET lock_timeout = {WAIT_MS}"

WEEKLY = f"date_bin({WEEK}, {{}}, '1970-01-05 00:00+00')"
GATHERED = f"""
    SELECT {{series}} AS series, array_agg(source_time ORDER BY source_time) AS source_times,
           array_agg(recorded ORDER BY source_time) AS recorded_times, array_agg(num ORDER BY source_time) AS nums,
           CASE WHEN bool_or(kind <> 0) THEN array_agg(coalesce(kind, 0) ORDER BY source_time) END AS kinds
    FROM gone AS pk CROSS JOIN LATERAL {{each}}
    GROUP BY {{series}}, {WEEKLY.format("source_time")}"""
"""The samples of packs or rows of the head that are `gone`, by series and week."""
# Evenly, so that none is much smaller than the others.
CUT = f"""
INSERT INTO sample_pack (tenant, series, first_time, last_time, source_times, recorded_times, nums, kinds)
SELECT %(tenant)s, series, source_times[low], source_times[high], source_times[low:high], recorded_times[low:high],
       nums[low:high], kinds[low:high]
FROM packed
CROSS JOIN LATERAL (SELECT cardinality(source_times) AS size) AS whole
CROSS JOIN LATERAL (SELECT ceil(size / ceil(size / {PACK_MAX}::float8))::int AS step) AS cut
CROSS JOIN LATERAL generate_series(1, size, step) AS low
CROSS JOIN LATERAL (SELECT least(low + step - 1, size) AS high) AS until"""
"""Makes packs of what is `packed` by series and week."""


class Due(Protocol):
    """What is to be done for a tenant, and how much it is."""

    @property
    def tenant(self) -> int: ...
    @property
    def size(self) -> int: ...


D = TypeVar("D", bound=Due)


def slices(due: Iterable[D], size_max: int) -> Iterator[list[D]]:
    """Return what is due, in its order, in parts of one tenant each that end as soon as they have so much."""
    part: list[D] = []
    size = 0
    for one in due:
        if part and (one.tenant != part[0].tenant or size >= size_max):
            yield part
            part, size = [], 0
        part.append(one)
        size += one.size
    if part:
        yield part

"""Packing: what stands in the head by commit is gathered by series, behind the writers and without their lock.

Runs on the owner's connection, which sees all tenants. One process packs; so packs of a series never overlap.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import psycopg
import structlog

from gemel.history.merging import merge_packs
from gemel.history.packs import CUT, GATHERED, SETTINGS, slices
from gemel.history.stored import EACH_OF_HEAD

__all__ = ["Packer", "pack_heads"]

EVERY_S = 1.0
AGAIN_S = 5.0
MERGE_EVERY_S, MERGE_S = 60.0, 5.0
"""How often small packs are merged, and how long at a time: meanwhile what comes waits in the head."""
MERGE_SHARE = 0.05
"""How much of the time that may take: where it takes longer it is done less often."""
ROWS_MAX = 24
"""How many rows of a bucket wait: each read of one of its series looks at all of them."""
AGE_S = 30
"""How long the first of them waits."""
SLICE_SAMPLES = 200_000
"""About how many samples are packed in a transaction: a writer that corrects one of them waits for its end."""
VACUUM_ROWS = 20_000
"""How many rows leave the head before their place is cleared for others: so it stays as small as what it holds."""

ALONE = "SELECT pg_try_advisory_lock(hashtext('gemel.packing'))"
DUE = """
SELECT tenant, bucket, max(change_no), count(*), sum(cardinality(source_times)) FROM sample_head
GROUP BY tenant, bucket
HAVING count(*) >= %s OR min(recorded_times[1]) < now() - %s * interval '1 second'
ORDER BY tenant, bucket"""
PACK = f"""
WITH gone AS (
    DELETE FROM sample_head AS h USING unnest(%(buckets)s::bigint[], %(upto)s::bigint[]) AS due (bucket, upto)
    WHERE h.tenant = %(tenant)s AND h.bucket = due.bucket AND h.change_no <= due.upto
    RETURNING h.series, h.source_times, h.recorded_times, h.nums, h.kinds),
packed AS ({GATHERED.format(series="un.series", each=EACH_OF_HEAD)})
{CUT}"""

CLEAR = "VACUUM (TRUNCATE off, SKIP_LOCKED) sample_head_leaf"

log = structlog.get_logger(__name__)


class _Due(NamedTuple):
    tenant: int
    bucket: int
    upto: int
    rows: int
    size: int


class Packer:
    """Packs what is due, again and again, and merges what is small.

    While the database is away, or another process packs, it waits.
    """

    def __init__(self, owner_dsn: str) -> None:
        self._owner_dsn = owner_dsn
        self._stopping = threading.Event()
        self._left = 0
        self._merge_from_s = time.monotonic() + MERGE_EVERY_S

    async def run(self) -> None:
        """Pack until cancelled; what is under way then ends by itself."""
        try:
            while True:
                await asyncio.to_thread(self._work)
                await asyncio.sleep(AGAIN_S)
        finally:
            self._stopping.set()

    def _work(self) -> None:
        try:
            with psycopg.connect(self._owner_dsn, autocommit=True) as owner:
                held = owner.execute(ALONE).fetchone()
                while held is not None and held[0] and not self._stopping.is_set():
                    self._left += pack_heads(owner, stopping=self._stopping.is_set)
                    if self._left >= VACUUM_ROWS:
                        owner.execute(CLEAR)
                        self._left = 0
                    if time.monotonic() >= self._merge_from_s:
                        self._merge(owner)
                    self._stopping.wait(EVERY_S)
        except psycopg.Error as error:
            log.warning("packing failed", error=f"{type(error).__name__}: {error}")

    def _merge(self, owner: psycopg.Connection) -> None:
        begun_s = time.monotonic()
        merge_packs(owner, stopping=lambda: self._stopping.is_set() or time.monotonic() > begun_s + MERGE_S)
        ended_s = time.monotonic()
        # Small packs of all weeks are looked through for what there is: the more there are, the less often.
        self._merge_from_s = ended_s + max(MERGE_EVERY_S, (ended_s - begun_s) / MERGE_SHARE)


def pack_heads(
    owner: psycopg.Connection,
    rows_max: int = ROWS_MAX,
    age_s: float = AGE_S,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Pack the buckets that have at least so many rows, or one that is older; return how many rows went.

    Each slice of them is a transaction; one that another holds up is passed over. The caller is alone in this.
    """
    owner.execute(SETTINGS)
    due = [_Due(*row) for row in owner.execute(DUE, (rows_max, age_s))]
    packed = 0
    for part in slices(due, SLICE_SAMPLES):
        if stopping():
            break
        given = {"buckets": [one.bucket for one in part], "upto": [one.upto for one in part]}
        try:
            owner.execute(PACK, given | {"tenant": part[0].tenant})
            packed += sum(one.rows for one in part)
        except psycopg.errors.LockNotAvailable:
            continue
    return packed

"""The leaves of the sample table: one for each ISO week, made ahead and, for old data, on demand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import numpy as np

from gemel.base.clock import EPOCH
from gemel.history.samples import Ints
from gemel.store.database import Database, WriteTransaction

__all__ = ["MONDAY_US", "WEEK_US", "Weeks", "in_one_week", "leaf_of", "monday_of", "week_of"]

WEEK_US = 7 * 86_400_000_000
MAKE = "SELECT ensure_sample_week(%s::text::date)"
MONDAY_US = 4 * 86_400_000_000  # 1970-01-05, the first Monday since the epoch


def week_of(time_us: Ints) -> Ints:
    """Return the number of the ISO week of each time, counted from that of 1970-01-05."""
    return (time_us - MONDAY_US) // WEEK_US


def in_one_week(one_us: int, other_us: int) -> bool:
    """Say whether two times are of the same week."""
    first, second = week_of(np.array([one_us, other_us], np.int64))
    return bool(first == second)


def monday_of(week: int) -> str:
    """Return the Monday on which a week starts, as YYYY-MM-DD."""
    return (EPOCH + timedelta(days=4 + 7 * week)).strftime("%Y-%m-%d")


def leaf_of(week: int) -> str:
    """Return the name of a week's leaf."""
    return "sample_" + monday_of(week).replace("-", "_")


class Weeks:
    """Knows which leaves exist, and makes those that do not before a write opens its transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: set[int] = set()

    async def ensure(self, time_us: Ints) -> None:
        """Make the leaves that samples of these times need."""
        await self._make(_weeks(time_us) - self._known)

    async def ensure_within(self, tx: WriteTransaction, time_us: Ints) -> None:
        """Make them in a transaction that is open already; others wait to make theirs until it ends."""
        missing = _weeks(time_us) - self._known
        for week in sorted(missing):
            await tx.rows(MAKE, (monday_of(week),))
        tx.on_commit(lambda: self._known.update(missing))

    async def ensure_ahead(self, now_us: int, weeks: int = 4) -> None:
        """Make the leaves of this week, the one before and some to come."""
        current = int(week_of(np.array([now_us]))[0])
        await self._make(set(range(current - 1, current + weeks + 1)) - self._known)

    def forget(self) -> None:
        """Look again next time, since retention may have dropped leaves."""
        self._known.clear()

    async def _make(self, missing: Iterable[int]) -> None:
        for week in sorted(missing):
            await self._db.query(0, MAKE, (monday_of(week),), read_only=False)
            self._known.add(week)


def _weeks(time_us: Ints) -> set[int]:
    if not len(time_us):
        return set()
    # Most batches are of one week, which their ends tell.
    ends = week_of(np.array([time_us.min(), time_us.max()]))
    return {int(week) for week in (ends if ends[0] == ends[1] else np.unique(week_of(time_us)))}

"""Time as whole microseconds since 1970-01-01 UTC: one exact number type on every floor."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

__all__ = ["EPOCH", "Clock", "from_us", "iso_us", "now_us", "to_us"]

Clock = Callable[[], int]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_NAIVE = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
ISO_KEPT = 4096


def now_us() -> int:
    """Return the wall clock, in microseconds since the epoch."""
    return time.time_ns() // 1000


def to_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch, exactly."""
    return (moment - EPOCH) // MICROSECOND


def from_us(us: int) -> datetime:
    """Return microseconds since the epoch as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=us)


# A page of twins has a few times over and over: those of the commits that wrote their values.
@lru_cache(maxsize=ISO_KEPT)
def iso_us(us: int) -> str:
    """Return microseconds since the epoch as RFC 3339 with six digits and Z."""
    return (EPOCH_NAIVE + timedelta(microseconds=us)).isoformat(timespec="microseconds") + "Z"

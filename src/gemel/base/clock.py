"""Time as whole microseconds since 1970-01-01 UTC: one exact number type on every floor."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["EPOCH", "Clock", "from_us", "iso_us", "now_us", "to_us"]

Clock = Callable[[], int]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def now_us() -> int:
    """Return the wall clock, in microseconds since the epoch."""
    return time.time_ns() // 1000


def to_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch, exactly."""
    return (moment - EPOCH) // MICROSECOND


def from_us(us: int) -> datetime:
    """Return microseconds since the epoch as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=us)


def iso_us(us: int) -> str:
    """Return microseconds since the epoch as RFC 3339 with six digits and Z."""
    return from_us(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

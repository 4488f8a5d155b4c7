"""Durations as people write them: 500ms, 10s, 5m, 1h, 1d."""

from __future__ import annotations

import re

__all__ = ["DURATION_US_MAX", "duration_us"]

UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
DURATION = re.compile(r"(\d{1,12})(us|ms|s|m|h|d|w)", re.ASCII)
DURATION_US_MAX = 100 * 366 * UNITS_US["d"]


def duration_us(text: str) -> int | None:
    """Return a duration in µs, longer than nothing and at most 100 years; None for any other text."""
    match = DURATION.fullmatch(text)
    duration = int(match[1]) * UNITS_US[match[2]] if match else 0
    return duration if 0 < duration <= DURATION_US_MAX else None

"""Quantiles of lags over any length of time in constant memory."""

from __future__ import annotations

import math
from collections import Counter

__all__ = ["Lags"]

LAG_MS_MIN = 0.001
STEP = math.log(1.02)


class Lags:
    """A histogram of lags in ms whose buckets are 2% wide, so that a quantile is right to 1%."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def add(self, lag_ms: float) -> None:
        """Count one lag; below a microsecond it counts as that."""
        self._buckets[math.floor(math.log(max(lag_ms, LAG_MS_MIN)) / STEP)] += 1
        self._count += 1

    def quantile(self, share: float) -> float | None:
        """Return the lag that `share` of all are not above (nearest rank); None before the first."""
        rank = max(1, math.ceil(share * self._count))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return math.exp((bucket + 0.5) * STEP)
        return None

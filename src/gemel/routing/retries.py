"""When a delivery that failed is tried again, and in what portions. Pure."""

from __future__ import annotations

from gemel.routing.batches import NOTIFICATIONS_MAX

__all__ = ["delay_s", "portion"]

FIRST_S = 1.0
GREATEST_S = 300.0
ASKED_S_MAX = 3600.0
SHRINK = 10


def delay_s(failures: int, chance: float, asked_s: float | None = None) -> float:
    """Return how long to wait after the nth failure in a row: doubled each time, up to five minutes.

    `chance` in [0, 1) spreads it between half and whole, so that routes do not come back together; what the
    receiver asked for by Retry-After, up to an hour, is waited at least.
    """
    doubled = min(GREATEST_S, FIRST_S * 2.0 ** min(failures - 1, 32))
    return max(doubled * (1 + chance) / 2, min(asked_s or 0.0, ASKED_S_MAX))


def portion(failures: int) -> int:
    """Return how many notifications are sent at once after so many failures: a tenth of them, then one.

    So a notification that its receiver refuses ends up alone, and what is before it is delivered.
    """
    return max(1, NOTIFICATIONS_MAX // int(SHRINK ** min(failures, 8)))

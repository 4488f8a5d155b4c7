"""The lifecycle of twins: its states, and which may follow which. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gemel.base.errors import ConflictError, InvalidError

__all__ = [
    "ACTIVE",
    "DECOMMISSIONED",
    "FOLLOWERS",
    "LIFECYCLE_HINT",
    "STATES",
    "check_reason",
    "check_state",
    "check_transition",
]

LIFECYCLE_HINT = "Use PUT /v1/twins/{id}/lifecycle, or `gemel twins lifecycle`."

REASON_LENGTH_MAX = 1024

PLANNED, COMMISSIONED, ACTIVE, MAINTENANCE, DECOMMISSIONED = STATES = (
    "planned",
    "commissioned",
    "active",
    "maintenance",
    "decommissioned",
)
FOLLOWERS: Mapping[str, tuple[str, ...]] = {
    PLANNED: (COMMISSIONED, DECOMMISSIONED),
    COMMISSIONED: (ACTIVE, MAINTENANCE, DECOMMISSIONED),
    ACTIVE: (MAINTENANCE, DECOMMISSIONED),
    MAINTENANCE: (ACTIVE, DECOMMISSIONED),
    DECOMMISSIONED: (),
}
"""Which states may follow each. Nothing follows the last: whoever judges samples relies on it."""


def check_state(state: Any) -> str:
    """Return a state of the lifecycle. Raises InvalidError (InvalidArgument) for anything else."""
    if state not in STATES:
        raise InvalidError(
            "InvalidArgument",
            f"{state!r} is not a state of the lifecycle.",
            f"Use one of {', '.join(STATES)}.",
        )
    return str(state)


def check_reason(reason: str) -> None:
    """Raise InvalidError (InvalidArgument) unless a reason is a line of text of at most REASON_LENGTH_MAX."""
    if not reason.strip() or not reason.isprintable() or len(reason) > REASON_LENGTH_MAX:
        raise InvalidError(
            "InvalidArgument", f"The reason must have 1 to {REASON_LENGTH_MAX} printable characters."
        )


def check_transition(before: str | None, state: str) -> None:
    """Raise ConflictError (LifecycleTransitionInvalid) unless `state` may follow `before`; a start is any."""
    if before is None or before == state or state in FOLLOWERS[before]:
        return
    allowed = " or ".join(FOLLOWERS[before]) or "nothing"
    raise ConflictError(
        "LifecycleTransitionInvalid",
        f"A twin that is {before} cannot become {state}: {allowed} may follow {before}.",
        "To correct what was told wrongly, give a validFrom at or before the time since when it was so.",
    )

"""Which quarantined events an act is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gemel.base.clock import from_us

__all__ = ["Selection"]

CONDITIONS = {
    "numbers": "quarantine_no = ANY(%(numbers)s)",
    "code": "code = %(code)s",
    "source": "source = %(source)s",
    "read_from": "read_from = %(read_from)s",
    "from_us": "received >= %(from_us)s",
    "to_us": "received < %(to_us)s",
    "after": "quarantine_no > %(after)s",
    "upto": "quarantine_no <= %(upto)s",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Quarantined events by number, code, source and receipt (µs, `to_us` exclusive); each that is given must hold.

    `source` is the one that events name, `read_from` that of ours which brought them. `after` and `upto` bound their
    numbers: exclusive and inclusive.
    """

    numbers: Sequence[int] | None = None
    code: str | None = None
    source: str | None = None
    read_from: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    after: int | None = None
    upto: int | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """Return the condition on rows of the tenant's quarantine, and its parameters."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        # Only what is given stands in the text: a condition that is always true would keep indexes from being used.
        condition = " AND ".join(["tenant = current_tenant()", *(CONDITIONS[name] for name in given)])
        for name in ("from_us", "to_us"):
            if name in given:
                given[name] = from_us(given[name])
        if "numbers" in given:
            given["numbers"] = list(given["numbers"])
        return condition, given

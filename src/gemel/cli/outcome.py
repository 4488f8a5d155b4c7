"""What became of events: the counts of an ingest answer, and why some were rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gemel.cli import output

__all__ = ["COUNTS", "print_outcome"]

COUNTS = ("events", "accepted", "late", "duplicate", "corrected", "quarantined")
UNITS = {"events": "events", "quarantined": "events"}
REJECTED_SHOWN = 20


def print_outcome(result: Mapping[str, Any]) -> None:
    """Print the counts as a table, then the first reasons for rejection."""
    output.print_table(
        ("", "count", "of"), [(name, result[name], UNITS.get(name, "values")) for name in COUNTS]
    )
    rejected = result.get("rejected") or []
    if rejected:
        columns = ("index", "code", "message", "quarantine")
        rows = [[entry.get(name) for name in columns] for entry in rejected[:REJECTED_SHOWN]]
        output.print_table(columns, rows, title=f"rejected, {len(rows)} of {len(rejected):,}")

"""What became of events: the counts of an ingest answer, and why some were rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gemel.cli import output

__all__ = ["count_rows", "print_outcome"]

COUNTS = {
    "events": "events",
    "accepted": "values that became the state",
    "late": "values for history only",
    "duplicate": "values that were there already",
    "corrected": "values that met another for the same time",
    "quarantined": "events set aside",
}
REJECTED_SHOWN = 20


def count_rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the counts as rows of a table: name, count, and of what."""
    return [(name, f"{result[name]:,}", what) for name, what in COUNTS.items()]


def print_outcome(result: Mapping[str, Any]) -> None:
    """Print the counts as a table, then the first reasons for rejection."""
    output.print_table(("", "count", "of"), count_rows(result))
    rejected = result["rejected"]
    if rejected:
        columns = ("index", "code", "message", "quarantine")
        rows = [[entry.get(name) for name in columns] for entry in rejected[:REJECTED_SHOWN]]
        output.print_table(columns, rows, title=f"rejected, {len(rows)} of {len(rejected):,}")

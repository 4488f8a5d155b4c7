"""How a source has drifted from its contract, as a table."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from gemel.base.clock import now_us, to_us
from gemel.cli import output

__all__ = ["print_drift"]

STYLES: Final = {"accept": "yellow", "quarantine": "magenta", "stop": "bold red"}
DONE: Final = {"accept": "accepted", "quarantine": "quarantined", "stop": "stopped"}
UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
US_PER_S: Final = 1_000_000


def print_drift(source: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Print what was seen of a source, what lasts first; and a line that sums it up."""
    from rich.text import Text

    if not found:
        under = f"keeps its contract {source['contract']}" if source["contract"] else "has no contract"
        output.note(f"{source['name']} {under}.")
        return
    rows = []
    for each in found:
        style = STYLES[each["policy"]]
        mark = Text("● " if each["lasting"] else "○ ", style)
        where = each["field"] or each["thing"] or ""
        rows.append(
            (
                mark + Text(each["finding"], style),
                Text(where, "bold"),
                each["count"],
                _ago(each["firstSeen"]),
                _ago(each["lastSeen"]),
                Text(DONE[each["policy"]], style),
                each["example"],
            )
        )
    columns = ("finding", "of", "count", "first seen", "last seen", "policy", "last example")
    label = found[0]["contract"]
    output.print_table(columns, rows, title=f"{source['name']} ({source['kind']}) against {label}")
    lasting = sum(each["lasting"] for each in found)
    more = f", {lasting} of them silent now (●)" if lasting else ""
    output.note(f"{len(found)} kinds of drift{more}. {_next(source['name'], found)}")


def _next(name: str, found: list[dict[str, Any]]) -> str:
    policies = {each["policy"] for each in found}
    if "stop" in policies:
        return "Mend it, then: gemel source start."
    if "quarantine" in policies:
        return f"What waits: gemel quarantine list --read-from {name} --group-by code."
    return "All of it was accepted."


def _ago(time: str) -> str:
    """Return how long ago a moment was, in the largest unit that fits."""
    seconds = max(0, now_us() - to_us(datetime.fromisoformat(time))) // US_PER_S
    unit, size = next((each for each in UNITS if seconds >= each[1]), UNITS[-1])
    return f"{seconds // size} {unit} ago"

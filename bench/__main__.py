"""Run the benchmarks: `python -m bench [NAME...]`; prints a table, writes bench.json, exits 1 if a goal is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench import ingest, overload, startup, twins
from bench.figures import Figure
from bench.platform import Platform, running

__all__ = ["main"]

WIDTH_MIN = 116  # of the table, so that a narrow terminal or a log cuts nothing


def main() -> int:
    """Run every benchmark on one platform, in order."""
    console = Console(width=max(WIDTH_MIN, Console().width))
    figures: list[Figure] = []
    capacity = 50_000.0

    def flood(platform: Platform) -> list[Figure]:
        return overload.measure(platform, capacity)

    steps: dict[str, Callable[[Platform], list[Figure]]] = {
        "ingest": ingest.measure,
        "twins": twins.measure,
        "overload": flood,
        "startup": startup.measure,
    }
    with running() as platform:
        for name, measure in steps.items():
            with console.status(f"measuring {name} ..."):
                figures += measure(platform)
            capacity = next((figure.value for figure in figures if figure.name == "ingest_events"), capacity)
    Path("bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1))
    console.print(_table(figures))
    return 0 if all(figure.met is not False for figure in figures) else 1


def _table(figures: list[Figure]) -> Table:
    table = Table(title="Gemel benchmarks")
    for column in ("figure", "value", "unit", "limit", "ratio", "goal", "met"):
        table.add_column(
            column, justify="right" if column in {"value", "limit", "ratio"} else "left", no_wrap=True
        )
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:,.1f}",
            figure.unit,
            f"{figure.limit:,.0f}" if figure.limit is not None else "",
            f"{figure.ratio:.2f}" if figure.ratio is not None else "",
            figure.goal or "",
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[figure.met],
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

"""Run the benchmarks: `python -m bench [PART]...`; prints a table and writes bench.json.

It exits 1 if a goal is missed.

Each part has a platform of its own, made new. `events`: ingest, single twins, overload, starting. `load`: a minute of
events with reads beside, and how soon they are visible. `growth`: ingest with 100 M samples stored. `graph`: import,
queries, and the past of 100,000 twins. `kafka`: a topic of a real broker. `mqtt`: a broker's queue. `history`: a year
of one series at 1 s. `peers`: the same samples into InfluxDB. Without a name, all but the last.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench import arrow, graph, growth, ingest, kafka, load, mqtt, overload, peers, rollups, startup, twins
from bench.events import make_twins
from bench.figures import Figure
from bench.platform import Platform, running

__all__ = ["main"]

SMALL = 100  # below it decimals tell something
WIDTH_MIN = 132  # of the table, so that a narrow terminal or a log cuts nothing


def main() -> int:
    """Run the parts that the command line names, in order."""
    console = Console(width=max(WIDTH_MIN, Console().width))
    parts: dict[str, Callable[[Platform, Console], list[Figure]]] = {
        "events": _events,
        "load": _load,
        "growth": _growth,
        "graph": _graph,
        "kafka": _kafka,
        "mqtt": _mqtt,
        "history": _history,
        "peers": _peers,
    }
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the figures.")
    parser.add_argument(
        "part", nargs="*", help=f"which to measure: {', '.join(parts)}; without a name, all but peers"
    )
    wanted = parser.parse_args().part or [name for name in parts if name != "peers"]
    if unknown := [name for name in wanted if name not in parts]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(parts)}")
    figures: list[Figure] = []
    for name in wanted:
        environment = {"kafka": kafka.ENVIRONMENT, "mqtt": mqtt.ENVIRONMENT}.get(name)
        with running(environment=environment) as platform:
            figures += parts[name](platform, console)
    Path("bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1))
    console.print(_table(figures))
    return 0 if all(figure.met is not False for figure in figures) else 1


def _events(platform: Platform, console: Console) -> list[Figure]:
    figures: list[Figure] = []
    capacity = 50_000.0

    def flood(platform: Platform) -> list[Figure]:
        return overload.measure(platform, capacity)

    steps: dict[str, Callable[[Platform], list[Figure]]] = {
        "ingest": ingest.measure,
        "arrow": arrow.measure,
        "twins": twins.measure,
        "overload": flood,
        "startup": startup.measure,
    }
    for name, measure in steps.items():
        with console.status(f"measuring {name} ..."):
            figures += measure(platform)
        capacity = next((figure.value for figure in figures if figure.name == "ingest_events"), capacity)
    return figures


def _load(platform: Platform, console: Console) -> list[Figure]:
    with console.status("measuring load ..."):
        return load.measure(platform)


def _growth(platform: Platform, console: Console) -> list[Figure]:
    with console.status("measuring growth ..."):
        return growth.measure(platform)


def _graph(platform: Platform, console: Console) -> list[Figure]:
    with console.status("measuring graph ...") as status:
        return graph.measure(platform, lambda step: status.update(f"graph: {step} ..."))


def _kafka(platform: Platform, console: Console) -> list[Figure]:
    with console.status("measuring kafka ..."):
        return kafka.measure(platform)


def _mqtt(platform: Platform, console: Console) -> list[Figure]:
    with console.status("measuring mqtt ..."):
        make_twins(platform)
        return mqtt.measure(platform)


def _history(platform: Platform, console: Console) -> list[Figure]:
    with console.status("measuring history ..."):
        return rollups.measure(platform)


def _peers(platform: Platform, console: Console) -> list[Figure]:
    with console.status("measuring peers ..."):
        return peers.measure(platform)


def _table(figures: list[Figure]) -> Table:
    table = Table(title="Gemel benchmarks")
    for column in ("figure", "value", "unit", "limit", "ratio", "goal", "met"):
        table.add_column(
            column, justify="right" if column in {"value", "limit", "ratio"} else "left", no_wrap=True
        )
    for figure in figures:
        table.add_row(
            figure.name,
            _number(figure.value),
            figure.unit,
            _number(figure.limit) if figure.limit is not None else "",
            f"{figure.ratio:.2f}" if figure.ratio is not None else "",
            figure.goal or "",
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[figure.met],
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < SMALL else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())

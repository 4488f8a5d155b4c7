"""`gemel check`: what of the graph is not as the models say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.exits import Exit
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["register"]

COLUMNS = ("severity", "kind", "twin", "part", "message")


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "check",
        ("gemel check", "every twin, its values, components and relationships against its model"),
        ("gemel check --json", "one finding a line, each with what to do"),
        panel=Panel.GRAPH,
    )(check)


def check(server: ServerOptions) -> None:
    """Report what of the graph is not as the models say; exit code 1 where there is anything."""
    counts: Counter[str] = Counter()
    hints: dict[str, str] = {}
    with server.client() as client:
        for page in _pages(client, server):
            for finding in page["value"]:
                counts[finding["kind"]] += 1
                hints[finding["kind"]] = finding["hint"]
                if server.as_json:
                    output.print_line(finding)
            if page["value"] and not server.as_json:
                output.print_table(COLUMNS, [[each[name] for name in COLUMNS] for each in page["value"]])
            counts["twins"] += page["examined"]
    twins = counts.pop("twins", 0)
    output.note(f"Looked at {twins:,} twins. Findings: {counts.total():,}.")
    for kind, count in counts.most_common():
        output.note(f"  {count:,} {kind}: {hints[kind]}")
    if counts:
        raise typer.Exit(Exit.FAILED)


def _pages(client: Client, server: ServerOptions) -> Iterator[dict[str, Any]]:
    """Yield page after page, with a bar where someone looks on."""
    from rich.progress import Progress

    console = output.console(stderr=True)
    # What is printed meanwhile must reach standard output, which may be a file.
    redirect = output.console().is_terminal
    hidden = server.as_json or not console.is_terminal
    with Progress(console=console, disable=hidden, redirect_stdout=redirect) as bar:
        task = bar.add_task("checking", total=client.get("/v1/stats")["twins"])
        for page in client.whole_pages("/v1/check"):
            bar.advance(task, page["examined"])
            yield page

"""`gemel query`: the graph in the Azure Digital Twins query language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.options import ServerOptions
from gemel.cli.rows import Limit, print_rows

__all__ = ["flat", "register"]


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "query",
        ('gemel query "SELECT * FROM digitaltwins T WHERE T.level > 1.5"', "a table of the twins that match"),
        ('gemel query "SELECT * FROM digitaltwins" --json --limit 10', "ten twins as a JSON array"),
        panel=Panel.GRAPH,
    )(query)


def query(
    text: Annotated[
        str, typer.Argument(metavar="QUERY", help="As in SELECT * FROM digitaltwins T WHERE ...")
    ],
    server: ServerOptions,
    limit: Limit = 1000,
) -> None:
    """Run a query and print its rows."""
    with server.client() as client:
        print_rows(client.rows(text), limit, server.as_json, _table)


def _table(rows: list[dict[str, Any]]) -> None:
    flattened = [flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flattened for name in row))
    output.print_table(columns, [[row.get(name) for name in columns] for row in flattened])


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a row with components as dotted columns, and of its metadata the model only."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if name == "$metadata":
            if "$model" in value:
                cells[f"{prefix}model"] = value["$model"]
        elif isinstance(value, Mapping) and "$metadata" in value:
            cells.update(flat(value, f"{prefix}{name}."))
        elif name != "$etag":
            cells[f"{prefix}{name}"] = value
    return cells

"""`gemel query`: questions to the graph, in the Azure Digital Twins query language."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from shlex import quote
from typing import Annotated, Any

import typer

from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.options import MomentOptions, ServerOptions
from gemel.cli.rows import Limit, print_rows, rows_of
from gemel.models.dtmi import DTMI_PATTERN

__all__ = ["flat", "register"]

GAP = "   "
TREE_WIDTH = 100
EXPLAINED = {"passes", "sql", "parameters", "plan"}


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "query",
        ('gemel query "SELECT * FROM digitaltwins T WHERE T.level > 1.5"', "a table of the twins that match"),
        ('gemel query "SELECT * FROM digitaltwins" --json --limit 10', "ten twins as a JSON array"),
        (
            'gemel query "SELECT * FROM digitaltwins T WHERE T.level > 1.5" --as-of 2026-01-31T12:00:00Z',
            "which of them matched then",
        ),
        (
            'gemel query "EXPLAIN SELECT * FROM digitaltwins T WHERE T.level > 1.5"',
            "how it would be answered",
        ),
        panel=Panel.GRAPH,
    )(query)


def query(
    text: Annotated[
        str, typer.Argument(metavar="QUERY", help="As in SELECT * FROM digitaltwins T WHERE ...")
    ],
    server: ServerOptions,
    moment: MomentOptions,
    limit: Limit = 1000,
) -> None:
    """Run a query and print its rows: as a table, or one below the other where that would be too wide."""
    with server.client() as client:
        pages = client.query_pages(text, **moment.params())
        print_rows(rows_of(pages), limit, server.as_json, _table)


def _table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        output.note("No rows.")
        return
    if rows[0].keys() >= EXPLAINED:
        _explain(rows[0])
        return
    flattened = [flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flattened for name in row))
    cells = [[row.get(name) for name in columns] for row in flattened]
    if _width(columns, cells) <= output.console().width:
        output.print_table(columns, cells)
        return
    for number, row in enumerate(flattened, 1):
        output.print_table((f"row {number}", "value"), list(row.items()))


def _explain(row: dict[str, Any]) -> None:
    """Print what EXPLAIN answers: what indexes do or would do, the trees, the statement, the plan line by line."""
    for path, used in row["indexes"].items():
        typer.echo(f"index on {path}: {'used' if used else _advice(row, path)}\n")
    for step in row["passes"]:
        typer.echo(f"{step['pass']}\n  {drawn(step['tree'], '  ')}\n")
    typer.echo(f"sql\n{row['sql']}\n\nparameters\n{json.dumps(row['parameters'], ensure_ascii=False)}\n")
    typer.echo("\n".join(["plan", *row["plan"]]))


def drawn(tree: Any, indent: str = "") -> str:
    """Return a tree of a query as text: a node and its parts on one line as far as they have room there."""
    short = _inline(tree)
    if len(indent) + len(short) <= TREE_WIDTH or not isinstance(tree, dict | list):
        return short
    inner = indent + "  "
    if isinstance(tree, list):
        return "".join(["[\n", *(f"{inner}{drawn(each, inner)}\n" for each in tree), indent, "]"])
    lines = [f"{inner}{name}={drawn(each, inner)}\n" for name, each in tree.items() if name != "node"]
    return "".join([f"{tree.get('node', '')}(\n", *lines, indent, ")"])


def _inline(tree: Any) -> str:
    if isinstance(tree, list):
        return f"[{', '.join(map(_inline, tree))}]"
    if isinstance(tree, dict):
        parts = [f"{name}={_inline(each)}" for name, each in tree.items() if name != "node"]
        return f"{tree.get('node', '')}({', '.join(parts)})"
    return json.dumps(tree, ensure_ascii=False)


def _advice(row: Mapping[str, Any], path: str) -> str:
    """Return how an index is made: of the model that the query names, if it names just one."""
    models = set(re.findall(f"'({DTMI_PATTERN})'", str(row["passes"][0]["tree"])))
    if len(models) == 1:
        return f"would help; gemel index add {quote(models.pop())} {quote(path)}"
    return f"would help; gemel index add MODEL {quote(path)}, with any model that has it"


def _width(columns: list[str], cells: list[list[Any]]) -> int:
    widths = [
        max(len(output.cell(value)) for value in column) for column in zip(columns, *cells, strict=True)
    ]
    return sum(width + len(GAP) for width in widths)


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

"""`gemel audit`: who did or tried what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.options import ServerOptions
from gemel.cli.rows import Limit, print_rows

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["register"]

PAGE = 200


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "audit",
        ("gemel audit", "the newest acts, refusals too; needs a key of scope admin"),
        ("gemel audit --limit 5000 --json", "more of them, for a script"),
        panel=Panel.OPERATE,
    )(audit)


def audit(server: ServerOptions, limit: Limit = 100) -> None:
    """Show the audit trail of the tenant, newest first."""
    with server.client() as client:
        print_rows(_entries(client, min(limit + 1, PAGE)), limit, server.as_json, _table)


def _entries(client: Client, page_size: int) -> Iterator[dict[str, Any]]:
    before: int | None = None
    while True:
        page = client.get("/v1/audit", before=before, limit=page_size)["value"]
        yield from page
        if len(page) < page_size:
            return
        before = page[-1]["number"]


def _table(entries: list[dict[str, Any]]) -> None:
    columns = ("number", "at", "actor", "action", "target", "result")
    output.print_table(columns, [[entry.get(name) for name in columns] for entry in entries])

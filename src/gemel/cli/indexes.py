"""`gemel index`: which properties queries find twins by."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.options import ServerOptions

__all__ = ["app"]

app = group("index", "Indexes: properties that queries find twins by.")

Path = Annotated[str, typer.Argument(metavar="PATH", help="A property's dotted path.")]


@command(
    app,
    "add",
    ("gemel index add 'dtmi:gemel:demo:Pump;1' speed", "queries by speed look at no other twins"),
    ("gemel index add 'dtmi:gemel:demo:Pump;1' motor.state", "a property of a component"),
)
def add(
    model: Annotated[str, typer.Argument(metavar="DTMI", help="A model that has the property.")],
    path: Path,
    server: ServerOptions,
) -> None:
    """Index a property, in twins of every model that has it; each write of it costs a little more."""
    with server.client() as client:
        made = client.call("POST", "/v1/indexes", json={"model": model, "path": path})
    if server.as_json:
        output.print_json(made)
    else:
        output.note(f"Indexed {made['path']}; {made['twins']:,} twins have a value of it.")


@command(app, "list", ("gemel index list", "paths, and how many twins have a value"))
def list_all(server: ServerOptions) -> None:
    """List the indexed properties."""
    with server.client() as client:
        found = client.get("/v1/indexes")["value"]
    if server.as_json:
        output.print_json(found)
    else:
        output.print_table(("path", "twins"), [(each["path"], f"{each['twins']:,}") for each in found])


@command(app, "remove", ("gemel index remove speed", "queries by it look at every twin again"))
def remove(path: Path, server: ServerOptions) -> None:
    """Index a property no longer."""
    with server.client() as client:
        client.call("DELETE", f"/v1/indexes/{quote(path, safe='')}")
    if server.as_json:
        output.print_json({"path": path, "removed": True})
    else:
        output.note(f"{path} is not indexed any more.")

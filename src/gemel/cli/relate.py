"""`gemel relate` and `gemel unrelate`: the live graph's edges."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.conflicts import absent
from gemel.cli.options import ServerOptions
from gemel.cli.values import assignments, nested

__all__ = ["register"]

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="The twin it starts from.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(
        app,
        "relate",
        ("gemel relate tank feeds pump-1", "its id becomes feeds-pump-1"),
        ("gemel relate tank feeds pump-1 --id main --set length=2.5", "with an id and a property"),
        panel=Panel.GRAPH,
    )(relate)
    command(
        app,
        "unrelate",
        ("gemel unrelate tank feeds-pump-1", "`gemel twins get tank` shows the ids"),
        panel=Panel.GRAPH,
    )(unrelate)


def relate(
    source: Source,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The relationship's name in the source's model.")
    ],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The twin it leads to.")],
    server: ServerOptions,
    relationship: Annotated[
        str | None, typer.Option("--id", help="The relationship's id. Default: NAME-TARGET.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="A property, JSON or else text; may be given often."
        ),
    ] = None,
) -> None:
    """Relate a twin to another; a relationship of this id must not exist."""
    chosen = relationship or f"{name}-{target}"
    body = {"$targetId": target, "$relationshipName": name, **nested(assignments(values or ()))}
    taken = f"There is already a relationship {chosen} of {source}."
    hint = (
        f"`gemel twins get {source}` shows it; give another id with --id, "
        f"or take it away first with `gemel unrelate {source} {chosen}`."
    )
    with server.client() as client, absent(taken, hint):
        made = client.call("PUT", _place(source, chosen), json=body, headers={"If-None-Match": "*"})
    if server.as_json:
        output.print_json(made)
    else:
        output.note(f"Related {source} to {target} as {chosen}.")


def unrelate(
    source: Source,
    relationship: Annotated[str, typer.Argument(metavar="ID", help="The relationship's id.")],
    server: ServerOptions,
) -> None:
    """Delete a relationship of a twin."""
    with server.client() as client:
        client.send("DELETE", _place(source, relationship))
    if server.as_json:
        output.print_json({"$sourceId": source, "$relationshipId": relationship, "deleted": True})
    else:
        output.note(f"Deleted {relationship} of {source}.")


def _place(source: str, relationship: str) -> str:
    return f"/digitaltwins/{quote(source, safe='')}/relationships/{quote(relationship, safe='')}"

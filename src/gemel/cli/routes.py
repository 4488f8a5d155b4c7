"""`gemel route`: which notifications go to which endpoint, and how far each route is."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.cli import dead_letters, output
from gemel.cli.command import command, group
from gemel.cli.options import ServerOptions
from gemel.cli.removing import remove_named

__all__ = ["app"]

app = group("route", "Event routes: which notifications go to which endpoint.")
app.add_typer(dead_letters.app)

COLUMNS = ("route", "endpoint", "filter", "state", "delivered", "up to", "lag", "lag s", "next try", "error")

Id = Annotated[str, typer.Argument(metavar="ID", help="The route's id.")]


@command(
    app,
    "add",
    ("gemel route add all hooks", "every notification from now on"),
    (
        "gemel route add alarms hooks --filter \"type = 'microsoft.iot.telemetry' AND \\$body.pressure > 5.5\"",
        "some of them",
    ),
)
def add(
    route_id: Id,
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's name.")],
    server: ServerOptions,
    text: Annotated[
        str, typer.Option("--filter", metavar="FILTER", help="Which notifications; false disables the route.")
    ] = "true",
) -> None:
    """Make a route, which starts with the next change, or change one, which goes on from where it is."""
    body = {"endpointName": endpoint, "filter": text}
    with server.client() as client:
        client.send("PUT", f"/eventroutes/{quote(route_id, safe='')}", json=body)
    if server.as_json:
        output.print_json({"id": route_id, **body})
    else:
        output.note(f"The route {route_id} leads to {endpoint}.")


@command(
    app,
    "list",
    ("gemel route list", "how far each is, and what is wrong with it"),
    ("gemel route list --json", "for a script that watches lag"),
)
def list_all(server: ServerOptions) -> None:
    """List routes, each with the state of its delivery."""
    with server.client() as client:
        found = client.get("/v1/routes")["value"]
    if server.as_json:
        output.print_json(found)
    else:
        output.print_table(COLUMNS, map(_row, found))


@command(app, "show", ("gemel route show all", "one route and the state of its delivery"))
def show(route_id: Id, server: ServerOptions) -> None:
    """Show a route and the state of its delivery."""
    with server.client() as client:
        found = client.get(_path(route_id))
    if server.as_json:
        output.print_json(found)
    else:
        output.print_table(("field", "value"), [(name, output.cell(value)) for name, value in found.items()])


@command(app, "skip", ("gemel route skip all", "past the notification that its receiver refuses"))
def skip(route_id: Id, server: ServerOptions) -> None:
    """Leave out the notification that a failing route would send next, and go on with the one after it."""
    with server.client() as client:
        found = client.call("POST", f"{_path(route_id)}/skip")
    if server.as_json:
        output.print_json(found)
    else:
        output.note(f"The route {route_id} goes on after the event {found['skipped']}, which is not sent.")


@command(app, "remove", ("gemel route remove all", "what it has not delivered, it never will"))
def remove(route_id: Id, server: ServerOptions) -> None:
    """Remove a route."""
    remove_named(server, f"/eventroutes/{quote(route_id, safe='')}", "route", ("id", route_id))


def _path(route_id: str) -> str:
    return f"/v1/routes/{quote(route_id, safe='')}"


def _row(found: dict[str, Any]) -> list[Any]:
    return [
        found["id"],
        found["endpointName"],
        found["filter"],
        found["state"],
        found["delivered"],
        found["deliveredUpTo"],
        found["lagChanges"],
        found["lagSeconds"],
        found["nextTry"],
        found["error"],
    ]

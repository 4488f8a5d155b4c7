"""`gemel route dead-letters`: notifications that their receiver refused for good."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.options import ServerOptions

__all__ = ["app"]

app = group("dead-letters", "Notifications that were put aside: refused for good, or skipped.")

COLUMNS = ("number", "route", "id", "twin", "error", "tries", "died", "tried")

Numbers = Annotated[list[int] | None, typer.Argument(metavar="NUMBER...", help="Their numbers.")]
Route = Annotated[str | None, typer.Option("--route", metavar="ID", help="Those of this route.")]


@command(
    app,
    "list",
    ("gemel route dead-letters list", "what was put aside, and why"),
    ("gemel route dead-letters list --route alarms --json", "of one route, for a script"),
)
def list_all(
    server: ServerOptions,
    route: Route = None,
    after: Annotated[int, typer.Option("--after", metavar="NUMBER", help="From behind this number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many.")] = 100,
) -> None:
    """List notifications that were put aside, in the order in which they were."""
    with server.client() as client:
        found = client.get("/v1/dead-letters", route=route, after=after, limit=limit)["value"]
    if server.as_json:
        output.print_json(found)
    else:
        output.print_table(COLUMNS, [[each[name] for name in COLUMNS] for each in found])


@command(app, "show", ("gemel route dead-letters show 7", "the event as it was sent, and what was answered"))
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Its number.")], server: ServerOptions
) -> None:
    """Show a notification that was put aside, with its event."""
    with server.client() as client:
        output.print_json(client.get(f"/v1/dead-letters/{quote(str(number))}"))


@command(
    app,
    "replay",
    ("gemel route dead-letters replay --route alarms", "once its receiver takes them"),
    ("gemel route dead-letters replay 7 8", "those alone"),
)
def replay(server: ServerOptions, numbers: Numbers = None, route: Route = None) -> None:
    """Send notifications that were put aside again, the oldest first; at most 1000 at once."""
    with server.client() as client:
        told = client.call("POST", "/v1/dead-letters/replay", json=_choice(numbers, route))
    if server.as_json:
        output.print_json(told)
    else:
        output.note(f"{told['delivered']} delivered, {told['failed']} wait on.")
        for error in told["errors"]:
            output.note(error)
    if told["failed"]:
        raise typer.Exit(4)


@command(app, "discard", ("gemel route dead-letters discard 7", "it is never sent"))
def discard(server: ServerOptions, numbers: Numbers = None, route: Route = None) -> None:
    """Throw notifications away that were put aside."""
    with server.client() as client:
        told = client.call("POST", "/v1/dead-letters/discard", json=_choice(numbers, route))
    if server.as_json:
        output.print_json(told)
    else:
        output.note(f"{told['discarded']} discarded.")


def _choice(numbers: list[int] | None, route: str | None) -> dict[str, Any]:
    if not numbers and route is None:
        raise InvalidError("UsageInvalid", "Say which: by number, or by --route.")
    return ({"numbers": numbers} if numbers else {}) | ({"route": route} if route is not None else {})

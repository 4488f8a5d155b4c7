"""`gemel twins lifecycle`: in which state a twin is and was, and transitions."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.options import ServerOptions

__all__ = ["register"]


def register(twins: typer.Typer) -> None:
    """Add the command to the group of twins."""
    command(
        twins,
        "lifecycle",
        ("gemel twins lifecycle pump-1", "its state, what may follow, and its history"),
        ("gemel twins lifecycle pump-1 maintenance --reason 'bearing worn'", "a transition, from now on"),
        (
            "gemel twins lifecycle pump-1 decommissioned --reason scrapped --from 2026-01-31T12:00:00Z",
            "since a moment of the past",
        ),
    )(lifecycle)


def lifecycle(
    twin: Annotated[str, typer.Argument(metavar="ID", help="The twin's id.")],
    server: ServerOptions,
    state: Annotated[
        str | None,
        typer.Argument(metavar="STATE", help="planned, commissioned, active, maintenance or decommissioned."),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; a transition needs one.")] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Since when it is so, RFC 3339. Default: from now on."),
    ] = None,
) -> None:
    """Show the lifecycle of a twin, or say in which state it is."""
    place = f"/v1/twins/{quote(twin, safe='')}/lifecycle"
    if state is None and (reason or start):
        raise InvalidError("UsageInvalid", "--reason and --from belong to a STATE.", "Give the STATE, too.")
    if state is not None and not reason:
        raise InvalidError("UsageInvalid", "A transition needs a reason.", "Give --reason TEXT.")
    with server.client() as client:
        if state is None:
            found = client.get(place)
        else:
            body = {"state": state, "reason": reason} | ({"validFrom": start} if start else {})
            found = client.call("PUT", place, json=body)
    if server.as_json:
        output.print_json(found)
        return
    may = ", ".join(found["allowed"]) or "nothing"
    since = _second(found["since"])
    output.print_table(("twin", "state", "since", "may follow"), [(twin, found["state"], since, may)])
    columns = ("state", "from", "to", "reason", "actor", "recorded", "superseded")
    times = ("from", "to", "recorded", "superseded")
    rows = [entry | {name: _second(entry[name]) for name in times} for entry in found["history"]]
    output.print_table(columns, [[row[column] for column in columns] for row in rows])


def _second(time: str | None) -> str | None:
    """Return a time to the second: what a table has room for."""
    return None if time is None else f"{time[:19]}Z"

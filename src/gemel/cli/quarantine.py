"""`gemel quarantine`: see what was rejected and why; mend the cause, then replay, or discard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.base.errors import InvalidError, NotFoundError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.exits import Exit
from gemel.cli.options import ServerOptions
from gemel.cli.outcome import print_outcome
from gemel.cli.rows import Limit, print_rows

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["app"]

app = group("quarantine", "Quarantine: events that were rejected, each with its reason.")

PAGE = 1000
CODE_HELP = "Only events of this code."
SOURCE_HELP = "Only events of this source."


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which quarantined events a command is about."""

    numbers: Annotated[list[int] | None, typer.Argument(metavar="NUMBER", help="Numbers, as listed.")] = None
    code: Annotated[str | None, typer.Option("--code", help=CODE_HELP)] = None
    source: Annotated[str | None, typer.Option("--source", help=SOURCE_HELP)] = None

    def body(self) -> dict[str, Any]:
        """Return the request that names them; raise InvalidError (UsageInvalid) where nothing does."""
        given = {"numbers": self.numbers, "code": self.code, "source": self.source}
        named = {name: value for name, value in given.items() if value}
        if not named:
            raise InvalidError("UsageInvalid", "No events are named.", "Give numbers, --code or --source.")
        return named

    def check(self, found: int) -> None:
        """Raise NotFoundError (QuarantineNotFound) where numbers were given and no event was found by them."""
        if self.numbers and not found:
            numbers = ", ".join(map(str, self.numbers))
            raise NotFoundError(
                "QuarantineNotFound",
                f"No event in quarantine matches {numbers}.",
                "`gemel quarantine list` shows the numbers.",
            )


@command(
    app,
    "list",
    ("gemel quarantine list", "newest first, with the reason of each"),
    ("gemel quarantine list --after 1200", "those that came after number 1200, oldest first"),
    ("gemel quarantine list --code TwinUnknown --json", "those of one code, for a script"),
)
def list_events(
    server: ServerOptions,
    code: Annotated[str | None, typer.Option("--code", help=CODE_HELP)] = None,
    source: Annotated[str | None, typer.Option("--source", help=SOURCE_HELP)] = None,
    after: Annotated[
        int | None,
        typer.Option("--after", min=0, metavar="NUMBER", help="Only events after this one, oldest first."),
    ] = None,
    limit: Limit = 100,
) -> None:
    """List quarantined events, newest first."""
    with server.client() as client:
        wanted = {"code": code, "source": source, "order": "desc" if after is None else "asc"}
        print_rows(_pages(client, wanted, after, min(limit + 1, PAGE)), limit, server.as_json, _table)


@command(app, "show", ("gemel quarantine show 17", "the event as it arrived"))
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Its number, as listed.")],
    server: ServerOptions,
) -> None:
    """Show a quarantined event whole: its reason, and the bytes that arrived."""
    with server.client() as client:
        event = client.get(f"/v1/quarantine/{number}")
    if server.as_json:
        output.print_json(event)
    else:
        raw = event.pop("raw")
        output.print_table(("field", "value"), list(event.items()))
        typer.echo(raw)


@command(
    app,
    "replay",
    ("gemel quarantine replay --code TwinUnknown", "after the twins were created"),
    ("gemel quarantine replay 17 18", "two events by number"),
)
def replay(chosen: Chosen, server: ServerOptions) -> None:
    """Offer quarantined events again; what is taken now leaves the quarantine. Exit code 4 if some stay."""
    with server.client() as client:
        result = client.call("POST", "/v1/quarantine/replay", json=chosen.body())
    chosen.check(result["events"])
    if server.as_json:
        output.print_json(result)
    else:
        print_outcome(result)
    if result["quarantined"]:
        raise typer.Exit(Exit.PARTLY)


@command(
    app,
    "discard",
    ("gemel quarantine discard 17", "one event by number"),
    ("gemel quarantine discard --code TimeInFuture --source /pumps", "those of a code and a source"),
)
def discard(chosen: Chosen, server: ServerOptions) -> None:
    """Delete quarantined events for good."""
    with server.client() as client:
        result = client.call("POST", "/v1/quarantine/discard", json=chosen.body())
    chosen.check(result["discarded"])
    if server.as_json:
        output.print_json(result)
    else:
        output.note(f"Discarded {result['discarded']:,}.")


def _pages(
    client: Client, wanted: dict[str, str | None], after: int | None, size: int
) -> Iterator[dict[str, Any]]:
    while True:
        page = client.get("/v1/quarantine", **wanted, after=after, limit=size)["value"]
        yield from page
        if len(page) < size:
            return
        after = page[-1]["number"]


def _table(events: list[dict[str, Any]]) -> None:
    columns = ("number", "code", "subject", "source", "message", "received", "seen")
    output.print_table(columns, [[event.get(name) for name in columns] for event in events])

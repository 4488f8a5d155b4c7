"""Which quarantined events a command is about, and offering them again page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.base.errors import InvalidError, NotFoundError
from gemel.cli import output

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["Chosen", "Filter", "offer"]

PAGE = 500
COUNTS = ("looked", "events", "accepted", "late", "duplicate", "corrected", "quarantined")


@dataclass(frozen=True, slots=True)
class Filter:
    """Quarantined events by code, source, what brought them, and time of receipt; each that is given must hold."""

    code: Annotated[str | None, typer.Option("--code", help="Only events of this code.")] = None
    source: Annotated[
        str | None, typer.Option("--source", help="Only events that name this source themselves.")
    ] = None
    read_from: Annotated[
        str | None,
        typer.Option(
            "--read-from",
            metavar="NAME",
            help="Only events that this source of `gemel source` brought, or a request under this name.",
        ),
    ] = None
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only events received since then, RFC 3339.")
    ] = None
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only events received before then.")
    ] = None

    def params(self) -> dict[str, str]:
        """Return what was given, as requests name it."""
        given = {
            "code": self.code,
            "source": self.source,
            "readFrom": self.read_from,
            "from": self.start,
            "to": self.end,
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Chosen(Filter):
    """Quarantined events by number, code, source, what brought them, and time of receipt; something must be given."""

    numbers: Annotated[list[int] | None, typer.Argument(metavar="NUMBER", help="Numbers, as listed.")] = None

    def body(self) -> dict[str, Any]:
        """Return the request that names them; raise InvalidError (UsageInvalid) where nothing does."""
        named = self.params() | ({"numbers": self.numbers} if self.numbers else {})
        if not named:
            raise InvalidError(
                "UsageInvalid",
                "No events are named.",
                "Give numbers, --code, --source, --read-from, --from or --to.",
            )
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


def offer(client: Client, chosen: Chosen, how: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Offer events again in order, `how` besides which, with a progress bar unless `quiet`; return all answers as one.

    What arrives in quarantine meanwhile is left for the next time.
    """
    whole: dict[str, Any] = dict.fromkeys(COUNTS, 0) | {"rejected": [], "fates": []}
    for page in _pages(client, chosen, how, quiet=quiet):
        place = whole["looked"]
        whole["rejected"] += [each | {"index": each["index"] + place} for each in page["rejected"]]
        whole["fates"] += page["fates"]
        for name in COUNTS:
            whole[name] += page[name]
    del whole["rejected" if how.get("dryRun") else "fates"]
    return whole


def _pages(client: Client, chosen: Chosen, how: dict[str, Any], *, quiet: bool) -> Iterator[dict[str, Any]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    body = chosen.body() | how
    found = client.get("/v1/quarantine/groups", **chosen.params())["value"]
    if not found:
        return
    total = len(chosen.numbers) if chosen.numbers else found[0]["events"]
    console = output.console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    title = "looking" if how.get("dryRun") else "offering"
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        after: int | None = 0
        while after is not None:
            ask = body | {"after": after, "upto": found[0]["last"], "limit": PAGE}
            page = client.call("POST", "/v1/quarantine/replay", json=ask)
            bar.advance(task, page["looked"])
            yield page
            after = page["next"]

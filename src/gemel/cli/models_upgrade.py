"""`gemel models upgrade`: move the twins of one model to another, or say first which would not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.exits import Exit
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["register"]

PAGE = 500
SHOWN = 50

Result = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command to the group of model commands."""
    command(
        app,
        "upgrade",
        (
            "gemel models upgrade --from 'dtmi:x:Pump;1' --to 'dtmi:x:Pump;2' --dry-run",
            "every twin and value that would not fit",
        ),
        ("gemel models upgrade --from 'dtmi:x:Pump;1' --to 'dtmi:x:Pump;2'", "move all twins, if all fit"),
        (
            "gemel models upgrade --from 'dtmi:x:Pump;1' --to 'dtmi:x:Pump;2' --drop",
            "remove values that do not fit; their history stays",
        ),
    )(upgrade)


def upgrade(
    server: ServerOptions,
    source: Annotated[str, typer.Option("--from", metavar="DTMI", help="The model that twins have.")],
    target: Annotated[str, typer.Option("--to", metavar="DTMI", help="The model they shall have.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would not fit.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove values that do not fit.")] = False,
    partly: Annotated[
        bool, typer.Option("--partly", help="Move the twins that fit, though others do not.")
    ] = False,
) -> None:
    """Move the twins of a model to another. Nothing is moved where one does not fit, but with --drop or --partly.

    Stopped half way, the same command moves what is left. Exit code 1 where all stay or a dry run
    finds some that would, 4 where some stay.
    """
    ask = {"from": source, "to": target, "limit": PAGE}
    with server.client() as client:
        total = client.get(f"/v1/models/{quote(source, safe='')}")["twins"]
        looked = _gather(_pages(client, ask | {"dryRun": True}, server, ("looking", total)))
        stays = bool(looked["misfits"]) and not (drop or partly)
        moved: Result = {"moved": 0, "misfits": looked["misfits"]}
        if not dry_run and not stays:
            moved = _gather(_pages(client, ask | {"dryRun": False, "drop": drop}, server, ("moving", total)))
    left = looked["misfits"] if dry_run or stays else moved["misfits"]
    told = {"from": source, "to": target, "dryRun": dry_run, "examined": looked["examined"]}
    counts = {"fitting": looked["moved"], "moved": moved["moved"], "misfits": left}
    if server.as_json:
        output.print_json(told | counts)
    else:
        _print(told | counts, stays=stays)
    if stays or (looked if dry_run else moved)["moved"] < looked["examined"]:
        raise typer.Exit(Exit.PARTLY if moved["moved"] else Exit.FAILED)


def _pages(client: Client, ask: Result, server: ServerOptions, title: tuple[str, int]) -> Iterator[Result]:
    from rich.progress import Progress

    console = output.console(stderr=True)
    with Progress(console=console, disable=server.as_json or not console.is_terminal) as bar:
        task = bar.add_task(title[0], total=title[1])
        token = None
        while True:
            page = client.call("POST", "/v1/models/upgrade", json=ask | {"continuationToken": token})
            bar.advance(task, page["examined"])
            yield page
            token = page["continuationToken"]
            if token is None:
                return


def _gather(pages: Iterator[Result]) -> Result:
    whole: Result = {"examined": 0, "moved": 0, "misfits": []}
    for page in pages:
        for name in whole:
            whole[name] += page[name]
    return whole


def _print(told: Result, *, stays: bool) -> None:
    misfits = told["misfits"]
    if misfits:
        rows = [(each["twin"], each["path"], each["value"], each["reason"]) for each in misfits[:SHOWN]]
        more = f", {SHOWN} of {len(misfits):,}; all with --json" if len(misfits) > SHOWN else ""
        output.print_table(("twin", "path", "value", "why"), rows, title=f"does not fit{more}")
    twins = len({each["twin"] for each in misfits})
    output.note(
        f"{told['examined']:,} twins of {told['from']}, of which {told['fitting']:,} fit {told['to']}."
    )
    if told["dryRun"]:
        output.note("A dry run: nothing was moved.")
    elif stays:
        output.note(f"Nothing was moved: {twins:,} do not fit. Mend them, or use --drop or --partly.")
    else:
        output.note(f"Moved {told['moved']:,}.")

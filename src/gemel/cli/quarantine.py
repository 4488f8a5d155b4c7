"""`gemel quarantine`: see what was rejected and why; mend it, replay it, discard it, or let it expire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.base.codes import CODES
from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.exits import Exit
from gemel.cli.marked import marked
from gemel.cli.options import ServerOptions
from gemel.cli.outcome import print_outcome
from gemel.cli.quarantine_chosen import Chosen, Filter, offer
from gemel.cli.quarantine_mending import Mending
from gemel.cli.rows import Limit, print_rows

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["app"]

app = group("quarantine", "Quarantine: events that were rejected, each with its reason.")

PAGE = 1000
FATES_SHOWN = 50
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would become of each; nothing is written.")
]


@command(
    app,
    "list",
    ("gemel quarantine list", "newest first, with the reason of each"),
    ("gemel quarantine list --group-by code,source", "how many of each code and source"),
    ("gemel quarantine list --read-from meters", "what the source of `gemel source` named meters brought"),
    ("gemel quarantine list --from 2026-01-31T00:00:00Z --group-by day", "how many on each day"),
    ("gemel quarantine list --after 1200", "those that came after number 1200, oldest first"),
    ("gemel quarantine list --code TwinUnknown --json", "those of one code, for a script"),
)
def list_events(
    server: ServerOptions,
    chosen: Filter,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by", metavar="NAMES", help="Count by some of code,source,readFrom,mapping,hour,day."
        ),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option("--after", min=0, metavar="NUMBER", help="Only events after this one, oldest first."),
    ] = None,
    limit: Limit = 100,
) -> None:
    """List quarantined events, newest first, or count them in groups."""
    with server.client() as client:
        if group_by is not None:
            names = [name.strip() for name in group_by.split(",")]
            wanted = {**chosen.params(), "by": names, "limit": min(limit + 1, PAGE)}
            found = client.get("/v1/quarantine/groups", **wanted)["value"]
            print_rows(found, limit, server.as_json, lambda rows: _groups(names, rows))
            return
        asked = {**chosen.params(), "order": "desc" if after is None else "asc"}
        pages = _pages(client, asked, after, min(limit + 1, PAGE))
        print_rows(pages, limit, server.as_json, lambda rows: _table(rows, chosen))


@command(app, "show", ("gemel quarantine show 17", "the event as it arrived, with what is wrong marked"))
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Its number, as listed.")],
    server: ServerOptions,
) -> None:
    """Show a quarantined event whole: the rule it broke and where, what to do next, and what arrived."""
    with server.client() as client:
        event = client.get(f"/v1/quarantine/{number}")
    known = CODES.get(event["code"])
    if known is not None:
        event |= {"rule": known.meaning, "next": known.remedy}
    if server.as_json:
        output.print_json(event)
        return
    raw = event.pop("raw")
    output.print_table(
        ("field", "value"), [(name, str(value)) for name, value in event.items() if value is not None]
    )
    for line in marked(raw, event.get("place")):
        output.console().print(line, soft_wrap=True)


@command(
    app,
    "replay",
    ("gemel quarantine replay --code TwinUnknown", "after the twins were created"),
    ("gemel quarantine replay 17 18", "two events by number"),
    ("gemel quarantine replay --source /line/1 --dry-run", "what would be taken now, and what would stay"),
)
def replay(chosen: Chosen, server: ServerOptions, dry_run: DryRun = False) -> None:
    """Offer quarantined events again, in order; what is taken now leaves the quarantine. Exit code 4 if some stay.

    Stopped half way, the same command goes on with what is left.
    """
    with server.client() as client:
        _tell(chosen, offer(client, chosen, {"dryRun": dry_run}, quiet=server.as_json), server)


@command(
    app,
    "mend",
    ("gemel quarantine mend 17 --patch fix.json --dry-run", "what would become of the patched event"),
    ("gemel quarantine mend --code TwinUnknown --source /line/1 --patch fix.json", "all of a kind"),
    (
        "gemel quarantine mend --read-from meters --mapping plant.yaml --dry-run",
        "messages, through a corrected mapping",
    ),
    (
        "gemel quarantine mend --code PathNotInModel --upgrade-from 'dtmi:x:Pump;1' --upgrade-to 'dtmi:x:Pump;2'",
        "move the twins to a model that has the path, then replay",
    ),
)
def mend(
    chosen: Chosen,
    server: ServerOptions,
    mending: Mending,
    dry_run: DryRun = False,
) -> None:
    """Mend quarantined events by a JSON Patch, a corrected mapping, or another model of their twins; replay them.

    What is not taken stays as it came. Exit code 4 if some stay.
    """
    how = {"dryRun": dry_run} | mending.body()
    chosen.body()
    source, target = mending.upgrade_from, mending.upgrade_to
    with server.client() as client:
        if source is not None and target is not None:
            if dry_run:
                how["models"] = {source: target}
            _upgrade(client, source, target, dry_run=dry_run)
        _tell(chosen, offer(client, chosen, how, quiet=server.as_json), server)


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


@command(
    app,
    "expire",
    ("gemel quarantine expire", "after how many days events are given up, and how many are due"),
    ("gemel quarantine expire --days 90 --dry-run", "what would go"),
    ("gemel quarantine expire --days 90", "give up what is older, now and from now on"),
    ("gemel quarantine expire --never", "keep all"),
)
def expire(
    server: ServerOptions,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Give up events that are older.")] = None,
    never: Annotated[bool, typer.Option("--never", help="Give up none from now on.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Show or set after how many days quarantined events are given up; each time that some go is in the audit trail."""
    if never and days is not None:
        raise InvalidError("UsageInvalid", "--days and --never are both given.", "Give one of them.")
    with server.client() as client:
        if never or days is not None:
            body = {"days": days, "dryRun": dry_run}
            told = client.call("PUT", "/v1/quarantine/expiry", json=body)
        else:
            told = client.get("/v1/quarantine/expiry")
    if server.as_json:
        output.print_json(told)
        return
    kept = "for ever" if told["days"] is None else f"{told['days']:,} days"
    counts = told.get("expired", told.get("due", {}))
    verb = "Given up" if "expired" in told and not dry_run else "Due"
    output.note(f"Events wait {kept}. {verb}: {sum(counts.values()):,}.")
    if counts:
        output.print_table(("code", "count"), list(counts.items()))


def _pages(client: Client, wanted: dict[str, str], after: int | None, size: int) -> Iterator[dict[str, Any]]:
    while True:
        page = client.get("/v1/quarantine", **wanted, after=after, limit=size)["value"]
        yield from page
        if len(page) < size:
            return
        after = page[-1]["number"]


def _table(events: list[dict[str, Any]], chosen: Filter) -> None:
    if not events and chosen.source is not None:
        output.note(
            "Nothing found. --source is what events name themselves; for what brought them: --read-from."
        )
        return
    columns = ("number", "code", "subject", "source", "readFrom", "message", "received", "seen")
    output.print_table(columns, [[event.get(name) for name in columns] for event in events])


def _groups(names: list[str], rows: list[dict[str, Any]]) -> None:
    columns = (*names, "events", "seen", "firstReceived", "lastReceived", "first", "last")
    output.print_table(columns, [[row.get(name) for name in columns] for row in rows])


def _upgrade(client: Client, source: str, target: str, *, dry_run: bool) -> None:
    ask = {"from": source, "to": target, "dryRun": dry_run}
    examined = moved = 0
    token = None
    while True:
        page = client.call("POST", "/v1/models/upgrade", json=ask | {"continuationToken": token})
        examined, moved, token = examined + page["examined"], moved + page["moved"], page["continuationToken"]
        if token is None:
            break
    verb = "would move" if dry_run else "moved"
    output.note(f"{moved:,} of {examined:,} twins {verb} from {source} to {target}.")


def _tell(chosen: Chosen, result: dict[str, Any], server: ServerOptions) -> None:
    chosen.check(result["looked"])
    if server.as_json:
        output.print_json(result)
    elif "fates" in result:
        _print_fates(result)
    else:
        print_outcome(result)
    if result["quarantined"]:
        raise typer.Exit(Exit.PARTLY)


def _print_fates(result: dict[str, Any]) -> None:
    fates = result["fates"]
    rows = []
    for fate in fates[:FATES_SHOWN]:
        counts = [
            f"{fate[name]} {name}" for name in ("accepted", "late", "duplicate", "corrected") if name in fate
        ]
        stays = fate.get("code")
        rows.append(
            (
                fate["number"],
                fate.get("subject"),
                (stays and "stays") or ", ".join(counts),
                stays,
                fate.get("message"),
            )
        )
    more = f", {FATES_SHOWN} of {len(fates):,}; all with --json" if len(fates) > FATES_SHOWN else ""
    if rows:
        columns = ("number", "subject", "becomes", "code", "message")
        output.print_table(columns, rows, title=f"what would become of each{more}")
    taken = result["events"] - result["quarantined"]
    output.note(f"A dry run: {taken:,} of {result['events']:,} would be taken; nothing was written.")

"""`gemel history retain`: how long history is kept."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.operate import Act, acting, recorded
from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    from gemel.app import Operator
    from gemel.history.retention import Kept, Retained

__all__ = ["register"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How long history is to be kept; neither days nor for ever asks what is set."""

    days: Annotated[
        int | None, typer.Option("--days", min=1, help="How many days are kept, from now on.")
    ] = None
    forever: Annotated[
        bool,
        typer.Option("--forever", help="Take the days away: a tenant does as the platform, that keeps all."),
    ] = False
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only of this tenant. Default: of all.")] = (
        None
    )
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where there is no terminal.")] = False


def register(app: typer.Typer) -> None:
    """Add the command to the group."""
    command(
        app,
        "retain",
        ("gemel history retain", "what is set, and since when history is there"),
        ("gemel history retain --days 90 --dry-run", "what would go"),
        ("gemel history retain --days 30 --tenant plant-north", "a line of one tenant's own"),
        ("gemel history retain --forever --yes", "nothing more goes"),
    )(retain)


def retain(local: LocalOptions, wanted: Wanted) -> None:
    """Set how long history is kept, and drop what is older; each series keeps its last sample before the line."""
    from gemel.history.retention import read_kept

    if wanted.days is not None and wanted.forever:
        raise InvalidError("UsageInvalid", "--days and --forever exclude each other.", "Give one of them.")
    if wanted.days is None and not wanted.forever:
        _refuse_without_days(wanted)
        with acting(local) as found:
            _print_kept(read_kept(found.owner_dsn), as_json=local.as_json)
        return
    if not (wanted.dry_run or wanted.yes or wanted.forever or sys.stdin.isatty()):
        raise InvalidError(
            "UsageInvalid",
            "This deletes history for good, and there is no terminal to ask at.",
            "Look with --dry-run first, then give --yes.",
        )
    with acting(local) as found:
        if not (wanted.dry_run or wanted.yes or wanted.forever):
            _ask(found, wanted)
        with recorded(found, None if wanted.dry_run else Act("history.retain", wanted.tenant or "platform")):
            done = _apply(found, wanted, dry_run=wanted.dry_run)
    if local.as_json:
        output.print_json({**asdict(done), "dryRun": wanted.dry_run})
    else:
        _print_done(done, dry_run=wanted.dry_run)


def _refuse_without_days(wanted: Wanted) -> None:
    for name, given in (("--tenant", wanted.tenant), ("--dry-run", wanted.dry_run), ("--yes", wanted.yes)):
        if given:
            raise InvalidError(
                "UsageInvalid", f"{name} goes with days to keep.", "Give --days N or --forever, too."
            )


def _apply(found: Operator, wanted: Wanted, *, dry_run: bool) -> Retained:
    from gemel.history.retention import retain as apply

    return apply(found.owner_dsn, wanted.days, wanted.tenant, dry_run=dry_run)


def _ask(found: Operator, wanted: Wanted) -> None:
    foreseen = _apply(found, wanted, dry_run=True)
    samples = sum(foreseen.deleted.values())
    lines = ", ".join(f"{name} before {line}" for name, line in sorted(foreseen.lines.items()))
    typer.confirm(f"Delete {samples:,} samples for good ({lines})?", abort=True, err=True)


def _print_done(done: Retained, *, dry_run: bool) -> None:
    rows = [(name, line, done.deleted.get(name, 0)) for name, line in sorted(done.lines.items())]
    if not rows:
        output.note("All history is kept, for ever.")
        return
    samples = "samples to delete" if dry_run else "samples deleted"
    output.print_table(("tenant", "kept since", samples), rows)
    weeks = f"{len(done.leaves)} week{'' if len(done.leaves) == 1 else 's'} of samples"
    output.note(f"{weeks} {'would be' if dry_run else 'were'} dropped whole, counted above.")


def _print_kept(kept: list[Kept], *, as_json: bool) -> None:
    if as_json:
        output.print_json([asdict(entry) for entry in kept])
        return
    rows = [
        (entry.name, _told(entry, first=not n), entry.line or "its beginning") for n, entry in enumerate(kept)
    ]
    output.print_table(("tenant", "keeps", "kept since"), rows)


def _told(entry: Kept, *, first: bool) -> str:
    if entry.days is not None:
        return f"{entry.days} day{'' if entry.days == 1 else 's'}"
    return "for ever" if first else "as the platform"

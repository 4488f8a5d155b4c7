"""`gemel history freeze`: weeks that are old leave the database for files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.operate import Act, acting, recorded
from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    from gemel.history.cold_weeks import Aged
    from gemel.history.freezing import Frozen

__all__ = ["register"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which weeks are to be frozen, now or from now on; without any of them, what is frozen is shown."""

    before: Annotated[
        str | None, typer.Option("--before", metavar="DAY", help="Now: weeks that ended by then, YYYY-MM-DD.")
    ] = None
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="From now on: weeks that ended so many days ago.")
    ] = None
    never: Annotated[
        bool,
        typer.Option("--never", help="From now on none: a tenant does as the platform, that freezes none."),
    ] = False
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only of this tenant. Default: of all.")] = (
        None
    )
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which weeks would be frozen.")] = False


def register(app: typer.Typer) -> None:
    """Add the command to the group."""
    command(
        app,
        "freeze",
        ("gemel history freeze", "what is frozen, and after how many days"),
        ("gemel history freeze --before 2026-01-01 --dry-run", "which weeks would be"),
        ("gemel history freeze --days 90", "an age, that the server keeps to"),
        ("gemel history freeze --days 30 --tenant plant-north", "a tenant's own"),
    )(freeze)


def freeze(local: LocalOptions, wanted: Wanted) -> None:
    """Move old weeks of history into files (GEMEL_COLD_STORE); they are read as before, and cost a tenth."""
    from gemel.history.cold_weeks import read_cold_weeks, read_freezing, set_freezing

    if sum((wanted.before is not None, wanted.days is not None, wanted.never)) > 1:
        raise InvalidError(
            "UsageInvalid", "--before, --days and --never exclude each other.", "Give one of them."
        )
    if wanted.dry_run and wanted.before is None:
        raise InvalidError("UsageInvalid", "--dry-run goes with --before.", "Give --before DAY, too.")
    with acting(local) as found:
        if wanted.before is not None:
            with recorded(
                found, None if wanted.dry_run else Act("history.freeze", wanted.tenant or "platform")
            ):
                done = _freeze(local, found.owner_dsn, wanted)
            _print_done(done, dry_run=wanted.dry_run, as_json=local.as_json)
            return
        if wanted.days is not None or wanted.never:
            with recorded(found, Act("history.freeze", wanted.tenant or "platform")):
                set_freezing(found.owner_dsn, wanted.days, wanted.tenant)
        cold, aged = read_cold_weeks(found.owner_dsn), read_freezing(found.owner_dsn)
    if local.as_json:
        output.print_json(
            {"tenants": [each._asdict() for each in aged], "weeks": [each._asdict() for each in cold]}
        )
        return
    output.print_table(("tenant", "frozen after"), [(each.name, _told(each)) for each in aged])
    output.print_table(
        ("tenant", "week", "samples", "bytes", "per sample", "series thawed"),
        [
            (
                each.tenant,
                each.week,
                each.samples,
                each.bytes,
                f"{each.bytes / max(1, each.samples):.1f}",
                each.thawed,
            )
            for each in cold
        ],
    )


def _freeze(local: LocalOptions, owner_dsn: str, wanted: Wanted) -> list[Frozen]:
    from datetime import UTC, datetime

    from gemel.history.cold_weeks import freeze as apply
    from gemel.history.cold_weeks import read_freezing
    from gemel.store.blobs import open_blobs

    try:
        before = datetime.strptime(wanted.before or "", "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidError(
            "UsageInvalid", f"--before {wanted.before!r} is not a day.", "As in 2026-01-31."
        ) from error
    tenants = [each for each in read_freezing(owner_dsn) if wanted.tenant in (None, each.name)]
    if not tenants:
        raise InvalidError(
            "UsageInvalid", f"There is no tenant {wanted.tenant!r}.", "See `gemel tenant list`."
        )
    blobs = open_blobs(local.settings().cold_store)
    return [
        week
        for each in tenants
        for week in apply(owner_dsn, blobs, each.tenant, before, dry_run=wanted.dry_run)
    ]


def _told(aged: Aged) -> str:
    return "never" if aged.days is None else f"{aged.days} day{'' if aged.days == 1 else 's'}"


def _outcome(week: Frozen) -> str:
    return f"frozen, but {week.behind} series written to meanwhile" if week.behind else "frozen"


def _print_done(done: list[Frozen], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.print_json([each._asdict() for each in done])
        return
    if not done:
        output.note("No week is due: either it is frozen, or its roll-ups are not made yet.")
        return
    rows = [
        (each.week, each.samples, each.bytes, each.left or ("would be frozen" if dry_run else _outcome(each)))
        for each in done
    ]
    output.print_table(("week", "samples", "bytes", "outcome"), rows)

"""`gemel db`: the database's schema."""

from __future__ import annotations

import typer

from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.exits import Exit
from gemel.cli.operate import Act, acting, refusals
from gemel.cli.options import LocalOptions

__all__ = ["app"]

app = group("db", "The database's schema, on this machine's database.")


@command(app, "status", ("gemel db status", "exit code 1 where a migration is missing"))
def status(local: LocalOptions) -> None:
    """Show which migrations the database has had, and which it lacks."""
    from gemel.store.migrate import applied, available

    # Not migrated on the way: what is missing is the question.
    with acting(local, migrated=False) as found:
        done = applied(found.owner_dsn)
    known = [step.name for step in available()]
    pending = [name for name in known if name not in done]
    unknown = [name for name in done if name not in known]
    if local.as_json:
        output.print_json({"applied": done, "pending": pending, "unknown": unknown})
    else:
        rows = [(name, "applied" if name in done else "pending") for name in known]
        output.print_table(("migration", "state"), rows + [(n, "of a newer gemel") for n in unknown])
    if pending or unknown:
        raise typer.Exit(Exit.FAILED)


@command(app, "migrate", ("gemel db migrate", "`gemel up` does the same at its start"))
def migrate(local: LocalOptions) -> None:
    """Bring the database to this program's schema."""
    from gemel.security.audit import record_migrations
    from gemel.store.migrate import migrate as bring_up

    with acting(local, migrated=False) as found, refusals(found.owner_dsn, Act("database.migrate", "schema")):
        fresh = bring_up(found.owner_dsn)
        record_migrations(found.owner_dsn, fresh)
    if local.as_json:
        output.print_json({"applied": fresh})
    else:
        output.note(f"Applied {', '.join(fresh)}." if fresh else "The schema is up to date.")

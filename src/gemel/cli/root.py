"""The root of the command line: every group and command in the order that help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from gemel import __version__
from gemel.cli import (
    audit,
    backup,
    check,
    contracts,
    cost,
    db,
    demo,
    doctor,
    endpoints,
    history,
    imports,
    indexes,
    ingest,
    jobs,
    keys,
    mappings,
    models,
    past,
    quarantine,
    query,
    relate,
    routes,
    sources,
    tenants,
    top,
    twins,
    up,
    watch,
)
from gemel.cli.command import Panel

__all__ = ["app", "main"]

app = typer.Typer(
    name="gemel",
    help="A digital twin platform: what is, what was, what would be.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line and exit."""
    app()


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gemel {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """Answer what is, what was and what would be, from one command line."""


up.register(app)
demo.register(app)
app.add_typer(models.app, rich_help_panel=Panel.GRAPH)
app.add_typer(twins.app, rich_help_panel=Panel.GRAPH)
relate.register(app)
check.register(app)
query.register(app)
ingest.register(app)
app.add_typer(sources.app, rich_help_panel=Panel.DATA)
app.add_typer(mappings.app, rich_help_panel=Panel.DATA)
app.add_typer(contracts.app, rich_help_panel=Panel.DATA)
imports.register(app)
app.add_typer(jobs.app, rich_help_panel=Panel.DATA)
app.add_typer(history.app, rich_help_panel=Panel.DATA)
past.register(app)
watch.register(app)
app.add_typer(quarantine.app, rich_help_panel=Panel.DATA)
app.add_typer(endpoints.app, rich_help_panel=Panel.DATA)
app.add_typer(routes.app, rich_help_panel=Panel.DATA)
audit.register(app)
cost.register(app)
top.register(app)
app.add_typer(tenants.app, rich_help_panel=Panel.OPERATE)
app.add_typer(indexes.app, rich_help_panel=Panel.OPERATE)
app.add_typer(keys.app, rich_help_panel=Panel.OPERATE)
app.add_typer(db.app, rich_help_panel=Panel.OPERATE)
backup.register(app)
doctor.register(app)

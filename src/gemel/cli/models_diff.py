"""`gemel models diff`: what changed from one model to another, and what that breaks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.exits import Exit
from gemel.cli.models_files import is_dtmi, models_of_files, models_of_server
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from gemel.models import Change

__all__ = ["register"]

Side = Annotated[str, typer.Argument(help="A model's DTMI, or a JSON file, or a folder of them.")]


def register(app: typer.Typer) -> None:
    """Add the command to the group of model commands."""
    command(
        app,
        "diff",
        ("gemel models diff pump-v1.json pump-v2.json", "two files, without a server"),
        ("gemel models diff 'dtmi:gemel:demo:Pump;1' 'dtmi:gemel:demo:Pump;2'", "two models of the tenant"),
        (
            "gemel models diff old/ new/ --json",
            "two folders, each model with its latest version, for a script",
        ),
    )(diff)


def diff(a: Side, b: Side, server: ServerOptions) -> None:
    """Compare models A with models B: each change, whether it breaks what was built on A, and why.

    Exit code 1 where a change breaks something.
    """
    changes = _changes(a, b, server)
    breaking = sum(not each.compatible for each in changes)
    if server.as_json:
        output.print_json({"compatible": not breaking, "changes": [asdict(each) for each in changes]})
    else:
        if changes:
            _print(changes)
        plural = "" if len(changes) == 1 else "s"
        output.note(f"{len(changes)} change{plural}, {breaking} breaking." if changes else "No difference.")
    if breaking:
        raise typer.Exit(Exit.FAILED)


def _changes(a: str, b: str, server: ServerOptions) -> tuple[Change, ...]:
    from gemel.models import diff_models, diff_sets

    if is_dtmi(a) != is_dtmi(b):
        raise InvalidError(
            "UsageInvalid", f"{a} and {b} are a model's DTMI and a file. Give two of one kind."
        )
    if is_dtmi(a):
        models = models_of_server(server, a, b)
        return diff_models(models, a, models, b)
    return diff_sets(models_of_files([Path(a)]), models_of_files([Path(b)]))


def _print(changes: tuple[Change, ...]) -> None:
    rows = [
        (
            "compatible" if each.compatible else "BREAKING",
            each.model,
            each.path,
            each.before,
            each.after,
            each.reason,
        )
        for each in changes
    ]
    output.print_table(("", "model", "where", "before", "after", "why"), rows)

"""`gemel doctor`: what is wrong with this installation, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.exits import Exit
from gemel.cli.options import ServerOptions

__all__ = ["register"]

MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red"), "skipped": ("·", "dim")}


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "doctor",
        ("gemel doctor", "this machine, its data directory and its server"),
        ("gemel doctor --url http://twins.example:8080 --json", "another server, for a script"),
        ("gemel doctor --probe", "also: would a broker drop messages while gemel is down?"),
        panel=Panel.RUN,
    )(doctor)


def doctor(
    server: ServerOptions,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="The port that should be free.")
    ] = 8080,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try out what the brokers of MQTT sources keep for who is away.")
    ] = False,
) -> None:
    """Check this installation and say what to do; exit code 1 where something is wrong."""
    from gemel.cli.checks import CHECKS, Verdict
    from gemel.cli.facts import gather

    facts = gather(server.settings(), port, probe=probe)
    findings = {name: check(facts) for name, check in CHECKS.items()}
    if server.as_json:
        output.print_json(
            [
                {"check": name, "verdict": found.verdict, "said": found.said, "next": found.remedy or None}
                for name, found in findings.items()
            ]
        )
    else:
        from rich.text import Text

        out = output.console()
        for name, found in findings.items():
            mark, style = MARKS[found.verdict]
            out.print(Text.assemble((f"{mark} ", style), (f"{name:<20}", "bold"), found.said), soft_wrap=True)
            if found.remedy:
                out.print(Text.assemble(" " * 22, ("next  ", "green"), found.remedy), soft_wrap=True)
    if any(found.verdict is Verdict.FAIL for found in findings.values()):
        raise typer.Exit(Exit.FAILED)

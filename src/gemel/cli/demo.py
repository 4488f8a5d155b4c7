"""`gemel demo`: a simulated pumping station, or a recording, live in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.base.errors import InvalidError
from gemel.cli.command import Panel, command
from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    from gemel.cli.client import Client
    from gemel.store.server import Holder

__all__ = ["register"]

SPEED = 60.0


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "demo",
        ("gemel demo", "a pumping station with live values, until Ctrl-C"),
        ("gemel demo --for 20 --json", "20 seconds of it, then its figures for a script"),
        ("gemel demo --replay valve1-0.csv --speed 60", "a recording of the pump rig, a minute a second"),
        panel=Panel.RUN,
    )(demo)


def demo(
    local: LocalOptions,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", min=0.0, help="End by itself. Default: Ctrl-C ends it."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="FILE", help="Play this recording of the pump rig instead."),
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", min=0.001, help="Times the recording's own pace. Default: 60.")
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, help="Of the server, where none runs yet; 0 takes a free one."
        ),
    ] = 8080,
) -> None:
    """Show the platform at work; a server is started, and stopped at the end, where none runs."""
    if speed is not None and replay is None:
        raise InvalidError("UsageInvalid", "--speed is of a recording.", "Give --replay FILE, too.")
    from gemel.demo.run import DemoOptions, run

    wanted = DemoOptions(
        settings=local.settings(),
        connect=_connect,
        port=port,
        seconds=seconds,
        replay=replay,
        speed=SPEED if speed is None else speed,
        as_json=local.as_json,
    )
    raise typer.Exit(run(wanted))


def _connect(holder: Holder, key: str) -> Client:
    from gemel.cli.client import Address, Client
    from gemel.security.tls import pinned

    trust = None if holder.certificate is None else pinned(holder.certificate)
    return Client(Address(holder.url, key, trust))

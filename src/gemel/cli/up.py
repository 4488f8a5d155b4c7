"""`gemel up`: the server, on its bundled database."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from gemel import __version__
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.operate import database_faults
from gemel.cli.options import LocalOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "up",
        ("gemel up", "serve http://127.0.0.1:8080 on the platform's data directory"),
        ("gemel up --data ~/gemel-plant --port 9000", "another directory and port"),
        ("gemel up --port 0 --json", "a free port; the URL comes as JSON on standard output"),
        panel=Panel.RUN,
    )(up)


def up(
    local: LocalOptions,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8080,
) -> None:
    """Start the database and the server, and serve until Ctrl-C; both are stopped then."""
    from gemel.app import serve

    settings = local.settings()

    def tell(url: str) -> None:
        facts = {
            "url": url,
            "openapi": f"{url}/openapi",
            "data": str(settings.data_dir),
            "key": str(settings.data_dir / "default.key"),
        }
        if local.as_json:
            output.print_line(facts)
            return
        out = output.console()
        out.print(f"[bold]gemel {__version__}[/bold] is ready at [cyan]{url}[/cyan]; Ctrl-C stops it.")
        for name in ("openapi", "data", "key"):
            out.print(f"  {name:<8}{facts[name]}", markup=False, soft_wrap=True)

    # Unless it is caught, SIGTERM ends Python at once and leaves the database running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with database_faults():
            serve(settings, host, port, tell)
    except KeyboardInterrupt:
        return

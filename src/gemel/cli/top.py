"""`gemel top`: what goes on in a server, live."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.base.errors import EnvironmentFaultError, UnavailableError
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemel.cli.top_view import TopView

__all__ = ["register"]

LOOKS_MAX = 40


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "top",
        ("gemel top", "rates, freshness, stages, sources, queues and quarantine, until Ctrl-C"),
        ("gemel top --once", "one look, for a script or a report"),
        ("gemel top --json --every 5", "one JSON document a line, every five seconds"),
        panel=Panel.OPERATE,
    )(top)


def top(
    server: ServerOptions,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.2, help="How often to look.")
    ] = 1.0,
) -> None:
    """Show what goes on: how fresh values come in, how long stages take, how sources, routes and queues stand."""
    try:
        if server.as_json:
            for told, _ in _looks(server, every_s, once=once):
                output.print_line(told)
        else:
            _show(server, every_s, once=once)
    except KeyboardInterrupt:
        return


def _show(server: ServerOptions, every_s: float, *, once: bool) -> None:
    from rich.live import Live

    from gemel.cli.top_view import TopView

    out = output.console()
    rates: deque[float] = deque(maxlen=LOOKS_MAX)

    def view(told: dict[str, Any], url: str) -> TopView:
        rates.append(told["rate"])
        return TopView(told, url, list(rates))

    if once or not out.is_terminal or out.is_dumb_terminal:
        for told, url in _looks(server, every_s, once=once):
            out.print(view(told, url))
        return
    # The other screen of the terminal: drawn over in place, and gone afterwards.
    with Live(console=out, screen=True, auto_refresh=False) as drawn:
        for told, url in _looks(server, every_s, once=False):
            drawn.update(view(told, url), refresh=True)


def _looks(server: ServerOptions, every_s: float, *, once: bool) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what the server says goes on, each time with its URL; one that is away for a while is waited for.

    The first look must succeed. A server that came back at another place is found by its data directory.
    """
    client = server.client()
    is_first = True
    try:
        while True:
            try:
                yield client.get("/v1/activity"), client.url
                is_first = False
            except (EnvironmentFaultError, UnavailableError) as error:
                if is_first:
                    raise
                output.note(f"{error.message} Trying again.")
                client = server.client()
            if once:
                return
            time.sleep(every_s)
    finally:
        client.__exit__(None, None, None)

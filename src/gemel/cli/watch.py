"""`gemel watch`: the change feed, live, resumed after an interruption."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.base.errors import EnvironmentFaultError, UnavailableError
from gemel.cli import output, sse
from gemel.cli.command import Panel, command
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["Outage", "changes", "register"]

PAUSE_S = 1.0
PAUSE_S_MAX = 10.0


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "watch",
        ("gemel watch", "every change of the tenant, as it commits"),
        ("gemel watch pump-1 pump-2 --json", "of two twins, one JSON document a line"),
        ("gemel watch --after 1200 --json", "everything since change 1200, then live"),
        panel=Panel.DATA,
    )(watch)


def watch(
    server: ServerOptions,
    twins: Annotated[list[str] | None, typer.Argument(metavar="TWIN", help="Only of these twins.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="DTMI", help="Only of twins of this model.")
    ] = None,
    after: Annotated[
        int | None, typer.Option("--after", help="Begin after this change. Default: now.")
    ] = None,
) -> None:
    """Print changes as they commit, until Ctrl-C; nothing is missed when the server is away for a while."""
    params = [("twin", twin) for twin in twins or ()] + ([("model", model)] if model else [])
    last = "" if after is None else str(after)
    try:
        for event in changes(server.client, params, last):
            _show(event, as_json=server.as_json)
    except KeyboardInterrupt:
        return


def changes(
    connect: Callable[[], Client], params: list[tuple[str, str]], last: str
) -> Iterator[sse.ServerEvent]:
    """Yield changes without end; a lost connection is opened again where it broke off.

    `connect` finds the server anew each time, which may have come back at another place. A change of many
    samples is several events; one that was cut off comes again whole. The first connection must succeed: its
    error is raised, as is every refusal later.
    """
    outage: Outage | None = None
    while True:
        try:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
            with connect() as client, client.stream("/v1/changes", params, headers) as lines:
                if outage is not None:
                    outage.end(client.url)
                outage = Outage()
                stream = sse.EventStream(lines, last)
                try:
                    yield from stream
                finally:
                    last = stream.last_id
        except (EnvironmentFaultError, UnavailableError) as error:
            if outage is None:
                raise
            outage.tell(f"{error.message} Trying again from change {last or 'now'}.")
        time.sleep(outage.pause_s())


class Outage:
    """One outage: says each thing once, and pauses longer and longer."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._pauses = 0

    def tell(self, line: str) -> None:
        """Say what is wrong, unless it was said before."""
        if line not in self._told:
            output.note(line)
        self._told.add(line)

    def pause_s(self) -> float:
        """Return how long to wait before the next attempt."""
        self._pauses += 1
        return min(PAUSE_S * 2.0 ** (self._pauses - 1), PAUSE_S_MAX)

    def end(self, url: str) -> None:
        """Say that it is over."""
        output.note(f"Connected again, to {url}.")


def _show(event: sse.ServerEvent, *, as_json: bool) -> None:
    body: dict[str, Any] = json.loads(event.data)
    if as_json:
        output.print_line({"id": event.id, "kind": event.kind, **body})
        return
    for line in describe(event.kind, body):
        typer.echo(line)


def describe(kind: str, body: dict[str, Any]) -> list[str]:
    """Return a change as lines of text: each sample with its source time, others with their recorded time."""
    if kind == "samples":
        return [
            f"{_clock(s['sourceTime'])}  {s['twin']}  {s['path']} {_told(s)}{_marks(s)}"
            for s in body["samples"]
        ]
    parts = [f"{name}={output.cell(value)}" for name, value in body.items() if name != "recorded"]
    return [f"{_clock(body['recorded'])}  {kind}  {' '.join(parts)}"]


def _clock(time_text: str) -> str:
    return time_text.replace("T", " ")[:23]


def _told(sample: dict[str, Any]) -> str:
    return "removed" if sample.get("removed") else f"= {output.cell(sample['value'])}"


def _marks(sample: dict[str, Any]) -> str:
    quality = "" if sample["quality"] == "good" else f"  ({sample['quality']})"
    return quality + (f"  revision {sample['revision']}" if sample["revision"] else "")

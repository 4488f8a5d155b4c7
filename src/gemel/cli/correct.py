"""`gemel history delete-range` and `replace-range`: correct what was recorded, with a reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.options import ServerOptions

__all__ = ["register"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which samples of a twin, and why they go."""

    twin: Annotated[str, typer.Argument(metavar="TWIN", help="The twin's id.")]
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Dotted paths.")]
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="Since then, RFC 3339.")]
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Before then, RFC 3339.")]
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the correction.")]

    def place(self, act: str) -> str:
        """Return the path of the route."""
        return f"/v1/twins/{quote(self.twin, safe='')}/history/{act}"

    def body(self) -> dict[str, Any]:
        """Return the request that names them."""
        return {"paths": self.paths, "from": self.start, "to": self.end, "reason": self.reason}


def register(app: typer.Typer) -> None:
    """Add the commands to the group of history commands."""
    window = "--from 2026-01-31T12:00:00Z --to 2026-01-31T13:00:00Z"
    command(
        app,
        "delete-range",
        (f"gemel history delete-range pump-1 flow {window} --reason calibration", "an hour of one path"),
    )(delete_range)
    command(
        app,
        "replace-range",
        (
            f"gemel history replace-range pump-1 flow {window} --samples better.ndjson --reason 'wrong scale'",
            "others in their place",
        ),
    )(replace_range)


def delete_range(stretch: Stretch, server: ServerOptions) -> None:
    """Delete samples of a twin; `--known-at` still finds them, and late redelivery does not bring them back.

    Goes on in commits of 20,000 samples, the oldest first; stopped half way, the same command goes on.
    """
    from rich.progress import Progress, TextColumn

    body, deleted = stretch.body(), 0
    console = output.console(stderr=True)
    with (
        server.client() as client,
        Progress(
            TextColumn("deleted {task.completed:,}"),
            console=console,
            disable=server.as_json or not console.is_terminal,
        ) as bar,
    ):
        task = bar.add_task("", total=None)
        while True:
            page = client.call("POST", stretch.place("delete"), json=body)
            deleted += page["deleted"]
            bar.advance(task, page["deleted"])
            if page["next"] is None:
                break
            body["from"] = page["next"]
    _tell({"deleted": deleted, "added": 0}, server)


def replace_range(
    stretch: Stretch,
    server: ServerOptions,
    samples: Annotated[
        Path,
        typer.Option(
            "--samples", metavar="FILE", help="NDJSON: path, time and value, and quality if not good."
        ),
    ],
) -> None:
    """Put samples of a file in the place of those of a range, all at once; `--known-at` still finds the old ones."""
    body = stretch.body() | {"samples": _read(samples)}
    with server.client() as client:
        page = client.call("POST", stretch.place("replace"), json=body)
    _tell({"deleted": page["deleted"], "added": page["added"]}, server)


def _read(path: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InvalidError("UsageInvalid", f"{path} is no NDJSON: {error}") from error


def _tell(counts: dict[str, int], server: ServerOptions) -> None:
    if server.as_json:
        output.print_json(counts)
    else:
        output.note(f"Deleted {counts['deleted']:,}, added {counts['added']:,}.")

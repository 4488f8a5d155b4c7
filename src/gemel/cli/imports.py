"""`gemel import`: a whole graph from one file, sent to the server or fetched by it, followed to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import ConflictError, InvalidError
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.exits import Exit
from gemel.cli.job_views import OVER, print_job
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from rich.progress import Progress

    from gemel.cli.client import Client

__all__ = ["register"]

CHUNK_BYTES = 1 << 18
LOOK_S = 0.25


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "import",
        ("gemel import graph.ndjson", "send a file, and follow the import to its end"),
        ("gemel import graph.ndjson --detach", "send it, and leave it to the server"),
        (
            "gemel import https://example.com/g.ndjson --log file:g.log --id g",
            "have the server fetch it, and write the log below its jobs root",
        ),
        panel=Panel.DATA,
    )(import_graph)


def import_graph(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="NDJSON here; or a file: or http(s): URI that the server reads."),
    ],
    server: ServerOptions,
    job_id: Annotated[str | None, typer.Option("--id", help="The job's id; else one is made.")] = None,
    log: Annotated[
        str | None, typer.Option("--log", metavar="URI", help="Where the server writes the log, for a URI.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
) -> None:
    """Import models, twins and relationships; what exists is replaced, and lines that are wrong are told."""
    with server.client() as client, _bar(server) as bar:
        job = _start(client, source, job_id, log, bar)
        if not detach:
            try:
                job = _follow(client, job, bar)
            except KeyboardInterrupt:
                output.note(f"The import goes on; see `gemel jobs show {job['id']}`, or `gemel jobs cancel`.")
                raise
    if server.as_json:
        output.print_json(job)
    else:
        print_job(job)
    error = job["error"]
    if error and error["code"] == "ImportIncomplete":
        raise typer.Exit(Exit.PARTLY)
    if job["status"] in {"failed", "cancelled"}:
        raise ConflictError((error or {}).get("code", "CommandFailed"), _why(job))


def _why(job: dict[str, Any]) -> str:
    return str(job["error"]["message"]) if job["error"] else f"The import {job['id']} was cancelled."


def _start(client: Client, source: str, job_id: str | None, log: str | None, bar: Progress) -> dict[str, Any]:
    if source.lower().startswith(("file:", "http:", "https:")):
        if log is None:
            raise InvalidError("UsageInvalid", "A URI needs --log, too.", "As in --log file:graph.log.")
        name = job_id or f"import-{time.strftime('%Y%m%d-%H%M%S')}"
        body = {"inputBlobUri": source, "outputBlobUri": log}
        client.call("PUT", f"/jobs/imports/{quote(name, safe='')}", json=body)
        return _look(client, name)
    path = Path(source)
    try:
        size = path.stat().st_size
        path.open("rb").close()
    except OSError as error:
        raise InvalidError("FileUnreadable", f"{source} cannot be read: {error.strerror}.") from error
    task = bar.add_task("sending", total=size, said="")

    def parts() -> Iterator[bytes]:
        with path.open("rb") as file:
            while part := file.read(CHUNK_BYTES):
                yield part
                bar.update(task, advance=len(part))

    params = {} if job_id is None else {"id": job_id}
    headers = {"Content-Type": "application/x-ndjson", "Content-Length": str(size)}
    sent: dict[str, Any] = client.call("POST", "/v1/imports", params=params, content=parts(), headers=headers)
    return sent


def _follow(client: Client, job: dict[str, Any], bar: Progress) -> dict[str, Any]:
    task = bar.add_task("importing", total=None, said="")
    while True:
        job = _look(client, job["id"])
        counts = ", ".join(f"{number:,} {name}" for name, number in sorted(job["counts"].items()))
        bar.update(task, completed=job["bytes"], total=job["bytesTotal"] or None, said=counts)
        if job["status"] in OVER:
            return job
        time.sleep(LOOK_S)


def _look(client: Client, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/imports/{quote(job_id, safe='')}")
    return found


def _bar(server: ServerOptions) -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = output.console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        console=console,
        disable=server.as_json or not console.is_terminal,
    )

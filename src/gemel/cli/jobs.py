"""`gemel jobs`: what was imported or deleted, how far it is, and why lines were not taken."""

from __future__ import annotations

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.job_views import print_job
from gemel.cli.options import ServerOptions

__all__ = ["app"]

app = group("jobs", "Imports and deletions: list, show, cancel.")

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
Deletion = Annotated[bool, typer.Option("--deletion", help="A deletion, and not an import.")]


@command(app, "list", ("gemel jobs list", "the newest first"))
def list_jobs(server: ServerOptions) -> None:
    """List jobs of all kinds, the newest first."""
    with server.client() as client:
        jobs = client.get("/v1/jobs")["value"]
    if server.as_json:
        output.print_json(jobs)
        return
    columns = ("id", "kind", "status", "created", "counts", "problemCount")
    output.print_table(
        ("id", "kind", "status", "created", "done", "not taken"),
        [[_counts(job[name]) if name == "counts" else job[name] for name in columns] for job in jobs],
    )


@command(app, "show", ("gemel jobs show nightly", "how far an import is"))
def show_job(job_id: JobId, server: ServerOptions, deletion: Deletion = False) -> None:
    """Show how far a job is, or how it ended."""
    with server.client() as client:
        job = client.get(_place(job_id, deletion))
    if server.as_json:
        output.print_json(job)
    else:
        print_job(job)


@command(app, "log", ("gemel jobs log nightly > nightly.log", "each step, and each line that was not taken"))
def show_log(job_id: JobId, server: ServerOptions, deletion: Deletion = False) -> None:
    """Print a job's log as NDJSON."""
    with server.client() as client:
        sys.stdout.write(client.send("GET", _place(job_id, deletion) + "/log").text)


@command(app, "cancel", ("gemel jobs cancel nightly", "stop an import behind the batch under way"))
def cancel_job(job_id: JobId, server: ServerOptions) -> None:
    """Stop an import; what it has written stays."""
    with server.client() as client:
        job = client.call("POST", f"/jobs/imports/{quote(job_id, safe='')}/cancel")
    if server.as_json:
        output.print_json(job)
    else:
        output.note(f"The import {job_id} is {job['status']}.")


@command(app, "delete-all", ("gemel jobs delete-all --yes", "empty the graph; history stays"))
def delete_all(
    server: ServerOptions,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all relationships, twins and models of the tenant, as a job; their history stays."""
    if not yes:
        typer.confirm("Delete all relationships, twins and models?", abort=True, err=True)
    with server.client() as client:
        job = client.call("POST", "/jobs/deletions")
    if server.as_json:
        output.print_json(job)
    else:
        output.note(f"Begun; see `gemel jobs show {job['id']} --deletion`.")


def _place(job_id: str, deletion: bool) -> str:
    return f"/v1/jobs/{'deletions' if deletion else 'imports'}/{quote(job_id, safe='')}"


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items()))

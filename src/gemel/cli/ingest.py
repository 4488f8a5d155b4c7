"""`gemel ingest`: a file becomes events, with progress, resumed where an earlier attempt was left."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.base.errors import GemelError
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.exits import Exit
from gemel.cli.options import ServerOptions
from gemel.cli.outcome import count_rows

if TYPE_CHECKING:
    from rich.progress import Progress

    from gemel.connectors.files import FileSource
    from gemel.connectors.sender import IngestSummary, SendOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "ingest",
        ("gemel ingest rig.csv --mapping rig.yaml", "columns to twins and paths, as the mapping says"),
        ("gemel ingest rig.csv --mapping rig.yaml --create-twins", "twins that are missing are made first"),
        panel=Panel.DATA,
    )(ingest)


def ingest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, NDJSON or Parquet.")],
    server: ServerOptions,
    mapping: Annotated[
        Path, typer.Option("--mapping", metavar="FILE", help="The mapping file, YAML or JSON.")
    ],
    create_twins: Annotated[
        bool, typer.Option("--create-twins", help="Create twins that do not exist, of the mapping's models.")
    ] = False,
) -> None:
    """Send a file's rows as events; the same command again goes on where it was left, and doubles nothing."""
    from gemel.connectors.files import open_source
    from gemel.connectors.sender import SendOptions
    from gemel.mapping.tables import load_mapping

    with open_source(file, load_mapping(mapping)) as source:
        summary = _send(server, source, SendOptions(create_twins=create_twins))
    if server.as_json:
        output.print_json(
            {"file": str(file), **asdict(replace(summary, examples=[])), "examples": _examples(summary)}
        )
    else:
        _print(file, summary)
    if summary.quarantined:
        raise typer.Exit(Exit.PARTLY)


def _send(server: ServerOptions, source: FileSource, options: SendOptions) -> IngestSummary:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from gemel.connectors.sender import send_file

    console = output.console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]:,.0f} events/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=server.as_json or not console.is_terminal,
    )
    with server.client() as client, bar:
        task = bar.add_task(source.path.name, total=source.bytes_total, rate=0.0)

        def tell(summary: IngestSummary) -> None:
            rate = summary.events / max(summary.elapsed_s, 1e-9)
            bar.update(task, completed=summary.bytes_done, rate=rate)

        try:
            return send_file(
                client, source, options, tell, lambda error, wait_s: _waiting(bar, error, wait_s)
            )
        except KeyboardInterrupt:
            output.note("Stopped. The same command goes on from here.")
            raise


def _waiting(bar: Progress, error: GemelError, wait_s: float) -> None:
    bar.console.print(f"{error.message} Trying again in {wait_s:.1f} s.", markup=False, soft_wrap=True)


def _examples(summary: IngestSummary) -> list[dict[str, object]]:
    return [
        {"id": row.id, "code": row.code, "message": row.message, "quarantine": row.quarantine}
        for row in summary.examples
    ]


def _print(file: Path, summary: IngestSummary) -> None:
    rows = [("rows", f"{summary.rows:,}", "of the file"), *count_rows(asdict(summary))]
    rate = summary.events / max(summary.elapsed_s, 1e-9)
    rows += [("time", f"{summary.elapsed_s:.1f} s", f"{rate:,.0f} events/s")]
    output.print_table((file.name, "count", "of"), rows)
    if summary.examples:
        columns = ("id", "code", "message", "quarantine")
        examples = [[row[name] for name in columns] for row in _examples(summary)]
        title = "quarantined: " + ", ".join(
            f"{count:,} {code}" for code, count in sorted(summary.codes.items())
        )
        output.print_table(columns, examples, title=title)
        output.note("Mend the cause, then `gemel quarantine replay`; or discard them.")
    if summary.resumed_row:
        output.note(f"Went on behind row {summary.resumed_row:,}, where an earlier attempt was left.")
    if summary.empty:
        output.note(f"{summary.empty:,} rows had no value and made no event.")
    if summary.unseen_columns:
        output.note(f"No row had a value in: {', '.join(summary.unseen_columns)}.")

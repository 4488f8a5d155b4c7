"""`gemel history`: what was; a plot in the terminal, a table, CSV or JSON. And how long it is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.correct import register as register_correct
from gemel.cli.freeze import register as register_freeze
from gemel.cli.options import MomentOptions, ServerOptions
from gemel.cli.retain import register as register_retain

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["app"]

app = group("history", "History: every sample of every series.")

PAGE = 10_000
TABLE_ROWS = 1000
PLOT_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the history, and how it is gathered."""

    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Since then, RFC 3339.")] = None
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before then, RFC 3339.")] = None
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="WIDTH", help="In buckets of this width: 10s, 5m, 1h, 1d."),
    ] = None
    agg: Annotated[
        list[str] | None,
        typer.Option(
            "--agg", help="Of each bucket: mean, min, max, first, last or count; may be given often."
        ),
    ] = None
    fill: Annotated[
        bool, typer.Option("--fill", help="Empty buckets carry the last value on; needs --from and --to.")
    ] = False

    def params(self) -> dict[str, Any]:
        """Return the parameters of the request."""
        for option, text in (("--from", self.start), ("--to", self.end)):
            _check_time(option, text)
        given = {"from": self.start, "to": self.end, "every": self.every, "agg": self.agg}
        wanted = {name: value for name, value in given.items() if value}
        return wanted | ({"fill": "previous"} if self.fill else {})


@dataclass(frozen=True, slots=True)
class Form:
    """How the answer is shown: a plot unless another is asked for."""

    table: Annotated[bool, typer.Option("--table", help="A table in place of the plot.")] = False
    csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.")] = False
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Rows at most. Default: 1,000 in a table; all in CSV and JSON."),
    ] = None


@command(
    app,
    "show",
    ("gemel history show pump-1 motor.temperature flow", "two plots with their units"),
    ("gemel history show pump-1 flow --every 1m --agg mean --agg max --table", "minutes as a table"),
    ("gemel history show pump-1 flow --known-at 2026-01-31T12:00:00Z --table", "what was known of it then"),
    ("gemel history show rig-1 --from 2020-03-09T10:00:00Z --csv > rig.csv", "every path, as a file"),
)
def show(
    twin: Annotated[str, typer.Argument(metavar="TWIN", help="The twin's id.")],
    server: ServerOptions,
    window: Window,
    moment: MomentOptions,
    form: Form,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Dotted paths. Default: all of the twin.")
    ] = None,
) -> None:
    """Show the history of a twin's paths, as a plot for each unless another form is asked for."""
    if form.table + form.csv + server.as_json > 1:
        raise InvalidError(
            "UsageInvalid", "More than one form is asked for.", "Give one of --table, --csv, --json."
        )
    place = _place(twin)
    then = moment.params()
    params = {**window.params(), **then, "path": paths or []}
    with server.client() as client, _meant(client, twin, paths or [], then):
        if form.csv:
            _print_csv(client, place, params, form.limit)
        elif server.as_json:
            output.print_array(islice(_rows(client, place, params), form.limit))
        elif form.table:
            _print_table(
                list(islice(_rows(client, place, params), (form.limit or TABLE_ROWS) + 1)), form.limit
            )
        else:
            _plot(client, twin, params, form.limit)


register_retain(app)
register_freeze(app)
register_correct(app)


def _check_time(option: str, text: str | None) -> None:
    try:
        if text is None or datetime.fromisoformat(text.upper()).tzinfo is not None:
            return
    except ValueError:
        pass
    raise InvalidError(
        "UsageInvalid", f"{option} {text!r} is no time with a zone.", f"As in {option} 2026-01-31T12:00:00Z."
    )


@contextmanager
def _meant(client: Client, twin: str, paths: Sequence[str], then: Mapping[str, str]) -> Iterator[None]:
    """Name the paths that were likely meant where the block is refused for one that is not in the model."""
    try:
        yield
    except InvalidError as error:
        if error.code != "PathNotInModel":
            raise
        known = list(client.get(f"/v1/twins/{quote(twin, safe='')}/telemetry", **then)["values"])
        found = [near for path in paths if path not in known for near in get_close_matches(path, known)]
        told = (
            f"Did you mean {' or '.join(found)}?" if found else f"There are {', '.join(known) or 'none yet'}."
        )
        raise InvalidError(error.code, error.message, told, error.details) from error


def _place(twin: str) -> str:
    return f"/v1/twins/{quote(twin, safe='')}/history"


def _rows(client: Client, place: str, params: dict[str, Any], page: int = PAGE) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        answer = client.get(place, **params, limit=page, after=after)
        yield from answer["values"]
        after = answer["after"]
        if after is None:
            return


def _print_csv(client: Client, place: str, params: dict[str, Any], limit: int | None) -> None:
    # Whole pages as they come: the server's own CSV, its header once.
    left, after = limit, None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        wanted = {**params, "limit": size} | ({"after": after} if after else {})
        answer = client.send("GET", place, params=wanted, headers={"Accept": "text/csv"})
        header, _, rows = answer.text.partition("\r\n")
        sys.stdout.write(rows if after else f"{header}\r\n{rows}")
        after = answer.headers.get("Gemel-After")
        if after is None:
            return
        left = None if left is None else left - size


def _print_table(rows: list[dict[str, Any]], limit: int | None) -> None:
    most = limit or TABLE_ROWS
    columns = list(rows[0]) if rows else ["path", "time", "value"]
    output.print_table(columns, [[row[name] for name in columns] for row in rows[:most]])
    if len(rows) > most:
        output.note(f"There are more than these {most:,}; raise --limit, or gather them with --every.")


def _plot(client: Client, twin: str, params: dict[str, Any], limit: int | None) -> None:
    from gemel.cli.drawing import draw, ends_us, width_for

    place = _place(twin)
    then = {name: params[name] for name in ("asOf", "knownAt") if name in params}
    last = client.get(f"/v1/twins/{quote(twin, safe='')}/telemetry", **then)["values"]
    columns = max(output.console().width - 16, 20)
    rows = list(islice(_rows(client, place, params, limit or PLOT_ROWS), (limit or PLOT_ROWS) + 1))
    if limit is None and len(rows) > PLOT_ROWS and "every" not in params:
        wanted = params["path"] or list(last)
        every = width_for(ends_us(rows, [last[path] for path in wanted if path in last]), columns)
        output.note(
            f"More than {PLOT_ROWS:,} samples: drawn as means of {every}; --from, --to and --every choose."
        )
        rows = list(_rows(client, place, {**params, "every": every}))
    elif limit is not None and len(rows) > limit:
        rows = rows[:limit]
        output.note(f"There are more than these {limit:,}; raise --limit, or gather them with --every.")
    if not rows:
        output.note(f"{twin} has no samples there.")
        return
    units = {path: held["unit"] for path, held in last.items()}
    for line in draw(rows, units, columns, params["path"]):
        output.console().print(line, markup=False, soft_wrap=True)

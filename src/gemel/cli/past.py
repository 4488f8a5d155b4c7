"""`gemel timeline`, `gemel explain` and `gemel diff`: what happened, why a value is so, what differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.options import KnownAt, MomentOptions, ServerOptions
from gemel.cli.rows import Limit, print_rows

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["register"]

PAGE = 500
KINDS = ("twin", "relationship", "property", "telemetry", "correction")

Twin = Annotated[str, typer.Argument(metavar="TWIN", help="The twin's id.")]
Paths = Annotated[
    list[str] | None, typer.Argument(metavar="PATH", help="Dotted paths. Default: all of the twin.")
]


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a timeline."""

    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Since then, RFC 3339.")] = None
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before then, RFC 3339.")] = None
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help=f"Of {', '.join(KINDS[:-1])} or {KINDS[-1]}; may be given often. Default: all but telemetry.",
        ),
    ] = None
    oldest: Annotated[bool, typer.Option("--oldest-first", help="In the order in which it happened.")] = False
    known_at: KnownAt = None

    def params(self) -> dict[str, Any]:
        """Return the parameters of the request."""
        unknown = [kind for kind in self.kind or () if kind not in KINDS]
        if unknown:
            raise InvalidError("UsageInvalid", f"--kind {unknown[0]} is unknown.", f"Use {', '.join(KINDS)}.")
        order = "asc" if self.oldest else "desc"
        given = {
            "from": self.start,
            "to": self.end,
            "kind": self.kind,
            "order": order,
            "knownAt": self.known_at,
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Around:
    """Of what the differences are."""

    twin: Annotated[
        str | None,
        typer.Option("--twin", metavar="ID", help="Only of this twin. Default: of the whole graph."),
    ] = None
    depth: Annotated[
        int, typer.Option("--depth", min=0, max=10, help="And of all within so many relationships of it.")
    ] = 0
    telemetry: Annotated[bool, typer.Option("--telemetry", help="Of telemetry, too.")] = False
    known_at: KnownAt = None

    def params(self) -> dict[str, Any]:
        """Return the parameters of the request."""
        if self.depth and self.twin is None:
            raise InvalidError("UsageInvalid", "--depth needs a twin.", "Give --twin, too.")
        telemetry = "true" if self.telemetry else None
        given = {
            "twin": self.twin,
            "depth": self.depth,
            "telemetry": telemetry,
            "knownAt": self.known_at,
        }
        return {name: value for name, value in given.items() if value}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(
        app,
        "timeline",
        ("gemel timeline pump-1", "what happened to it, the newest first, and who or what did it"),
        ("gemel timeline pump-1 motor.speed --from 2026-01-31T12:00:00Z", "one path, since then"),
        ("gemel timeline pump-1 --kind twin --kind relationship --oldest-first", "its life in the graph"),
        ("gemel timeline pump-1 --known-at 2026-01-31T12:00:00Z", "what was known of it then"),
        panel=Panel.DATA,
    )(timeline)
    command(
        app,
        "explain",
        ("gemel explain pump-1", "why every value is what it is"),
        ("gemel explain pump-1 motor.speed --json", "one value, for a script"),
        ("gemel explain pump-1 --as-of 2026-01-31T12:00:00Z", "why they were what they were then"),
        panel=Panel.DATA,
    )(explain)
    command(
        app,
        "diff",
        ("gemel diff 2026-01-31T12:00:00Z 2026-01-31T13:00:00Z", "what an hour changed in the whole graph"),
        ("gemel diff 2026-01-31T12:00:00Z --twin pump-1 --depth 2", "around one twin, until now"),
        panel=Panel.DATA,
    )(diff)


def timeline(twin: Twin, server: ServerOptions, part: Part, paths: Paths = None, limit: Limit = 50) -> None:
    """Show what happened to a twin, a deleted one too: who or what changed which value when."""
    from gemel.cli.past_tables import print_timeline

    params = part.params() | ({"path": paths} if paths else {})
    with server.client() as client:
        place = f"/v1/twins/{quote(twin, safe='')}/timeline"
        print_rows(_pages(client, place, "entries", params, limit), limit, server.as_json, print_timeline)


def explain(twin: Twin, server: ServerOptions, moment: MomentOptions, paths: Paths = None) -> None:
    """Say why the values of a twin are what they are, or were: event, source, mapping, times and rules."""
    from gemel.cli.past_tables import print_explained

    with server.client() as client:
        answer = client.get(f"/v1/twins/{quote(twin, safe='')}/explain", path=paths, **moment.params())
    if server.as_json:
        output.print_json(answer["values"])
    elif not answer["values"]:
        output.note(f"{twin} has no values there.")
    else:
        print_explained(answer["values"])


def diff(
    start: Annotated[str, typer.Argument(metavar="FROM", help="The first moment, RFC 3339.")],
    server: ServerOptions,
    around: Around,
    end: Annotated[
        str | None, typer.Argument(metavar="TO", help="The second moment, RFC 3339. Default: now.")
    ] = None,
    limit: Limit = 200,
) -> None:
    """Show what differs between two moments: twins and relationships that came, went or changed."""
    from gemel.cli.past_tables import print_differences

    params = around.params() | {"from": start} | ({"to": end} if end else {})
    with server.client() as client:
        found = _pages(client, "/v1/diff", "items", params, limit)
        print_rows(found, limit, server.as_json, print_differences)


def _pages(
    client: Client, place: str, name: str, params: dict[str, Any], limit: int
) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        # One more than is shown, so that it is known whether there is more.
        page = client.get(place, **params, limit=min(limit + 1, PAGE), after=after)
        yield from page[name]
        after = page["after"]
        if after is None:
            return

"""`gemel twins`: create, read, patch, delete and list twins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import lifecycle, output
from gemel.cli.command import command, group
from gemel.cli.conflicts import absent
from gemel.cli.options import MomentOptions, ServerOptions
from gemel.cli.rows import Limit, print_rows, rows_of
from gemel.cli.values import assignments, nested, patch
from gemel.demo.units import unit_symbol

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["app"]

app = group("twins", "Twins: the live graph's nodes.")
lifecycle.register(app)

TwinId = Annotated[str, typer.Argument(metavar="ID", help="The twin's id.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="A value, JSON or else text; may be given often."),
]


@command(
    app,
    "create",
    ("gemel twins create tank --model 'dtmi:gemel:demo:Tank;1' --set label=T-101", "a new twin with a value"),
    (
        "gemel twins create rig-1 --model 'dtmi:gemel:demo:PumpRig;1' --valid-from 2020-03-01T00:00:00Z",
        "one that began in the past",
    ),
)
def create(
    twin: TwinId,
    model: Annotated[str, typer.Option("--model", metavar="DTMI", help="The twin's model.")],
    server: ServerOptions,
    values: Sets = None,
    valid_from: Annotated[
        str | None,
        typer.Option("--valid-from", metavar="TIME", help="When the twin began, RFC 3339. Default: now."),
    ] = None,
    state: Annotated[
        str | None, typer.Option("--lifecycle", metavar="STATE", help="Its state. Default: active.")
    ] = None,
) -> None:
    """Create a twin; one of this id must not exist."""
    given = assignments(values or ())
    with server.client() as client:
        metadata = {"$model": model} | ({"$validFrom": valid_from} if valid_from else {})
        body = {"$metadata": metadata} | ({"$lifecycle": state} if state else {})
        body |= nested(given, _components(client, model))
        with absent(
            f"There is already a twin {twin}.",
            f"`gemel twins get {twin}` shows it, `gemel twins patch {twin} --set PATH=VALUE` changes it; "
            "or choose another id.",
        ):
            made = client.call("PUT", _place(twin), json=body, headers={"If-None-Match": "*"})
    if server.as_json:
        output.print_json(made)
    else:
        output.note(f"Created {twin}.")


@command(
    app,
    "get",
    ("gemel twins get pump-1", "its values with units, their times, and its relationships"),
    ("gemel twins get pump-1 --json", "the twin as the API gives it"),
    ("gemel twins get pump-1 --as-of 2026-01-31T12:00:00Z", "as it was then, deleted since or not"),
)
def get(twin: TwinId, server: ServerOptions, moment: MomentOptions) -> None:
    """Show a twin, as it is or as it was: every last value, and its relationships both ways."""
    then = moment.params()
    with server.client() as client:
        body = client.get(_place(twin), **then)
        if server.as_json:
            output.print_json(body)
            return
        values = client.get(f"/v1/twins/{quote(twin, safe='')}/telemetry", **then)["values"]
        outgoing = list(client.pages(f"{_place(twin)}/relationships", **then))
        incoming = list(client.pages(f"{_place(twin)}/incomingrelationships", **then))
    facts = (twin, body["$metadata"]["$model"], body["$lifecycle"], body["$etag"])
    output.print_table(("twin", "model", "lifecycle", "etag"), [facts])
    rows = [
        (path, v["value"], unit_symbol(v.get("unit")), v["sourceTime"], v["quality"])
        for path, v in sorted(values.items())
    ]
    if rows:
        output.print_table(("path", "value", "unit", "source time", "quality"), rows)
    links = [(r["$relationshipName"], "to", r["$targetId"], r["$relationshipId"]) for r in outgoing]
    links += [(r["$relationshipName"], "from", r["$sourceId"], r["$relationshipId"]) for r in incoming]
    if links:
        output.print_table(("relationship", "", "twin", "id"), links)


@command(
    app,
    "patch",
    (
        "gemel twins patch pump-1 --set motor.speed=1450 --set label='\"7\"'",
        "JSON quotes keep a text of digits a text",
    ),
    ("gemel twins patch pump-1 --remove note", "take a property away"),
)
def patch_twin(
    twin: TwinId,
    server: ServerOptions,
    values: Sets = None,
    removed: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="PATH", help="A property to take away; may be given often."),
    ] = None,
) -> None:
    """Set and remove properties of a twin, all or none of them."""
    operations = patch(assignments(values or ()), removed or ())
    if not operations:
        raise InvalidError(
            "UsageInvalid", "There is nothing to do.", "Give --set PATH=VALUE or --remove PATH."
        )
    with server.client() as client:
        answer = client.send("PATCH", _place(twin), json=operations)
    if server.as_json:
        output.print_json({"$dtId": twin, "$etag": answer.headers.get("ETag")})
    else:
        output.note(f"Patched {twin}.")


@command(
    app,
    "delete",
    ("gemel twins delete pump-1", "it must have no relationships left"),
)
def delete(twin: TwinId, server: ServerOptions) -> None:
    """Delete a twin; what it was stays, to be read with --as-of or --known-at."""
    with server.client() as client:
        client.send("DELETE", _place(twin))
    if server.as_json:
        output.print_json({"$dtId": twin, "deleted": True})
    else:
        output.note(f"Deleted {twin}.")


@command(
    app,
    "list",
    ("gemel twins list", "twins with their models"),
    ("gemel twins list --model 'dtmi:gemel:demo:Pump;1'", "those of a model, or of one that extends it"),
)
def list_twins(
    server: ServerOptions,
    moment: MomentOptions,
    model: Annotated[
        str | None, typer.Option("--model", metavar="DTMI", help="Only twins of this model.")
    ] = None,
    limit: Limit = 1000,
) -> None:
    """List twins."""
    text = "SELECT * FROM digitaltwins T"
    if model is not None:
        quoted = model.replace("\\", "\\\\").replace("'", "\\'")
        text += f" WHERE IS_OF_MODEL(T, '{quoted}')"
    with server.client() as client:
        pages = client.query_pages(text, **moment.params())
        print_rows(rows_of(pages), limit, server.as_json, _summary)


def _summary(twins: Iterable[dict[str, Any]]) -> None:
    rows = [
        (t["$dtId"], t["$metadata"]["$model"], t["$lifecycle"], t["$metadata"].get("$lastUpdateTime"))
        for t in twins
    ]
    output.print_table(("twin", "model", "lifecycle", "last update"), rows)


def _place(twin: str) -> str:
    return f"/digitaltwins/{quote(twin, safe='')}"


def _components(client: Client, model: str) -> list[str]:
    """Return the dotted paths of a model's components: a new twin must name each."""
    from gemel.models import compile_twin_type, parse

    found = client.pages("/models", dependenciesFor=model, includeModelDefinition="true")
    return list(compile_twin_type(parse([entry["model"] for entry in found]), model).components)

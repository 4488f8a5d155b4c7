"""`gemel models search|log|deprecate`: find models, and what became and will become of them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.options import ServerOptions

__all__ = ["register"]

Model = Annotated[str, typer.Argument(metavar="DTMI", help="The model's id; mind the quotes.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the group of model commands."""
    command(
        app,
        "search",
        ("gemel models search 'air temperature'", "models that have both words, the best first"),
    )(search)
    command(
        app,
        "log",
        ("gemel models log 'dtmi:gemel:demo:Pump;1'", "versions, twins, deprecation, and the changelog"),
        ("gemel models log 'dtmi:gemel:demo:Pump;1' --note 'speed in 1/min'", "add a line to it"),
    )(log)
    command(
        app,
        "deprecate",
        (
            "gemel models deprecate 'dtmi:x:Pump;1' --successor 'dtmi:x:Pump;2' --removal 2027-06-30T00:00:00Z",
            "from now on",
        ),
    )(deprecate)
    command(
        app,
        "undeprecate",
        ("gemel models undeprecate 'dtmi:x:Pump;1'", "it is to be used again"),
    )(undeprecate)


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words, in any case.")],
    server: ServerOptions,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 20,
) -> None:
    """Search models by words of their ids, names and texts; a model is found where all of them stand."""
    with server.client() as client:
        found = client.get("/v1/models", search=text, limit=limit)["value"]
    if server.as_json:
        output.print_json(found)
        return
    rows = [(each["id"], _name(each), _places(each["places"]), _state(each)) for each in found]
    output.print_table(("model", "name", "found in", ""), rows)


def log(
    model: Model,
    server: ServerOptions,
    note: Annotated[str | None, typer.Option("--note", help="Add this line instead of reading.")] = None,
) -> None:
    """Show what became of a model: its versions, its twins, whether it is deprecated, and its changelog."""
    with server.client() as client:
        if note is not None:
            client.call("POST", f"{_place(model)}/log", json={"note": note})
        story = client.get(_place(model))
    if server.as_json:
        output.print_json(story)
        return
    for line in _summary(story):
        output.note(line)
    rows = []
    for entry in story["log"]:
        rows.append((entry["at"], entry["kind"], entry["actor"], entry["note"]))
        rows += [("", "", "", _change(change)) for change in entry["changes"]]
    output.print_table(("at", "what", "who", "note"), rows)


def deprecate(
    model: Model,
    server: ServerOptions,
    start: Annotated[str | None, typer.Option("--from", help="Since when: RFC 3339; default now.")] = None,
    removal: Annotated[
        str | None, typer.Option("--removal", help="When it is meant to be gone: RFC 3339.")
    ] = None,
    successor: Annotated[str | None, typer.Option("--successor", help="The model to use instead.")] = None,
    note: Annotated[str, typer.Option("--note", help="Why; for the changelog.")] = "",
) -> None:
    """Say from when a model should have no new twins; whoever makes one is told in the answer's headers."""
    given = {"from": start, "removal": removal, "successor": successor, "note": note}
    body = {name: value for name, value in given.items() if value}
    with server.client() as client:
        client.call("PUT", f"{_place(model)}/deprecation", json=body)
        _show(client.get(_place(model)), server)


def undeprecate(model: Model, server: ServerOptions) -> None:
    """Take a model's deprecation back."""
    with server.client() as client:
        client.call("DELETE", f"{_place(model)}/deprecation")
        _show(client.get(_place(model)), server)


def _show(story: dict[str, Any], server: ServerOptions) -> None:
    if server.as_json:
        output.print_json({"id": story["id"], "deprecation": story.get("deprecation")})
        return
    for line in _summary(story):
        output.note(line)


def _place(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}"


def _summary(story: dict[str, Any]) -> list[str]:
    if story["deleted"]:
        return [f"{story['id']} is deleted."]
    twins = story["twins"]
    state = ", decommissioned" if story["decommissioned"] else ""
    lines = [f"{story['id']}: {twins} twin{'' if twins == 1 else 's'}{state}."]
    others = [each for each in story["versions"] if each != story["id"]]
    if others:
        lines.append(f"Other versions: {', '.join(others)}.")
    deprecation = story.get("deprecation")
    if deprecation:
        lines.append(f"Deprecated from {deprecation['from']}{_end(deprecation)}.")
    return lines


def _end(deprecation: dict[str, Any]) -> str:
    removal = f", to be gone by {deprecation['removal']}" if deprecation.get("removal") else ""
    return removal + (f"; use {deprecation['successor']}" if deprecation.get("successor") else "")


def _change(change: dict[str, Any]) -> str:
    verdict = "compatible" if change["compatible"] else "BREAKING"
    before, after = change["before"] or "none", change["after"] or "none"
    return f"  {verdict}: {change['path'] or 'model'}: {before} → {after} ({change['reason']})"


def _name(model: dict[str, Any]) -> str:
    names = model["displayName"]
    return str(names.get("en") or next(iter(names.values()), ""))


def _places(places: list[str]) -> str:
    return ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")


def _state(model: dict[str, Any]) -> str:
    return "decommissioned" if model["decommissioned"] else "deprecated" if model["deprecated"] else ""

"""`gemel source`: what is read into the twins by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.exits import Exit
from gemel.cli.options import ServerOptions
from gemel.cli.removing import remove_named
from gemel.cli.source_drift import print_drift

__all__ = ["app"]

app = group("source", "Sources: what is read into the twins by itself.")

COUNTS = ("events", "accepted", "late", "duplicate", "corrected", "quarantined")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The source's name.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Its description, in YAML.")]


@command(app, "add", ("gemel source add meters.yaml", "checks and keeps it; `gemel source start` starts it"))
def add(file: File, server: ServerOptions) -> None:
    """Describe a source, or describe it anew; one that is started goes on by the new description."""
    name, texts = _read(file)
    with server.client() as client:
        kept = client.call("PUT", _path(name), json=texts)
    if server.as_json:
        output.print_json(kept)
    elif kept["wanted"] == "started":
        output.note(f"Source {name} goes on by its new description (version {kept['version']}).")
    else:
        output.note(f"Source {name} is described. Start it with: gemel source start {name}")


@command(app, "test", ("gemel source test meters.yaml", "opens it and shows what comes; keeps nothing"))
def test(file: File, server: ServerOptions) -> None:
    """Open a source as described and read a little of it; nothing is kept, and nothing acknowledged."""
    name, texts = _read(file)
    with server.client() as client:
        tried = client.call("POST", f"{_path(name)}/test", json=texts)
    if server.as_json:
        output.print_json(tried)
    else:
        _print_trial(tried)
    if tried["problems"]:
        raise typer.Exit(Exit.PARTLY)


@command(
    app,
    "browse",
    ("gemel source browse opc.tcp://plc:4840", "its variables, with ids, types and units"),
    ('gemel source browse plant.yaml "Plant/{*}/**" --draft plant', "a source that reads those that fit"),
)
def browse(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="An opc.tcp:// URL, or a source's file.")],
    patterns: Annotated[
        list[str] | None, typer.Argument(metavar="[PATTERN]...", help="Which variables. Default: all.")
    ] = None,
    draft: Annotated[
        str | None, typer.Option("--draft", metavar="NAME", help="Print a source that reads them.")
    ] = None,
    save_certificate: Annotated[
        Path | None, typer.Option("--save-certificate", metavar="FILE", help="Keep the server's certificate.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Look at the variables of an OPC UA server, from this machine; nothing is asked of gemel's own server."""
    from gemel.cli.source_browse import Browsing

    server = Browsing(target)
    if save_certificate is not None:
        server.save_certificate(save_certificate)
    elif draft is not None:
        server.draft(draft, patterns or ["**"])
    else:
        server.tree(patterns or ["**"], as_json=as_json)


@command(app, "list", ("gemel source list", "names, kinds, states and counts"))
def list_all(server: ServerOptions) -> None:
    """List sources, and how each goes."""
    with server.client() as client:
        found = client.get("/v1/sources")["value"]
    if server.as_json:
        output.print_json(found)
    else:
        _print_list(found)


@command(
    app,
    "status",
    ("gemel source status", "all of them, and what is wrong"),
    ("gemel source status meters", "one in full"),
)
def status(
    server: ServerOptions,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One source. Default: all.")] = None,
) -> None:
    """Say how sources go; exit code 1 where one that should run failed or waits."""
    with server.client() as client:
        found = client.get("/v1/sources")["value"] if name is None else [client.get(_path(name))]
    if server.as_json:
        output.print_json(found if name is None else found[0])
    elif name is None:
        _print_list(found)
    else:
        output.print_table(("field", "value"), list(_facts(found[0])))
    if any(each["state"] in {"failed", "waiting"} and each["wanted"] == "started" for each in found):
        raise typer.Exit(Exit.FAILED)


@command(
    app,
    "drift",
    ("gemel source drift meters", "what is not as its contract says, and since when"),
    ("gemel source drift meters --forget", "once it is dealt with: counted from nothing again"),
)
def drift(
    name: Name,
    server: ServerOptions,
    forget: Annotated[bool, typer.Option("--forget", help="Forget what was seen so far.")] = False,
) -> None:
    """Show how a source has drifted from its contract. Exit code 1 where it has."""
    with server.client() as client:
        source = client.get(_path(name))
        if forget:
            client.call("DELETE", f"{_path(name)}/drift")
        found = client.get(f"{_path(name)}/drift")["value"]
    if server.as_json:
        output.print_json(found)
    else:
        print_drift(source, found)
    if found:
        raise typer.Exit(Exit.FAILED)


@command(app, "show", ("gemel source show meters", "its description, as it was given"))
def show(name: Name, server: ServerOptions) -> None:
    """Show a source's description, and the files of mapping and contract that came with it."""
    with server.client() as client:
        found = client.get(f"{_path(name)}/definition")
    if server.as_json:
        output.print_json(found)
        return
    typer.echo(found["definition"].rstrip("\n"))
    for key in ("mapping", "contract"):
        if found[key] is not None:
            typer.echo("---\n" + found[key].rstrip("\n"))


@command(app, "start", ("gemel source start meters", "from where it was left"))
def start(name: Name, server: ServerOptions) -> None:
    """Start a source from where it was left; one that failed or waits is tried again at once."""
    _want(name, "start", server)


@command(app, "stop", ("gemel source stop meters", "after the batch under way"))
def stop(name: Name, server: ServerOptions) -> None:
    """Stop a source after the batch under way."""
    _want(name, "stop", server)


@command(app, "remove", ("gemel source remove meters", "what it brought stays"))
def remove(name: Name, server: ServerOptions) -> None:
    """Forget a source, and how far it was read; what it brought stays."""
    remove_named(server, _path(name), "source", ("name", name))


def _want(name: str, act: str, server: ServerOptions) -> None:
    with server.client() as client:
        kept = client.call("POST", f"{_path(name)}/{act}")
    if server.as_json:
        output.print_json(kept)
    else:
        output.note(f"Source {name} is {kept['state']}; see: gemel source status {name}")


def _path(name: str) -> str:
    return f"/v1/sources/{quote(name, safe='')}"


def _read(file: Path) -> tuple[str, dict[str, str]]:
    """Return a description's name, and its text with those of the files it names: its mapping and its contract."""
    import yaml

    text = _text(file)
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        hint = "Its first key is `name: NAME`; see docs/guides/sources.md."
        raise InvalidError("SourceInvalid", f"{file} is not the description of a source.", hint)
    texts = {"definition": text}
    for key in ("mapping", "contract"):
        if isinstance(raw.get(key), str):
            texts[key] = _text(file.parent / raw[key])
    return raw["name"], texts


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidError("FileUnreadable", f"{file} cannot be read: {problem}.") from error


def _print_trial(tried: dict[str, Any]) -> None:
    events = [[each["subject"], each["time"], output.cell(each["data"])] for each in tried["first"]]
    title = f"{tried['name']}: {tried['events']} events came, the first of them"
    if events:
        output.print_table(("twin", "time", "values"), events, title=title)
    elif not tried["problems"]:
        output.note(f"{tried['name']} opened; no events came within a few seconds.")
    for problem in tried["problems"]:
        output.note(f"problem: {problem}")


def _print_list(found: list[dict[str, Any]]) -> None:
    rows = [
        [each["name"], each["kind"], each["state"], *(each["counts"][name] for name in COUNTS), each["error"]]
        for each in found
    ]
    output.print_table(("name", "kind", "state", *COUNTS, "error"), rows)


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [(name, output.cell(value)) for name, value in found.items() if name != "counts"]
    return facts + [(name, f"{value:,}") for name, value in found["counts"].items()]

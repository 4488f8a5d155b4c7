"""`gemel mapping`: mappings of messages, drafted from samples, tried on them, and kept on the server."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.clock import now_us
from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.exits import Exit
from gemel.cli.options import ServerOptions
from gemel.cli.removing import remove_named

if TYPE_CHECKING:
    from gemel.mapping.preview import Preview
    from gemel.models import TwinType

__all__ = ["app"]

app = group("mapping", "Mappings: what messages of any shape say, as values of twins.")

GIVEN_LENGTH_MAX = 60

Name = Annotated[str, typer.Argument(metavar="NAME", help="The mapping's name.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.", rich_help_panel="Shared options")]
Models = Annotated[
    list[Path] | None,
    typer.Option("--models", metavar="FILE", help="Model files, or folders of them; several times."),
]
Sample = Annotated[Path, typer.Argument(metavar="SAMPLE", help="A JSON message, or one a line.")]


@command(
    app,
    "test",
    ("gemel mapping test plant.yaml sample.json", "input, output and problems side by side"),
    ("gemel mapping test plant.yaml sample.json --models models/", "checked against the models, too"),
    (
        "gemel mapping test plant.yaml sample.json --topic plant/north/pump-1/data",
        "as if it came on a topic",
    ),
)
def try_out(
    mapping: Annotated[Path, typer.Argument(metavar="MAPPING", help="The mapping file, YAML or JSON.")],
    sample: Sample,
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="TOPIC", help="The topic of the messages.")
    ] = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Show what a mapping makes of sample messages; nothing is sent. Exit code 4 where something does not fit."""
    from gemel.mapping.mapper import Mapper
    from gemel.mapping.payload import load_payload_mapping
    from gemel.mapping.preview import model_problems, preview
    from gemel.mapping.samples import read_samples
    from gemel.mapping.scene import Message

    mapper = Mapper(load_payload_mapping(mapping))
    data = _bytes(sample)
    payloads = [data.strip()] if mapper.mapping.format == "text" else read_samples(data, str(sample))
    types = _types({rule.model for rule in mapper.mapping.twins if rule.model}, models)
    wrong = model_problems(mapper.mapping, types)
    messages = [Message(payload, now_us(), topic=topic) for payload in payloads]
    found = preview(mapper, messages, types)
    if as_json:
        output.print_json({"modelProblems": wrong, "messages": [_json_of(each) for each in found]})
    else:
        for number, each in enumerate(found, 1):
            _print(f"message {number} of {len(found)}", each)
        for problem in wrong:
            output.note(problem)
        count = sum(len(each.events) for each in found)
        problems = sum(len(each.problems) for each in found) + len(wrong)
        output.note(f"{len(found)} messages, {count} events, {problems} problems. Nothing was sent.")
    if wrong or any(each.problems for each in found):
        raise typer.Exit(Exit.PARTLY)


@command(
    app,
    "suggest",
    ("gemel mapping suggest sample.json --model 'dtmi:plant:Pump;1'", "a draft, with how sure each line is"),
    (
        "gemel mapping suggest sample.json --model 'dtmi:plant:Pump;1' --models pump.json --output pump.yaml",
        "from a model file, into a file",
    ),
)
def suggest(
    sample: Sample,
    server: ServerOptions,
    model: Annotated[str, typer.Option("--model", metavar="DTMI", help="The model of the twins.")],
    models: Models = None,
    to: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the draft there, not to stdout.")
    ] = None,
) -> None:
    """Draft a mapping from sample messages by names, units and types; the model is the server's, or of --models."""
    import msgspec

    from gemel.cli.models_files import models_of_files, models_of_server
    from gemel.mapping.samples import read_samples
    from gemel.mapping.suggest import suggest as draft_of
    from gemel.models import compile_twin_type

    payloads = []
    for line in read_samples(_bytes(sample), str(sample)):
        try:
            payloads.append(msgspec.json.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidError("FileUnreadable", f"{sample} is not JSON: {error}.") from error
    known = models_of_files(models) if models else models_of_server(server, model)
    draft = draft_of(payloads, compile_twin_type(known, model), sample.stem)
    if to is not None:
        _write(to, draft.text)
    rows = [(each.path, each.target, f"{each.sure:.0%}", "; ".join(each.reasons)) for each in draft.guesses]
    if server.as_json:
        guesses = [{**asdict(each), "reasons": list(each.reasons)} for each in draft.guesses]
        output.print_json({"mapping": draft.text, "fields": guesses, "missing": draft.missing})
    elif to is None:
        typer.echo(draft.text, nl=False)
    else:
        output.print_table(("field", "taken for", "sure", "because"), rows)
        for path in draft.missing:
            output.note(f"Nothing in the sample is like {path}.")
        output.note(f"Wrote {to}. Look it over, then: gemel mapping test {to} {sample}")


@command(app, "add", ("gemel mapping add plant plant.yaml", "as the newest version of its name"))
def add(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The mapping file, YAML or JSON.")],
    server: ServerOptions,
) -> None:
    """Keep a mapping on the server; messages are pushed through it to /v1/push/NAME."""
    content = _bytes(file)
    with server.client() as client:
        kept = client.call("PUT", _path(name), content=content, headers={"Content-Type": "application/yaml"})
    if server.as_json:
        output.print_json(kept)
    else:
        output.note(f"Mapping {name} is at version {kept['version']} ({name}@{kept['digest']}).")


@command(app, "list", ("gemel mapping list", "names, newest versions, digests"))
def list_all(server: ServerOptions) -> None:
    """List mappings, each with its newest version."""
    with server.client() as client:
        found = client.get("/v1/mappings")["value"]
    if server.as_json:
        output.print_json(found)
    else:
        columns = ("name", "version", "digest", "created")
        output.print_table(columns, [[each[column] for column in columns] for each in found])


@command(
    app,
    "show",
    ("gemel mapping show plant", "the text of the newest version"),
    ("gemel mapping show plant --version 2", "as it was"),
)
def show(
    name: Name,
    server: ServerOptions,
    version: Annotated[
        int | None, typer.Option("--version", min=1, metavar="NUMBER", help="A version; default: the newest.")
    ] = None,
) -> None:
    """Show a mapping's text as it was added."""
    with server.client() as client:
        found = client.get(_path(name), version=version)
    if server.as_json:
        output.print_json(found)
    else:
        typer.echo(found["document"], nl=not found["document"].endswith("\n"))


@command(app, "remove", ("gemel mapping remove plant", "with all its versions; what it brought in stays"))
def remove(name: Name, server: ServerOptions) -> None:
    """Remove a mapping with all its versions."""
    remove_named(server, _path(name), "mapping", ("name", name))


def _path(name: str) -> str:
    return f"/v1/mappings/{quote(name, safe='')}"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidError("FileUnreadable", f"{path} cannot be read: {error.strerror}.") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidError("FileUnreadable", f"{path} cannot be written: {error.strerror}.") from error


def _types(wanted: set[str], models: list[Path] | None) -> dict[str, TwinType]:
    from gemel.cli.models_files import models_of_files
    from gemel.models import compile_twin_type

    if not models:
        return {}
    known = models_of_files(models)
    return {model: compile_twin_type(known, model) for model in wanted}


def _print(title: str, found: Preview) -> None:
    rows = [
        (
            line.path,
            None if line.given is None else _short(line.given),
            line.twin,
            line.target,
            None if line.value is None else _short(line.value),
            line.time,
            line.problem or ("" if line.target else "not mapped"),
        )
        for line in found.lines
    ]
    output.print_table(("field", "given", "twin", "path", "value", "time", "problem"), rows, title=title)


def _short(value: Any) -> str:
    text = output.cell(value)
    return text if len(text) <= GIVEN_LENGTH_MAX else f"{text[: GIVEN_LENGTH_MAX - 1]}…"


def _json_of(found: Preview) -> dict[str, Any]:
    lines = [
        {name: value for name, value in asdict(line).items() if value is not None} for line in found.lines
    ]
    return {"lines": lines, "events": found.events, "problems": found.problems}

"""`gemel models validate`: models checked on this machine, and told of as a compiler would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.exits import Exit
from gemel.cli.models_files import ModelFile, parse_files, read_files

if TYPE_CHECKING:
    from rich.text import Text

    from gemel.models import ModelError

__all__ = ["register"]

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="JSON files, or folders of them.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.", rich_help_panel="Shared options")]

SOURCE_WIDTH = 120
"""How much of a line is shown: some documents are one line."""
BEFORE = 40


def register(app: typer.Typer) -> None:
    """Add the command to the group of model commands."""
    command(
        app,
        "validate",
        ("gemel models validate pump.json", "one file, which needs nothing from elsewhere"),
        ("gemel models validate ontology/ --json", "all files below a folder together, for a script"),
    )(validate)


def validate(files: Files, as_json: Json = False) -> None:
    """Check models against DTDL without a server; exit code 1 where they are wrong."""
    read = read_files(files)
    models, errors = parse_files(read)
    if as_json:
        output.print_json(
            {"valid": not errors, "models": len(models), "errors": [_body(error, read) for error in errors]}
        )
    else:
        for error in errors:
            output.console().print(_diagnostic(error, read), soft_wrap=True)
        output.note(_summary(len(models), len(errors), len(read)))
    if errors:
        raise typer.Exit(Exit.FAILED)


def _summary(models: int, errors: int, files: int) -> str:
    where = f"{files} file{'' if files == 1 else 's'}"
    if errors:
        return f"{errors} error{'' if errors == 1 else 's'} in {where}."
    return f"{models} model{'' if models == 1 else 's'} in {where}: no errors."


def _body(error: ModelError, files: Sequence[ModelFile]) -> dict[str, Any]:
    body = asdict(error)
    index = body.pop("document")
    return {"file": None if index is None else str(files[index].path), **body}


def _diagnostic(error: ModelError, files: Sequence[ModelFile]) -> Text:
    """One error as a compiler prints it: what, where, the line with the piece marked, how to mend it."""
    from rich.text import Text

    fault = error.message.removesuffix(error.hint).strip()
    text = Text.assemble(("error", "bold red"), (f"[{error.code}]", "dim"), ": ", fault, "\n")
    gutter = " " * len(str(error.line or ""))
    if error.document is not None:
        place = "" if error.line is None else f":{error.line}:{error.column}"
        text.append(f"{gutter}--> {files[error.document].path}{place}\n", "blue")
        text.append_text(_excerpt(error, files[error.document], gutter))
    return text.append_text(
        Text.assemble((f"{gutter} = ", "blue"), ("hint: ", "bold green"), error.hint, "\n")
    )


def _excerpt(error: ModelError, file: ModelFile, gutter: str) -> Text:
    from rich.text import Text

    if error.line is None or error.column is None or error.width is None:
        return Text()
    lines = file.text.decode("utf-8-sig", "replace").split("\n")
    line = lines[error.line - 1].rstrip("\r")
    start = error.column - 1
    cut = max(0, start - BEFORE) if len(line) > SOURCE_WIDTH else 0
    shown = line[cut : cut + SOURCE_WIDTH]
    indent = " " * (start - cut)
    carets = "^" * max(1, min(error.width, len(shown) - (start - cut)))
    return Text.assemble(
        (f"{gutter} |\n", "blue"),
        (f"{error.line} | ", "blue"),
        _printable(shown) + "\n",
        (f"{gutter} | ", "blue"),
        indent,
        (carets, "bold red"),
        "\n",
    )


def _printable(text: str) -> str:
    """The text without what would move a terminal's cursor; as many characters as before, a tab being one."""
    text = text.replace("\t", " ")
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)

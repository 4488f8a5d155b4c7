"""`gemel models graph`: a picture of how models hang together."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command
from gemel.cli.models_files import is_dtmi, models_of_files, models_of_server
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from gemel.models import ModelSet

__all__ = ["Picture", "register"]


class Picture(StrEnum):
    """What kinds of picture there are."""

    MERMAID = "mermaid"
    SVG = "svg"


Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...", help="DTMIs, or JSON files and folders. Default: all of the tenant."
    ),
]
Format = Annotated[Picture, typer.Option("--format", help="mermaid is text; svg is a picture on its own.")]


def register(app: typer.Typer) -> None:
    """Add the command to the group of model commands."""
    command(
        app,
        "graph",
        ("gemel models graph ontology/ --format svg > models.svg", "files, without a server"),
        ("gemel models graph 'dtmi:gemel:demo:Pump;1'", "a model of the tenant and all that it depends on"),
        ("gemel models graph --json", "all of the tenant, for a script"),
    )(graph)


def graph(server: ServerOptions, models: Models = None, picture: Format = Picture.MERMAID) -> None:
    """Draw which models extend which, have which as parts, and link to which."""
    from gemel.models import graph_of, to_mermaid, to_svg

    found = graph_of(_models(models or [], server))
    if server.as_json:
        output.print_json(asdict(found))
    else:
        sys.stdout.write({Picture.MERMAID: to_mermaid, Picture.SVG: to_svg}[picture](found))


def _models(named: list[str], server: ServerOptions) -> ModelSet:
    dtmis = [each for each in named if is_dtmi(each)]
    if dtmis and len(dtmis) < len(named):
        raise InvalidError("UsageInvalid", "Files and models of the tenant cannot be drawn together.")
    if named and not dtmis:
        return models_of_files([Path(each) for each in named])
    return models_of_server(server, *dtmis)

"""`gemel models`: upload, list and show models; what needs no server stands in the modules beside this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import models_diff, models_graph, models_story, models_upgrade, models_validate, output
from gemel.cli.command import command, group
from gemel.cli.models_files import json_files
from gemel.cli.options import ServerOptions

__all__ = ["app"]

app = group("models", "Models: DTDL interfaces, versions 2 to 4.")


@command(
    app,
    "add",
    ("gemel models add pump.json tank.json", "two files, all or nothing"),
    ("gemel models add ontology/", "every .json file below a folder"),
)
def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="JSON files, or folders of them.")],
    server: ServerOptions,
) -> None:
    """Upload models, all of them or none; a file holds one model or an array of them."""
    documents = [document for path in json_files(files) for document in _documents(path)]
    if not documents:
        raise InvalidError("UsageInvalid", f"There is no model in {', '.join(map(str, files))}.")
    with server.client() as client:
        added = client.call("POST", "/models", json=documents)
    if server.as_json:
        output.print_json(added)
    else:
        output.note(f"Added {len(added)} model{'' if len(added) == 1 else 's'}.")


@command(
    app,
    "list",
    ("gemel models list", "every model of the tenant"),
    ("gemel models list --json", "the same for a script"),
)
def list_models(server: ServerOptions) -> None:
    """List the tenant's models."""
    with server.client() as client:
        models = list(client.pages("/models"))
    if server.as_json:
        output.print_json(models)
        return
    rows = [
        (
            m["id"],
            _any_language(m.get("displayName")),
            m.get("uploadTime"),
            "yes" if m.get("decommissioned") else "",
        )
        for m in models
    ]
    output.print_table(("model", "name", "uploaded", "decommissioned"), rows)


@command(
    app,
    "show",
    ("gemel models show 'dtmi:gemel:demo:Pump;1'", "the model as it was uploaded; mind the quotes"),
)
def show(
    model: Annotated[str, typer.Argument(metavar="DTMI", help="The model's id.")],
    server: ServerOptions,
) -> None:
    """Print a model as it was uploaded; with --json, with the service's own data about it."""
    with server.client() as client:
        found = client.get(f"/models/{quote(model, safe='')}", includeModelDefinition="true")
    output.print_json(found if server.as_json else found["model"])


def _documents(path: Path) -> list[Any]:
    try:
        read = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidError("FileUnreadable", f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidError("FileUnreadable", f"{path} is not JSON in UTF-8: {error}.") from error
    return read if isinstance(read, list) else [read]


def _any_language(texts: Any) -> str:
    if not isinstance(texts, dict) or not texts:
        return ""
    return str(texts.get("en") or next(iter(texts.values())))


models_validate.register(app)
models_diff.register(app)
models_graph.register(app)
models_story.register(app)
models_upgrade.register(app)

"""A site's models, twins and relationships brought into the graph; what is there already stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from gemel.base.errors import ConflictError, NotFoundError, PreconditionError
from gemel.connectors.sender import Server
from gemel.demo.assets import Site

__all__ = ["prepare"]

NEW_ONLY = {"If-None-Match": "*"}


def prepare(server: Server, site: Site) -> int:
    """Create what of the site is missing and return how much that was.

    Raises ConflictError where a model, twin or relationship of the same id is there and is another.
    """
    created = _add_models(server, site.models)
    for twin in site.twins:
        place = f"/digitaltwins/{quote(twin['$dtId'], safe='')}"
        created += _put(server, place, twin, lambda found: found["$metadata"]["$model"])
    for link in site.relationships:
        source, link_id = quote(link["$sourceId"], safe=""), quote(link["$relationshipId"], safe="")
        place = f"/digitaltwins/{source}/relationships/{link_id}"
        created += _put(server, place, link, lambda found: (found["$relationshipName"], found["$targetId"]))
    return created


def _add_models(server: Server, models: list[dict[str, Any]]) -> int:
    missing = [model for model in models if not _is_there(server, model)]
    if missing:
        server.send("POST", "/models", json=missing)
    return len(missing)


def _is_there(server: Server, model: dict[str, Any]) -> bool:
    place = f"/models/{quote(model['@id'], safe='')}"
    try:
        found = server.send("GET", place, params={"includeModelDefinition": "true"}).json()
    except NotFoundError:
        return False
    if found["model"] != model:
        raise _another("ModelIdAlreadyExists", f"the model {model['@id']}")
    return True


def _put(
    server: Server, place: str, body: Mapping[str, Any], kind: Callable[[Mapping[str, Any]], Any]
) -> bool:
    """Create a twin or relationship; say whether it was missing. `kind` is what may not differ."""
    try:
        server.send("PUT", place, json=body, headers=NEW_ONLY)
    except PreconditionError as error:
        if kind(server.send("GET", place).json()) != kind(body):
            raise _another("OperationNotAllowed", place) from error
        return False
    return True


def _another(code: str, what: str) -> ConflictError:
    return ConflictError(
        code,
        f"{what} is there already, and is not the demo's.",
        "Run the demo on a data directory of its own: gemel demo --data DIR.",
    )

"""Indexes: property paths that queries find twins by, whatever the tenant's size."""

from __future__ import annotations

from typing import Any

from gemel.base.errors import ConflictError, InvalidError, NotFoundError
from gemel.base.words import did_you_mean
from gemel.graph.context import GraphContext
from gemel.graph.names import check_model_id
from gemel.history.promoted import demote_path, promote_path, promoted_counts, promoted_paths
from gemel.models import Array, Geospatial, Map, Object
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["INDEXES_MAX", "add_index", "list_indexes", "remove_index"]

INDEXES_MAX = 64
"""How many paths of a tenant can be indexed: each costs every write of its values."""


async def add_index(tx: WriteTransaction, context: GraphContext, model_id: str, path: str) -> dict[str, Any]:
    """Index a property of a model by its dotted path; return the path and how many twins have a value.

    What is indexed is the path, in twins of every model that has it. Raises NotFoundError (ModelNotFound),
    InvalidError (InvalidArgument where the model has no such property, LimitExceeded), ConflictError
    (IndexAlreadyExists).
    """
    check_model_id(model_id)
    twin_type = await context.library.twin_type(tx, model_id)
    if twin_type is None:
        raise NotFoundError("ModelNotFound", f"There is no model with the ID {model_id}.")
    slot = twin_type.slots.get(path)
    if slot is None or slot.role != "property":
        raise InvalidError(
            "InvalidArgument",
            f"{model_id} has no property {path[:200]!r}.",
            did_you_mean(path, [each.path for each in twin_type.slots.values() if each.role == "property"])
            or "Name a property by its dotted path: motor.speed is the property speed of the component motor.",
        )
    if isinstance(slot.schema, Array | Map | Object | Geospatial):
        raise InvalidError(
            "InvalidArgument",
            f"The values of {path} are arrays or objects, by which an index finds nothing.",
            "Index what is compared: a number, a text or a truth value.",
        )
    numbers = await context.paths.ensure(tx, [(path, "property")])
    path_no = numbers[path, "property"]
    if path_no in tx.promoted:
        raise ConflictError("IndexAlreadyExists", f"{path} is indexed already.")
    if len(tx.promoted) >= INDEXES_MAX:
        message = f"{INDEXES_MAX} paths are indexed, which is the most."
        raise InvalidError("LimitExceeded", message, "Remove one that no query needs.")
    return {"path": path, "twins": await promote_path(tx, path_no)}


async def list_indexes(tx: ReadTransaction, context: GraphContext) -> list[dict[str, Any]]:
    """Return the indexed paths in the order of their names, and how many twins have a value of each."""
    path_nos = await promoted_paths(tx)
    keys = await context.paths.keys(tx, path_nos)
    counts = await promoted_counts(tx, path_nos)
    found = [{"path": keys[path_no][0], "twins": counts[path_no]} for path_no in path_nos]
    return sorted(found, key=lambda each: str(each["path"]))


async def remove_index(tx: WriteTransaction, context: GraphContext, path: str) -> None:
    """Index a path no longer. Raises NotFoundError (IndexNotFound)."""
    numbers = await context.paths.numbers(tx, [(path, "property")])
    path_no = numbers.get((path, "property"))
    if path_no is None or path_no not in tx.promoted:
        raise NotFoundError("IndexNotFound", f"{path[:200]!r} is not indexed.")
    await demote_path(tx, path_no)

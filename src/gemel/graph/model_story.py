"""What is worth knowing of a model beside its text: deprecation, versions, twins, changelog; and search."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from gemel.base.clock import from_us, iso_us, now_us, to_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.graph.library import ModelLibrary, get_model
from gemel.graph.model_log import ModelLogEntry, append_log, read_log, versions_of
from gemel.graph.names import check_model_id
from gemel.history.changes import append
from gemel.models import search_models
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "Deprecation",
    "add_note",
    "deprecate",
    "deprecation_of",
    "find_models",
    "model_story",
    "withdraw_deprecation",
]

LOG_MAX = 100

READ = "SELECT deprecated, removal, successor FROM model WHERE tenant = current_tenant() AND model_id = %s"
WRITE = """
UPDATE model SET deprecated = %s, removal = %s, successor = %s
WHERE tenant = current_tenant() AND model_id = %s"""
TWINS = "SELECT count(*) FROM twin WHERE tenant = current_tenant() AND model_id = %s"
NAMES = """
SELECT model_id, display_name, decommissioned, deprecated FROM model
WHERE tenant = current_tenant() AND model_id = ANY(%s)"""


class Deprecation(NamedTuple):
    """From when a model should have no new twins, when it is meant to be gone, and what takes its place."""

    from_us: int
    removal_us: int | None
    successor: str | None

    def view(self) -> dict[str, Any]:
        """Return it as the API gives it."""
        removal = None if self.removal_us is None else iso_us(self.removal_us)
        return {"from": iso_us(self.from_us), "removal": removal, "successor": self.successor}


async def find_models(
    tx: ReadTransaction, library: ModelLibrary, text: str, limit: int
) -> list[dict[str, Any]]:
    """Return the models that have every word of a text, the best first, at most `limit`."""
    hits = search_models(await library.models(tx), text)[:limit]
    rows = {row[0]: row[1:] for row in await tx.rows(NAMES, ([hit.model_id for hit in hits],))}
    found = []
    for hit in hits:
        display_name, decommissioned, deprecated = rows[hit.model_id]
        found.append(
            {
                "id": hit.model_id,
                "displayName": display_name,
                "places": list(hit.places),
                "decommissioned": decommissioned,
                "deprecated": deprecated is not None and to_us(deprecated) <= now_us(),
            }
        )
    return found


async def model_story(tx: ReadTransaction, library: ModelLibrary, model_id: str) -> dict[str, Any]:
    """Return the data of a model with its deprecation, versions, number of twins and newest LOG_MAX log entries.

    A model that was deleted has its log, with `"deleted": true`. Raises NotFoundError (ModelNotFound) for one
    that never was, InvalidError (InvalidArgument) where the id is no DTMI.
    """
    check_model_id(model_id)
    log = await read_log(tx, model_id, LOG_MAX)
    models = await library.models(tx)
    versions = versions_of(models, model_id)
    if model_id not in models and log:
        return {"id": model_id, "deleted": True, "versions": versions, "log": log}
    data = await get_model(tx, model_id, definition=False)
    deprecation = await deprecation_of(tx, model_id)
    twins = await tx.rows(TWINS, (model_id,))
    return {
        **data,
        "deleted": False,
        "deprecation": None if deprecation is None else deprecation.view(),
        "versions": versions,
        "twins": twins[0][0],
        "log": log,
    }


async def deprecation_of(tx: ReadTransaction, model_id: str) -> Deprecation | None:
    """Return from when a model is deprecated, or None. Raises NotFoundError (ModelNotFound)."""
    row = await tx.row(READ, (model_id,))
    if row is None:
        raise NotFoundError("ModelNotFound", f"There is no model with the ID {model_id}.")
    if row[0] is None:
        return None
    return Deprecation(to_us(row[0]), None if row[1] is None else to_us(row[1]), row[2])


async def deprecate(
    tx: WriteTransaction, library: ModelLibrary, entry: ModelLogEntry, deprecation: Deprecation
) -> None:
    """Set from when a model is deprecated; the entry says by whom and why.

    Raises NotFoundError (ModelNotFound), InvalidError (InvalidArgument) where the removal is before the
    deprecation, or the successor is no other model of the tenant.
    """
    model_id = entry.model_id
    models = await library.models(tx)
    await deprecation_of(tx, model_id)
    if deprecation.removal_us is not None and deprecation.removal_us < deprecation.from_us:
        raise InvalidError("InvalidArgument", "The removal is before the deprecation.")
    successor = deprecation.successor
    if successor is not None and (successor == model_id or successor not in models):
        message = f"The successor {successor} is no other model of this tenant."
        raise InvalidError("InvalidArgument", message, "Add it first.")
    await _write(tx, entry, deprecation)


async def withdraw_deprecation(tx: WriteTransaction, entry: ModelLogEntry) -> None:
    """Take a deprecation back. Raises NotFoundError (ModelNotFound)."""
    await deprecation_of(tx, entry.model_id)
    await _write(tx, entry, None)


async def add_note(tx: WriteTransaction, entry: ModelLogEntry) -> None:
    """Add a note to a model's changelog. Raises NotFoundError (ModelNotFound), InvalidError (InvalidArgument)."""
    check_model_id(entry.model_id)
    await deprecation_of(tx, entry.model_id)
    await append_log(tx, [entry])


async def _write(tx: WriteTransaction, entry: ModelLogEntry, deprecation: Deprecation | None) -> None:
    stored: tuple[datetime | None, datetime | None, str | None] = (None, None, None)
    if deprecation is not None:
        removal = None if deprecation.removal_us is None else from_us(deprecation.removal_us)
        stored = (from_us(deprecation.from_us), removal, deprecation.successor)
    await tx.execute(WRITE, (*stored, entry.model_id))
    await append_log(tx, [entry])
    told = None if deprecation is None else deprecation.view()
    await append(tx, "model.updated", {"model": entry.model_id, "deprecation": told})

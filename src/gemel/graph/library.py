"""Models of a tenant: the sets that this process holds, and the acts that change the stored ones."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gemel.base.clock import from_us
from gemel.base.errors import ConflictError, InvalidError, NotFoundError
from gemel.graph.jsonpatch import invalid, parse_operations
from gemel.graph.model_log import ModelLogEntry, added_entries, append_log
from gemel.graph.names import check_model_id
from gemel.graph.paging import Listing, Page
from gemel.history.changes import append
from gemel.history.values import encode
from gemel.models import ModelParsingError, ModelSet, TwinType, compile_twin_type, parse
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = [
    "ModelLibrary",
    "add_models",
    "decommission",
    "delete_model",
    "get_model",
    "list_models",
    "update_model",
]

INTERFACES_MAX = 20_000
TOKEN = "models"
UNKNOWN_VERSION = "dtmi:dtdl:parsingError:unrecognizedContextVersion"

DOCUMENTS = "SELECT document::text FROM model WHERE tenant = current_tenant() ORDER BY model_id"
COLUMNS = "model_id, display_name, description, uploaded, decommissioned"
GET = f"SELECT {COLUMNS}, document::text FROM model WHERE tenant = current_tenant() AND model_id = %s"
LIST = f"""
SELECT {COLUMNS}, document::text FROM model
WHERE tenant = current_tenant() AND model_id > %s COLLATE "C" AND (%s::text[] IS NULL OR model_id = ANY(%s))
ORDER BY model_id COLLATE "C" LIMIT %s"""
INSERT = """
INSERT INTO model (tenant, model_id, document, display_name, description, uploaded)
SELECT current_tenant(), m.id, m.document::json, m.display_name::jsonb, m.description::jsonb, %s
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS m (id, document, display_name, description)"""
EXISTING = "SELECT model_id FROM model WHERE tenant = current_tenant() AND model_id = ANY(%s) ORDER BY 1"
ACTIVE = EXISTING.replace("ORDER BY", "AND NOT decommissioned ORDER BY")
SET_DECOMMISSIONED = """
UPDATE model SET decommissioned = %s WHERE tenant = current_tenant() AND model_id = %s"""
USED = "SELECT 1 FROM twin WHERE tenant = current_tenant() AND model_id = %s LIMIT 1"
DELETE = "DELETE FROM model WHERE tenant = current_tenant() AND model_id = %s"


@dataclass(slots=True)
class _Held:
    """One tenant's models as of one epoch, and the types compiled from them so far."""

    epoch: int
    models: ModelSet
    types: dict[str, TwinType | None] = field(default_factory=dict)


class ModelLibrary:
    """Models by tenant, parsed once per epoch and process; types of twins compiled on first use.

    Holds at most `interfaces_max` interfaces in all, and gives up the tenants used longest ago. What a
    transaction changed is seen by itself at once, and by others from its commit on.
    """

    def __init__(self, interfaces_max: int = INTERFACES_MAX) -> None:
        self._interfaces_max = interfaces_max
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._loading: dict[int, asyncio.Lock] = {}

    async def models(self, tx: ReadTransaction) -> ModelSet:
        """Return the tenant's models as this transaction sees them."""
        return (await self._current(tx)).models

    async def twin_type(self, tx: ReadTransaction, model_id: str) -> TwinType | None:
        """Return the type of twins of a model, or None where there is no such model."""
        held = await self._current(tx)
        if model_id not in held.types:
            known = model_id in held.models
            held.types[model_id] = compile_twin_type(held.models, model_id) if known else None
        return held.types[model_id]

    async def replace(self, tx: WriteTransaction, models: ModelSet) -> None:
        """Say that this transaction made `models` the tenant's model set."""
        tx.touch_models()
        held = _Held(tx.epochs.models, models)
        tx.notes[ModelLibrary] = held
        tx.on_commit(lambda: self._keep(tx.tenant, held))

    async def _current(self, tx: ReadTransaction) -> _Held:
        noted: _Held | None = tx.notes.get(ModelLibrary)
        if noted is not None:
            return noted
        epoch = tx.epochs.models
        held = self._held.get(tx.tenant)
        if held is None or held.epoch != epoch:
            held = await self._load(tx, epoch)
        else:
            self._held.move_to_end(tx.tenant)
        # A transaction sees one state of the models throughout.
        tx.notes[ModelLibrary] = held
        return held

    async def _load(self, tx: ReadTransaction, epoch: int) -> _Held:
        async with self._loading.setdefault(tx.tenant, asyncio.Lock()):
            held = self._held.get(tx.tenant)
            if held is not None and held.epoch == epoch:
                return held
            rows = await tx.rows(DOCUMENTS)
            models = await asyncio.to_thread(_parse, [row[0] for row in rows])
            held = _Held(epoch, models)
            self._keep(tx.tenant, held)
        return held

    def _keep(self, tenant: int, held: _Held) -> None:
        current = self._held.get(tenant)
        if current is not None and current.epoch > held.epoch:
            return
        self._held[tenant] = held
        self._held.move_to_end(tenant)
        while (
            len(self._held) > 1
            and sum(len(each.models) for each in self._held.values()) > self._interfaces_max
        ):
            gone, _ = self._held.popitem(last=False)
            self._loading.pop(gone, None)


def _parse(texts: list[str]) -> ModelSet:
    documents: list[Any] = [msgspec.json.decode(text) for text in texts]
    return parse(documents)


async def add_models(
    tx: WriteTransaction, library: ModelLibrary, documents: Sequence[Any], actor: str | None = None
) -> list[dict[str, Any]]:
    """Add models, all or none; return the model data of each, as the list of models gives it.

    `documents` are decoded DTDL interfaces. Raises ModelParsingError (DTDLParserError), ConflictError
    (ModelIdAlreadyExists), InvalidError (InvalidArgument where there are none, ModelVersionNotSupported where
    nothing but the version of DTDL is wrong, ValueOutOfRange for U+0000).
    """
    added = [each for item in documents for each in (item if isinstance(item, list) else [item])]
    if not added or any(isinstance(each, list) for each in added):
        raise InvalidError(
            "InvalidArgument",
            "The body must be an array of at least one model.",
            "Take arrays within it apart.",
        )
    known = await library.models(tx)
    _refuse_existing(known, added)
    models = await asyncio.to_thread(_parse_new, added, known)
    ids = [str(document.get("@id")) for document in added]
    _refuse_inline((models.ids - known.ids) ^ set(ids))
    stamp = tx.stamp()
    texts = [_text(document) for document in added]
    names = [msgspec.json.encode(_languages(document.get("displayName"))).decode() for document in added]
    stories = [msgspec.json.encode(_languages(document.get("description"))).decode() for document in added]
    await tx.execute(INSERT, (from_us(stamp), ids, texts, names, stories))
    await library.replace(tx, models)
    await append_log(tx, await asyncio.to_thread(added_entries, models, ids, actor))
    for model_id in ids:
        await append(tx, "model.created", {"model": model_id})
    rows = {row[0]: row for row in await _by_id(tx, ids)}
    return [_data(rows[model_id], definition=False) for model_id in ids]


def _parse_new(documents: Sequence[Any], known: ModelSet) -> ModelSet:
    try:
        return parse(documents, known)
    except ModelParsingError as error:
        if all(each.code == UNKNOWN_VERSION for each in error.errors):
            raise InvalidError(
                "ModelVersionNotSupported", error.message, error.hint, details=error.details
            ) from error
        raise


async def get_model(tx: ReadTransaction, model_id: str, *, definition: bool = True) -> dict[str, Any]:
    """Return the model data of one model, with its DTDL as uploaded where `definition`.

    Raises InvalidError (InvalidArgument) where the id is no DTMI, NotFoundError (ModelNotFound).
    """
    check_model_id(model_id)
    row = await tx.row(GET, (model_id,))
    if row is None:
        raise _not_found(model_id)
    return _data(row, definition=definition)


async def list_models(
    tx: ReadTransaction,
    library: ModelLibrary,
    dependencies_for: Sequence[str] = (),
    *,
    definition: bool = False,
    page_size: int | None = None,
    token: str | None = None,
) -> Page:
    """Return a page of model data in the order of ids: all, or some models and all that they depend on.

    Raises NotFoundError (ModelNotFound), InvalidError (InvalidArgument).
    """
    listing = Listing(tx.tenant, TOKEN, tuple(sorted(dependencies_for)))
    state, size = listing.resume(token, page_size, after="")
    wanted: list[str] | None = None
    if dependencies_for:
        models = await library.models(tx)
        for model_id in dependencies_for:
            check_model_id(model_id)
            if model_id not in models:
                raise _not_found(model_id)
        wanted = sorted(
            {*dependencies_for, *(d for each in dependencies_for for d in models.dependencies(each))}
        )
    rows = await tx.rows(LIST, (state["after"], wanted, wanted, size + 1))
    items = [_data(row, definition=definition) for row in rows[:size]]
    more = len(rows) > size
    return Page(items, listing.encode(size=size, after=items[-1]["id"]) if more else None)


async def update_model(
    tx: WriteTransaction, library: ModelLibrary, model_id: str, patch: Any, actor: str | None = None
) -> None:
    """Apply a JSON Patch to a model's data: its one member that changes is /decommissioned, by replace.

    Raises InvalidError (JsonPatchInvalid) for any other patch, and what `decommission` raises.
    """
    value: Any = None
    for operation in parse_operations(patch):
        if operation.op != "replace" or operation.pointer != ("decommissioned",):
            raise invalid("Of a model only /decommissioned can be changed, by replace.")
        value = operation.value
        if not isinstance(value, bool):
            raise invalid("/decommissioned must be true or false.")
    await decommission(tx, library, model_id, decommissioned=value, actor=actor)


async def decommission(
    tx: WriteTransaction,
    library: ModelLibrary,
    model_id: str,
    *,
    decommissioned: bool,
    actor: str | None = None,
) -> None:
    """Take a model out of use for new twins, or back into use.

    Raises NotFoundError (ModelNotFound), ConflictError (ModelReferencesNotDecommissioned).
    """
    check_model_id(model_id)
    models = await library.models(tx)
    if model_id not in models:
        raise _not_found(model_id)
    if decommissioned:
        active = await tx.rows(ACTIVE, (sorted(models.referrers(model_id)),))
        if active:
            raise ConflictError(
                "ModelReferencesNotDecommissioned",
                f"{model_id} is referred to by {_listed(active)}, which {_are(active)} not decommissioned.",
                "Decommission those first.",
            )
    await tx.execute(SET_DECOMMISSIONED, (decommissioned, model_id))
    kind = "decommissioned" if decommissioned else "recommissioned"
    await append_log(tx, [ModelLogEntry(model_id, actor, kind)])
    await append(tx, "model.updated", {"model": model_id, "decommissioned": decommissioned})


async def delete_model(
    tx: WriteTransaction, library: ModelLibrary, model_id: str, actor: str | None = None
) -> None:
    """Delete a model that no other model and no twin refers to.

    Raises NotFoundError (ModelNotFound), ConflictError (ModelReferencesNotDeleted, ModelInUse).
    """
    check_model_id(model_id)
    models = await library.models(tx)
    if model_id not in models:
        raise _not_found(model_id)
    referrers = [(each,) for each in sorted(models.referrers(model_id))]
    if referrers:
        message = f"{model_id} is referred to by {_listed(referrers)}."
        raise ConflictError("ModelReferencesNotDeleted", message, "Delete those first.")
    if await tx.row(USED, (model_id,)):
        raise ConflictError(
            "ModelInUse", f"There are twins of {model_id}.", "Delete them, or give them another model."
        )
    await tx.execute(DELETE, (model_id,))
    await library.replace(tx, models.without({model_id}))
    await append_log(tx, [ModelLogEntry(model_id, actor, "deleted")])
    await append(tx, "model.deleted", {"model": model_id})


def _refuse_inline(ids: Collection[str]) -> None:
    # What is stored is one document for each interface, by its own id.
    if ids:
        inline = [(each,) for each in sorted(ids)]
        raise InvalidError(
            "DTDLParserError",
            f"{_listed(inline)} {_are(inline)} not an interface of its own in the upload.",
            "Send each interface as an element of its own, and refer to it by its id.",
        )


async def _by_id(tx: ReadTransaction, ids: list[str]) -> list[Row]:
    return await tx.rows(LIST, ("", ids, ids, len(ids)))


def _refuse_existing(known: ModelSet, documents: Sequence[Any]) -> None:
    ids = [document.get("@id") for document in documents if isinstance(document, dict)]
    existing = [(each,) for each in ids if isinstance(each, str) and each in known]
    if existing:
        raise ConflictError(
            "ModelIdAlreadyExists",
            f"Some of the model ids already exist: {_listed(existing)}.",
            "A version never changes once uploaded: raise the version in the id.",
        )


def _data(row: Row, *, definition: bool) -> dict[str, Any]:
    model_id, display_name, description, uploaded, decommissioned, document = row
    data: dict[str, Any] = {
        "id": model_id,
        "displayName": display_name,
        "description": description,
        "uploadTime": uploaded.isoformat(),
        "decommissioned": decommissioned,
    }
    if definition:
        data["model"] = msgspec.json.decode(document)
    return data


def _text(document: Any) -> str:
    text = msgspec.json.encode(document).decode()
    if "\\u0000" in text:
        encode(document, "json")
    return text


def _languages(text: Any) -> dict[str, Any]:
    if isinstance(text, str):
        return {"en": text}
    return text if isinstance(text, dict) else {}


def _not_found(model_id: str) -> NotFoundError:
    return NotFoundError(
        "ModelNotFound",
        f"There is no model with the ID {model_id}.",
        "Check that the model id is valid and that the model is not deleted.",
    )


def _listed(rows: Sequence[Sequence[Any]]) -> str:
    ids = [str(row[0]) for row in rows]
    return ", ".join(ids[:10]) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")


def _are(rows: Sequence[Any]) -> str:
    return "is" if len(rows) == 1 else "are"

"""Write what changes do to twins: samples through history, rows and spans here, and the change feed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from gemel.base.clock import from_us
from gemel.base.errors import Detail, InternalError, InvalidError
from gemel.graph.changing import PropertySample
from gemel.graph.context import GraphContext
from gemel.graph.library import ModelLibrary
from gemel.graph.live import LiveTwin
from gemel.graph.spans import move_starts, turn_span
from gemel.graph.told import told_twin, told_whole_twin
from gemel.history.changes import append
from gemel.history.paths import PathKey, series_of
from gemel.history.samples import SampleBatch
from gemel.history.values import GOOD
from gemel.history.write import write_samples
from gemel.models import TwinType
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "decommissioned_models",
    "existing_type",
    "number_paths",
    "refuse_decommissioned",
    "tell_twin",
    "unknown_model",
    "usable_type",
    "write_properties",
    "write_row",
]

INLINE_MAX = 500
"""Samples that are put together on the event loop; of more, a thread does it."""

DECOMMISSIONED = (
    "SELECT model_id FROM model WHERE tenant = current_tenant() AND model_id = ANY(%s) AND decommissioned"
)
UPDATE = """
UPDATE twin SET model_id = %s, components = %s::jsonb, recorded = %s
WHERE tenant = current_tenant() AND twin_no = %s"""


async def usable_type(tx: ReadTransaction, library: ModelLibrary, model_id: str) -> TwinType:
    """Return the type of new twins of a model.

    Raises InvalidError: ValidationFailed where there is no such model, ModelDecommissioned.
    """
    twin_type = await library.twin_type(tx, model_id)
    if twin_type is None:
        raise unknown_model(model_id)
    refuse_decommissioned(model_id, await decommissioned_models(tx, [model_id]))
    return twin_type


async def decommissioned_models(tx: ReadTransaction, model_ids: Collection[str]) -> frozenset[str]:
    """Return those of some models that take no new twins."""
    return frozenset(row[0] for row in await tx.rows(DECOMMISSIONED, (list(model_ids),)))


def refuse_decommissioned(model_id: str, decommissioned: Collection[str]) -> None:
    """Raise InvalidError (ModelDecommissioned) where a model is one of those that take no new twins."""
    if model_id in decommissioned:
        raise InvalidError(
            "ModelDecommissioned",
            f"{model_id} is decommissioned and takes no new twins.",
            "Use a newer version.",
        )


def unknown_model(model_id: str) -> InvalidError:
    """Return the error of a twin whose model does not exist."""
    fault = Detail("ModelNotFound", f"There is no model with the ID {model_id}.")
    return InvalidError("ValidationFailed", "Invalid twin specified", "Add the model first.", (fault,))


async def existing_type(tx: ReadTransaction, library: ModelLibrary, model_id: str) -> TwinType:
    """Return the type of a model that twins have, decommissioned or not."""
    twin_type = await library.twin_type(tx, model_id)
    if twin_type is None:
        raise InternalError("InternalError", f"The model {model_id} has twins but is not in the library.")
    return twin_type


async def number_paths(
    tx: WriteTransaction, context: GraphContext, twin_type: TwinType
) -> dict[PathKey, int]:
    """Number all paths of a type, so that whoever reads values of its twins finds their numbers."""
    return await context.paths.ensure(tx, [(slot.path, slot.role) for slot in twin_type.slots.values()])


async def write_properties(
    tx: WriteTransaction, context: GraphContext, samples: Sequence[PropertySample]
) -> None:
    """Write samples of properties, in their order, in one go."""
    if not samples:
        return
    paths = {sample.path for sample in samples}
    numbers = await context.paths.ensure(tx, [(path, "property") for path in sorted(paths)])
    large = len(samples) > INLINE_MAX
    batch = await asyncio.to_thread(_batch, samples, numbers) if large else _batch(samples, numbers)
    await write_samples(tx, batch)


def _batch(samples: Sequence[PropertySample], numbers: Mapping[PathKey, int]) -> SampleBatch:
    twin_nos, paths, times_us, values, recorded_us = zip(*samples, strict=True)
    nums, kinds, docs = zip(*values, strict=True)
    path_nos = {path: number for (path, _), number in numbers.items()}
    series = [series_of(twin_no, path_nos[path]) for twin_no, path in zip(twin_nos, paths, strict=True)]
    count = len(samples)
    return SampleBatch(
        series=np.array(series, np.int64),
        time_us=np.array(times_us, np.int64),
        recorded_us=np.array(recorded_us, np.int64),
        num=np.array(nums, np.float64),  # None becomes NaN
        kind=np.array(kinds, np.int16),
        revision=np.zeros(count, np.int32),
        quality=np.full(count, GOOD, np.int16),
        docs=list(docs) if any(doc is not None for doc in docs) else None,
    )


async def write_row(tx: WriteTransaction, context: GraphContext, before: LiveTwin, after: LiveTwin) -> None:
    """Write what changed of a twin beside its values: model, components, start, recorded time."""
    old, new = before.row, after.row
    if new.recorded_us != old.recorded_us:
        components = _json(new.components)
        await tx.execute(UPDATE, (new.model_id, components, from_us(new.recorded_us), new.twin_no))
    if new.model_id != old.model_id:
        await number_paths(tx, context, await existing_type(tx, context.library, new.model_id))
        await turn_span(tx, new.twin_no, new.model_id, new.components, new.recorded_us)
        tx.touch_graph()
    if new.valid_from_us < old.valid_from_us:
        await move_starts(tx, {new.twin_no: new.valid_from_us})


async def tell_twin(tx: WriteTransaction, kind: str, twin: LiveTwin, **more: Any) -> None:
    """Tell the change feed of a twin (kind: twin.created, twin.updated or twin.deleted)."""
    told = told_twin(twin) if kind == "twin.updated" else told_whole_twin(twin)
    await append(tx, kind, told | more)


def _json(components: Mapping[str, str]) -> str:
    return msgspec.json.encode(components).decode()

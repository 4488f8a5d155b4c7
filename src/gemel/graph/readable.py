"""What of a twin can be read back from history: its paths, live or as of a moment, deleted since or not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from gemel.graph.context import GraphContext
from gemel.graph.directory import TwinRef
from gemel.graph.relationship_reading import load_end
from gemel.history.moment import Moment
from gemel.history.state import read_series
from gemel.store.database import ReadTransaction

__all__ = ["ReadablePath", "ReadableTwin", "readable", "readable_then"]


class ReadablePath(NamedTuple):
    """The number of a path, and the unit that the model names, or None."""

    path_no: int
    unit: str | None


class ReadableTwin(NamedTuple):
    """A twin's number and model, and its paths: `own` are those of the model, all where it is no more."""

    twin_no: int
    model_id: str
    paths: Mapping[str, ReadablePath]
    own: Collection[str]


def readable(twin: TwinRef) -> ReadableTwin:
    """Return what can be read of a live twin: the paths of its model."""
    slots = twin.twin_type.slots
    paths = {path: ReadablePath(bound.path_no, bound.slot.unit) for path, bound in slots.items()}
    return ReadableTwin(twin.twin_no, twin.twin_type.twin_type.model, paths, paths.keys())


async def readable_then(
    tx: ReadTransaction, context: GraphContext, twin_id: str, moment: Moment
) -> ReadableTwin:
    """Return what can be read of a twin as of a moment: the paths of its model then, and all that have samples.

    Raises NotFoundError (DigitalTwinNotFound), InvalidError (InvalidArgument).
    """
    twin = await load_end(tx, twin_id, moment)
    keys = await read_series(tx, context.paths, twin.twin_no)
    told = {path: ReadablePath(path_no, None) for path_no, (path, _) in keys.items()}
    # The model may have been deleted since, with the last of its twins.
    twin_type = await context.library.twin_type(tx, twin.model_id)
    slots = {} if twin_type is None else twin_type.slots
    numbers = await context.paths.numbers(tx, [(slot.path, slot.role) for slot in slots.values()])
    own = {
        path: ReadablePath(numbers[slot.path, slot.role], slot.unit)
        for path, slot in slots.items()
        if (slot.path, slot.role) in numbers
    }
    shown = told if twin_type is None else own
    return ReadableTwin(twin.twin_no, twin.model_id, own | (told | own), shown.keys())

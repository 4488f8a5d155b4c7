"""The twins that relationships of one import name, held while the graph stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gemel.graph.loading import MICROSECONDS
from gemel.graph.names import is_twin_id
from gemel.graph.relationship_reading import TwinEnd
from gemel.store.columns import texts
from gemel.store.database import ReadTransaction

__all__ = ["KnownEnds"]

ENTRIES_MAX = 150_000
"""How many twins are held; some 250 bytes each."""
FIND = f"""
SELECT twin_id, twin_no, model_id, {MICROSECONDS.format("valid_from")} FROM twin
WHERE tenant = current_tenant() AND twin_id = ANY(%s)"""


class KnownEnds:
    """Finds twins by id for one tenant; what was found holds while the tenant's epoch of the graph is the same."""

    def __init__(self) -> None:
        self._epoch = -1
        self._held: dict[str, TwinEnd] = {}

    async def find(self, tx: ReadTransaction, twin_ids: Collection[str]) -> Mapping[str, TwinEnd]:
        """Return those of the ids that are twins, and maybe more, in a transaction that has not changed any twin."""
        epoch = tx.epochs.graph
        missing = [twin_id for twin_id in twin_ids if twin_id not in self._held]
        if epoch != self._epoch or len(self._held) + len(missing) > ENTRIES_MAX:
            self._epoch, self._held, missing = epoch, {}, list(twin_ids)
        missing = [twin_id for twin_id in missing if is_twin_id(twin_id)]
        held = self._held
        if missing:
            for twin_id, *end in await tx.rows(FIND, (texts(missing),)):
                held[twin_id] = TwinEnd(*end)
        return held

    def learn(self, epochs: tuple[int, int], made: Mapping[str, TwinEnd], changed: Collection[str]) -> None:
        """Hold twins that a transaction made, and no longer those that it changed.

        `epochs` are those of the graph that it found and left; it is committed.
        """
        before, after = epochs
        if before != self._epoch or len(self._held) + len(made) > ENTRIES_MAX:
            self._held = {}
        self._epoch = after
        self._held.update(made)
        for twin_id in changed:
            self._held.pop(twin_id, None)

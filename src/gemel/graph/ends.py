"""The twins that relationships of one import name, held while the graph stays as it is."""

from __future__ import annotations

from collections.abc import Collection

from gemel.graph.loading import MICROSECONDS
from gemel.graph.relationship_reading import TwinEnd
from gemel.store.columns import texts
from gemel.store.database import WriteTransaction

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

    async def find(self, tx: WriteTransaction, twin_ids: Collection[str]) -> dict[str, TwinEnd]:
        """Return those of the ids that are twins, in a transaction that has not changed any twin itself."""
        epoch = tx.epochs.graph
        missing = [twin_id for twin_id in twin_ids if twin_id not in self._held]
        if epoch != self._epoch or len(self._held) + len(missing) > ENTRIES_MAX:
            self._epoch, self._held, missing = epoch, {}, list(twin_ids)
        held = self._held
        if missing:
            for twin_id, *end in await tx.rows(FIND, (texts(missing),)):
                held[twin_id] = TwinEnd(*end)
        return {twin_id: held[twin_id] for twin_id in twin_ids if twin_id in held}

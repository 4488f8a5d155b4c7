"""Single twins for many readers: those that ask at the same time share one snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.base.errors import GemelError
from gemel.graph.context import GraphContext
from gemel.graph.live import TwinDocument
from gemel.graph.loading import read_twins, twin_not_found
from gemel.graph.names import check_twin_id
from gemel.store.database import Database
from gemel.store.gather import Gatherer

__all__ = ["TwinReader"]

GROUP_MAX = 500


class TwinReader:
    """Reads twins by id. A snapshot is begun after everyone whom it answers has asked, so none sees an old one."""

    def __init__(self, db: Database, context: GraphContext) -> None:
        self._db = db
        self._context = context
        self._group: Gatherer[str, TwinDocument] = Gatherer(self._read, weight_max=GROUP_MAX)

    async def get(self, tenant: int, twin_id: str) -> TwinDocument:
        """Return a twin. Raises InvalidError (InvalidArgument), NotFoundError (DigitalTwinNotFound)."""
        check_twin_id(twin_id)
        return await self._group.submit(tenant, twin_id)

    async def _read(self, tenant: int, twin_ids: list[str]) -> Sequence[TwinDocument | GemelError]:
        async with self._db.read(tenant) as tx:
            found = await read_twins(tx, self._context, set(twin_ids))
        return [found[i].document() if i in found else twin_not_found(i) for i in twin_ids]
